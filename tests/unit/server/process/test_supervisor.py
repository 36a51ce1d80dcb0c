"""`serve` as a process: workers that fall are replaced, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from snapstone.server.config import read_settings
from snapstone.server.process.worker_pool import processors_for
from tests.server_process import ServerProcess
from tests.unit.server.loopback import PATIENCE_SECONDS, RawClient

HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"


def children(process_id: int) -> set[int]:
    listed = Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
    return {int(child) for child in listed.split()}


def socket_count(process_id: int) -> int:
    count = 0
    for each in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            count += os.readlink(each).startswith("socket:")
    return count


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(process_id: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has waited for does not count."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between opening and reading
        return False


def health(server: ServerProcess) -> int:
    with RawClient(server.address[1]) as client:
        return client.ask(HEALTH).status


def test_one_process_serves_by_itself_and_stops_cleanly(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    assert children(server.process_id) == set()
    assert health(server) == 200
    assert server.stop() == 0
    assert not (tmp_path / "data" / "server.json").exists()


def test_workers_share_the_port_and_stop_cleanly(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", ["--workers", "2"])
    workers = children(server.process_id)
    assert len(workers) == 2
    assert health(server) == 200
    assert server.stop() == 0
    assert not any(map(is_running, workers))
    assert not (tmp_path / "data" / "server.json").exists()


@pytest.mark.parametrize(
    ("workers", "pin_workers", "kept_on"),
    [
        (2, "auto", [3, 5]),
        (3, "auto", [3, 5, 6]),
        (4, "auto", [None] * 4),
        (2, "off", [None] * 2),
        (1, "auto", [None]),
    ],
)
def test_several_workers_are_kept_on_one_processor_each_where_there_are_enough(
    monkeypatch: pytest.MonkeyPatch, workers: int, pin_workers: str, kept_on: list[int | None]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3, 6})
    settings = read_settings({"workers": str(workers), "pin_workers": pin_workers}, {"XDG_DATA_HOME": "/xdg"})
    assert processors_for(settings) == kept_on


def test_workers_run_where_they_are_kept(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor is not enough to keep two workers apart")
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server:
        places = [os.sched_getaffinity(worker) for worker in children(server.process_id)]
        assert sorted(map(len, places)) == [1, 1]
        assert places[0] != places[1]


def test_connections_made_at_once_are_spread_over_the_workers(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server, ExitStack() as clients:
        workers = children(server.process_id)
        before = {worker: socket_count(worker) for worker in workers}
        for _ in range(16):
            clients.enter_context(socket.create_connection(server.address))

        def accepted() -> list[int]:
            return [socket_count(worker) - before[worker] for worker in workers]

        assert eventually(lambda: sum(accepted()) == 16)
        assert min(accepted()) >= 2


def test_a_worker_that_falls_is_replaced(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server:
        before = children(server.process_id)
        fallen = min(before)
        os.kill(fallen, signal.SIGKILL)
        assert eventually(lambda: len(children(server.process_id) - {fallen}) == 2)
        assert health(server) == 200
        assert f'"event": "worker ended", "pid": {fallen}, "exit_status": -9' in server.log_path.read_text()


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", ["--workers", "2"])
    workers = children(server.process_id)
    server.kill()
    assert eventually(lambda: not any(map(is_running, workers)))
    with ServerProcess(tmp_path / "data") as again:
        assert again.key == server.key


def test_a_second_server_on_a_folder_is_refused(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "data") as server,
        pytest.raises(RuntimeError, match="another server is running"),
    ):
        ServerProcess(server.data_folder)


def test_a_worker_that_cannot_start_ends_the_whole(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data"):
        pass
    objects = tmp_path / "data" / "objects"
    for path in sorted(objects.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (objects / "segments").touch()
    with pytest.raises(RuntimeError, match=r"snapstone: .*objects/segments"):
        ServerProcess(tmp_path / "data", ["--workers", "2"])
