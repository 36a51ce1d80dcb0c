"""What every test may ask for: one real server for the whole session. Tests that do are marked `served`."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.server_process import ServerProcess

QUICK: Final = tuple(Path(__file__).parent / name for name in ("unit", "tidy"))


def pytest_configure() -> None:
    """Have SIGINT and SIGTERM do here, and in every child process, what they do by default.

    Whoever started the tests may ignore or block them: `nohup`, a job in a script's background, some CI daemons.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on an empty data folder, shared by tests that leave each other's snapshots alone."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as process:
        yield process


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what `make check` leaves out to stay quick: tests at the shared server, and all that are not unit tests."""
    for item in items:
        if not any(map(item.path.is_relative_to, QUICK)) or "server" in getattr(item, "fixturenames", ()):
            item.add_marker("served")
