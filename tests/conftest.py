"""What every test may ask for: one real server for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server_process import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on an empty data folder, shared by tests that leave each other's snapshots alone."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as process:
        yield process
