"""Workers that hang or cannot be made, in a real server: the others serve, and nothing acknowledged is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.conformance.given import block, content, put, started
from tests.server_process import SOURCE, ServerProcess

from snapstone.catalog.sqlite.connections import Connections
from snapstone.server.process.worker import TURN_LOOKS
from snapstone.server.process.worker_pool import HEARTBEAT_LIMIT_SECONDS

MARGIN_SECONDS = 10.0
"""For a machine under load, on top of a limit."""

CLIENTS = 6


KEEPS_THE_TURN = """
import signal, threading, time
from snapstone.catalog.sqlite import connections

opened = []

class Noted(connections.Connections):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        opened.append(self)

connections.Connections = Noted

def keep_the_turn():
    with opened[-1].writing():
        time.sleep(3600)

signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=keep_the_turn, daemon=True).start())
"""
"""Loaded by every Python process that has it in its path: on a signal it does what a deadlock would."""


class Load:
    """Clients that put blocks all the time, each with connections of its own."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.snapshot_id = started(server.client("ebs"))
        self.acknowledged: dict[int, bytes] = {}
        self.moments: list[float] = []
        self._lock = Lock()
        self._next = 0
        self.ended = Event()

    def run(self) -> None:
        ebs = self._server.client("ebs")
        while not self.ended.is_set():
            with self._lock:
                index = self._next
                self._next += 1
            sent = block(f"load {index}")
            try:
                put(ebs, self.snapshot_id, index, sent)
            except (BotoCoreError, ClientError):
                ebs = self._server.client("ebs")
                continue
            self.acknowledged[index] = sent
            self.moments.append(time.monotonic())

    def longest_pause(self, since: float) -> float:
        moments = [since, *(moment for moment in self.moments if moment > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(moments))


@contextmanager
def load_on(server: ServerProcess) -> Iterator[Load]:
    load = Load(server)
    threads = [Thread(target=load.run, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.ended.set()
        for thread in threads:
            thread.join(90)


def workers_of(server: ServerProcess) -> set[int]:
    return set(map(int, Path(f"/proc/{server.process_id}/task/{server.process_id}/children").read_text().split()))


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def logged(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log_path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def complete_whatever_count(server: ServerProcess, load: Load) -> None:
    """The count of blocks is not known: it is that of some attempt between what was acknowledged and what was sent."""
    connections = Connections(server.data_folder / "catalog.db")
    with connections.reading() as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM pending_write").fetchall()
    connections.close()
    assert len(load.acknowledged) <= count <= load._next
    answer = server.client("ebs").complete_snapshot(SnapshotId=load.snapshot_id, ChangedBlocksCount=count)
    assert answer["Status"] == "completed"


def test_a_worker_that_is_stopped_holds_the_others_up_no_longer_than_the_limit(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server:
        with load_on(server) as load:
            assert eventually(lambda: len(load.moments) > 50, 30)
            before = workers_of(server)
            stopped = min(before)
            os.kill(stopped, signal.SIGSTOP)
            began = time.monotonic()
            assert eventually(lambda: stopped not in workers_of(server), HEARTBEAT_LIMIT_SECONDS + MARGIN_SECONDS)
            assert eventually(lambda: len(workers_of(server)) == 2, 30)
            time.sleep(2)
            assert load.longest_pause(began) < HEARTBEAT_LIMIT_SECONDS + MARGIN_SECONDS
        [killed] = logged(server, "worker killed")
        assert killed["pid"] == stopped
        assert max(before) in workers_of(server), "the healthy one was left alone"
        # Whatever was acknowledged is in the snapshot; a put that was cut off may be, too.
        complete_whatever_count(server, load)
        stored = content(server.client("ebs"), load.snapshot_id)
        assert load.acknowledged.items() <= stored.items()


def test_a_worker_that_keeps_a_turn_is_killed_and_not_those_who_wait_for_it(tmp_path: Path) -> None:
    """All its threads run, and its heartbeat comes; but one of them has the catalog's turn to write, for ever."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(KEEPS_THE_TURN)
    variables = {"PYTHONPATH": f"{SOURCE}{os.pathsep}{hooks}"}
    with ServerProcess(tmp_path / "data", ["--workers", "2"], variables) as server:
        holder, waiter = sorted(workers_of(server))
        with load_on(server) as load:
            assert eventually(lambda: len(load.moments) > 20, 30)
            began = time.monotonic()
            os.kill(holder, signal.SIGUSR1)
            assert eventually(lambda: holder not in workers_of(server), TURN_LOOKS + MARGIN_SECONDS)
            assert eventually(lambda: any(moment > began + TURN_LOOKS for moment in load.moments), 30)
            assert eventually(lambda: len(workers_of(server)) == 2, 30)
        assert waiter in workers_of(server)
        [killed] = logged(server, "worker killed")
        assert killed["pid"] == holder
        assert killed["why"].startswith("a turn to write the catalog has made no progress")
        assert "keep_the_turn" in killed["why"], "the log says where it hangs"


def test_no_worker_is_killed_because_the_supervisor_or_everything_was_stopped(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server, load_on(server) as load:
        assert eventually(lambda: len(load.moments) > 20, 30)
        workers = workers_of(server)
        everything = [server.process_id, *workers]
        for process_id in everything:
            os.kill(process_id, signal.SIGSTOP)
        time.sleep(HEARTBEAT_LIMIT_SECONDS + 2)
        for process_id in everything:
            os.kill(process_id, signal.SIGCONT)
        count = len(load.moments)
        assert eventually(lambda: len(load.moments) > count + 20, 30)
        time.sleep(3)
        assert workers_of(server) == workers
        assert logged(server, "worker killed") == []


def test_a_worker_that_cannot_be_made_does_not_end_the_others(tmp_path: Path) -> None:
    """The supervisor runs out of descriptors: it can neither make a channel nor start a process."""
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server:
        fallen, sound = sorted(workers_of(server))
        limits = resource.prlimit(server.process_id, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process_id, resource.RLIMIT_NOFILE, (4, limits[1]))
        os.kill(fallen, signal.SIGKILL)
        assert eventually(lambda: len(logged(server, "worker not started")) >= 3, 20)
        assert os.strerror(errno.EMFILE) in logged(server, "worker not started")[0]["error"]
        assert workers_of(server) == {sound}
        ebs = server.client("ebs")
        put(ebs, started(ebs), 0, block("still served"))
        resource.prlimit(server.process_id, resource.RLIMIT_NOFILE, limits)
        assert eventually(lambda: len(workers_of(server)) == 2, 40)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the system refuse to fork")
def test_a_fork_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server:
        fallen, sound = sorted(workers_of(server))
        calls = "clone,clone3,vfork,fork"
        trace = tmp_path / "trace"
        inject = f"inject={calls}:error=EAGAIN:when=1..3"
        tracer = subprocess.Popen(
            ["strace", "-qq", "-p", str(server.process_id), "-o", str(trace), "-e", f"trace={calls}", "-e", inject],
            stderr=subprocess.DEVNULL,
        )
        try:
            status = Path(f"/proc/{server.process_id}/status")
            if not eventually(lambda: "TracerPid:\t0\n" not in status.read_text() or tracer.poll() is not None, 10):
                pytest.skip("strace does not attach")
            if tracer.poll() is not None:
                pytest.skip("strace may not trace here")
            os.kill(fallen, signal.SIGKILL)
            assert eventually(lambda: len(logged(server, "worker not started")) >= 1, 20)
            assert sound in workers_of(server)
            ebs = server.client("ebs")
            put(ebs, started(ebs), 0, block("still served"))
            assert eventually(lambda: len(workers_of(server)) == 2, 60)
        finally:
            tracer.kill()
            tracer.wait()
        assert os.strerror(errno.EAGAIN) in logged(server, "worker not started")[0]["error"]


def test_workers_follow_an_index_that_another_one_has_made_anew(tmp_path: Path) -> None:
    """A worker that starts and finds the index distrusted makes it again; others must not stay with the old one."""
    with ServerProcess(tmp_path / "data", ["--workers", "2"]) as server:
        ebs = server.client("ebs")
        snapshot_id = started(ebs)
        put(ebs, snapshot_id, 0, block("before"))
        before = workers_of(server)
        (server.data_folder / "objects" / "index.db-distrusted").touch()
        os.kill(min(before), signal.SIGKILL)
        acknowledged = {0: block("before")}

        def two_new_ones_serve() -> bool:
            index = len(acknowledged)
            with suppress(BotoCoreError, ClientError):
                put(server.client("ebs"), snapshot_id, index, block(f"meanwhile {index}"))
                acknowledged[index] = block(f"meanwhile {index}")
            return len(workers_of(server) - before) == 2

        assert eventually(two_new_ones_serve, 60)
        assert "must reopen it" in logged(server, "worker killed")[0]["why"]
        answer = ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(acknowledged))
        assert answer["Status"] == "completed"

        def all_is_read() -> bool:
            with suppress(BotoCoreError, ClientError):  # The last one may still be looking through its segment.
                return content(server.client("ebs"), snapshot_id) == acknowledged
            return False

        assert eventually(all_is_read, 30)
        for _ in range(4):
            assert content(server.client("ebs"), snapshot_id) == acknowledged


def test_no_second_server_starts_where_the_lock_file_was_removed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        (server.data_folder / "server.lock").unlink()
        with pytest.raises(RuntimeError, match="another server is running"):
            ServerProcess(server.data_folder)
        assert (server.data_folder / "server.json").exists()


def test_a_folder_copied_from_under_a_server_is_refused_unless_accepted(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        shutil.copytree(server.data_folder, tmp_path / "copy")
        with pytest.raises(RuntimeError, match="was copied file by file"):
            ServerProcess(tmp_path / "copy")
        with ServerProcess(tmp_path / "copy", ["--accept-copied-folder"]) as other:
            assert other.endpoint != server.endpoint
        with ServerProcess(tmp_path / "copy"):
            pass
    server = ServerProcess(tmp_path / "data")
    server.kill()
    with ServerProcess(tmp_path / "data"):
        pass
