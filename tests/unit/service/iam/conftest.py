"""An installation, and calls of its account's root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Installation
from tests.unit.service.iam.calls import Calls


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


@pytest.fixture
def root(installation: Installation) -> Calls:
    return Calls(installation, installation.caller)
