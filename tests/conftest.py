"""What every test may ask for: one real server for the whole session. Tests that do are marked `served`."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.server_process import ServerProcess

QUICK: Final = tuple(Path(__file__).parent / name for name in ("unit", "tidy"))
SLOW_LIST: Final = Path(__file__).with_name("slow.txt")
"""Names of unit tests that take long (`tests/tidy/slow.py`)."""


def pytest_configure() -> None:
    """Have SIGINT and SIGTERM do here, and in every child process, what they do by default.

    Whoever started the tests may ignore or block them: `nohup`, a job in a script's background, some CI daemons.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on an empty data folder, shared by tests that leave each other's snapshots alone."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as process:
        yield process


@pytest.fixture(scope="session")
def server(shared_server: ServerProcess) -> ServerProcess:
    """The shared server; a folder of tests may put another one in its place."""
    return shared_server


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what `make check` leaves out to stay quick: tests at a server, slow ones, all that are not unit tests."""
    slow = frozenset(SLOW_LIST.read_text().split())
    for item in items:
        if item.nodeid.partition("[")[0] in slow:
            item.add_marker("slow")
            item.add_marker("served")
        in_memory = isinstance(item, pytest.Function) and "memory" in _parameters(item)
        needs_server = "server" in getattr(item, "fixturenames", ()) and not in_memory
        if not any(map(item.path.is_relative_to, QUICK)) or needs_server:
            item.add_marker("served")


def _parameters(item: pytest.Function) -> Collection[object]:
    callspec = getattr(item, "callspec", None)
    return () if callspec is None else [callspec.params.get("server")]
