"""What every test may ask for: one real server for the whole session. Tests that do are marked `served`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.server_process import ServerProcess

UNIT: Final = Path(__file__).parent / "unit"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on an empty data folder, shared by tests that leave each other's snapshots alone."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as process:
        yield process


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what `make check` leaves out to stay quick: tests at the shared server, and all that are no unit tests."""
    for item in items:
        if not item.path.is_relative_to(UNIT) or "server" in getattr(item, "fixturenames", ()):
            item.add_marker("served")
