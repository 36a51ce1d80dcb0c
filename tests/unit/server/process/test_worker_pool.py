"""The pool of workers, with small programs in the place of workers: real processes, real signals, real failures."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from snapstone.server.config import read_settings
from snapstone.server.folder.data_folder import DataFolderError
from snapstone.server.process import worker_pool
from snapstone.server.process.worker_pool import WorkerFailedError, WorkerPool

SOURCE = Path(worker_pool.__file__).parents[3]

PREAMBLE = """
import os, sys, time
from snapstone.server.process.worker_channel import MessageKind, inherited_channel
channel = inherited_channel(int(sys.argv[2]))
def beat(seconds=3600):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        channel.send(MessageKind.BEAT)
        for message in channel.receive():
            print(message.kind.name, message.text, file=open(f"{sys.argv[3]}/{os.getpid()}", "a"))
        if channel.is_closed:
            sys.exit()
        time.sleep(0.05)
"""

SOUND = "channel.send(MessageKind.READY); beat()"


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        "LOOK_SECONDS": 0.1,
        "HEARTBEAT_LIMIT_SECONDS": 1.0,
        "BUSY_LIMIT_SECONDS": 3.0,
        "FIRST_BEAT_SECONDS": 20.0,
        "LATE_LOOK_SECONDS": 0.6,
        "FIRST_RESTART_SECONDS": 0.1,
        "PROBLEM_SECONDS": 0.3,
    }.items():
        monkeypatch.setattr(worker_pool, name, seconds)


Start = Callable[..., WorkerPool]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a pool of two workers that run `program`."""
    pools = []
    listening = socket.create_server(("127.0.0.1", 0))

    def started(program: str, **settings: Any) -> WorkerPool:
        script = tmp_path / "worker.py"
        script.write_text(PREAMBLE + dedent(program))
        pool = WorkerPool(
            read_settings({"data": str(tmp_path), "workers": "2", "stop_grace_seconds": "0"}, {}),
            listening,
            command=(sys.executable, str(script)),
            worker_arguments=(str(tmp_path),),
            **settings,
        )
        pools.append(pool)
        pool.start()
        return pool

    os.environ["PYTHONPATH"] = str(SOURCE)
    yield started
    del os.environ["PYTHONPATH"]
    for pool in pools:
        for process_id in process_ids(pool):
            os.kill(process_id, signal.SIGKILL)
        pool.stop()
    listening.close()


def process_ids(pool: WorkerPool) -> list[int]:
    running = [slot.process for slot in pool._slots if slot.process is not None]
    return [process.pid for process in running if process.poll() is None]


def look_until(pool: WorkerPool, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pool.look())
    return True


def look_for(pool: WorkerPool, seconds: float) -> None:
    look_until(pool, lambda: False, seconds)


def events(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [record.fields for record in caplog.records if record.message == event]  # type: ignore[attr-defined]


# -- workers that cannot be made --


def test_a_worker_that_cannot_be_made_is_tried_again_while_the_other_serves(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = start(SOUND)
    fallen, sound = process_ids(pool)
    failures = iter([errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
    real = subprocess.Popen

    def failing(*arguments: Any, **keywords: Any) -> Any:
        code = next(failures, None)
        if code is not None:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **keywords)

    monkeypatch.setattr(subprocess, "Popen", failing)
    os.kill(fallen, signal.SIGKILL)
    assert look_until(pool, lambda: len(events(caplog, "worker not started")) == 3)
    assert process_ids(pool) == [sound]
    pauses = [fields["next_try_in_seconds"] for fields in events(caplog, "worker not started")]
    assert pauses == sorted(set(pauses)), "the pause grows"
    assert os.strerror(errno.EAGAIN) in events(caplog, "worker not started")[0]["error"]
    assert look_until(pool, lambda: len(process_ids(pool)) == 2 and all(slot.is_ready for slot in pool._slots))
    look_for(pool, 0.5)
    told = (tmp_path / str(sound)).read_text().splitlines()
    assert told[0].startswith("PROBLEM 1 of 2 server processes are missing (a server process")
    assert told[-1].startswith("SOUND")


def test_the_pause_before_another_try_doubles_up_to_its_limit_and_no_further(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_pool, "SOUND_SECONDS", 0.0)
    monkeypatch.setattr(worker_pool, "LONGEST_RESTART_SECONDS", 0.3)
    obstacles: list[str] = []
    pool = start(SOUND, obstacle=lambda: obstacles[0] if obstacles else None)
    obstacles.append("the data folder is gone")
    os.kill(process_ids(pool)[0], signal.SIGKILL)
    assert look_until(pool, lambda: len(events(caplog, "worker not started")) == 4)
    [ended] = events(caplog, "worker ended")
    pauses = [fields["next_try_in_seconds"] for fields in events(caplog, "worker not started")]
    assert [ended["restart_in_seconds"], *pauses] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])


def test_no_more_descriptors_are_a_failed_start_too(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The real fault: the supervisor has no descriptor left for a channel."""
    pool = start(SOUND)
    fallen, sound = process_ids(pool)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.kill(fallen, signal.SIGKILL)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        assert look_until(pool, lambda: len(events(caplog, "worker not started")) >= 2)
        assert process_ids(pool) == [sound]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.strerror(errno.EMFILE) in events(caplog, "worker not started")[0]["error"]
    assert look_until(pool, lambda: len(process_ids(pool)) == 2)


def test_at_the_very_start_it_is_a_sentence(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", failing)
    with pytest.raises(WorkerFailedError, match=r"cannot start a server process: .*temporarily unavailable"):
        start(SOUND)


def test_no_worker_is_started_while_there_is_an_obstacle(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    obstacles: list[str] = []
    pool = start(SOUND, obstacle=lambda: obstacles[0] if obstacles else None)
    obstacles.append("the data folder is gone")
    os.kill(process_ids(pool)[0], signal.SIGKILL)
    look_for(pool, 1.0)
    assert len(process_ids(pool)) == 1
    assert events(caplog, "worker not started")[0]["error"] == "the data folder is gone"
    obstacles.clear()
    assert look_until(pool, lambda: len(process_ids(pool)) == 2)


# -- workers that end at their start --


def test_a_worker_that_refuses_to_start_says_why(start: Start) -> None:
    with pytest.raises(DataFolderError, match=r"^no segments$"):
        start("channel.send(MessageKind.REFUSED, 'no segments'); sys.exit(1)")


def test_a_worker_that_fails_at_its_start_says_why(start: Start) -> None:
    with pytest.raises(WorkerFailedError, match=r"^disk I/O error$"):
        start("channel.send(MessageKind.BEAT); channel.send(MessageKind.FAILED, 'disk I/O error'); sys.exit(1)")


def test_a_worker_that_ends_without_a_word_is_told_by_its_status(start: Start) -> None:
    with pytest.raises(WorkerFailedError, match="a worker ended while starting with status 7"):
        start("sys.exit(7)")


def test_the_reason_of_a_later_start_is_logged(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = start(
        "if os.path.exists(f'{sys.argv[3]}/broken'): channel.send(MessageKind.FAILED, 'why not'); sys.exit(1)\n" + SOUND
    )
    (tmp_path / "broken").touch()
    os.kill(process_ids(pool)[0], signal.SIGKILL)
    assert look_until(pool, lambda: any(fields.get("why") == "why not" for fields in events(caplog, "worker ended")))


# -- workers that hang --


def test_a_worker_that_is_stopped_is_killed_and_replaced(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    pool = start(SOUND)
    stopped, sound = process_ids(pool)
    os.kill(stopped, signal.SIGSTOP)
    began = time.monotonic()
    assert look_until(pool, lambda: stopped not in process_ids(pool))
    assert time.monotonic() - began < 3.0
    assert look_until(pool, lambda: len(process_ids(pool)) == 2)
    assert sound in process_ids(pool)
    [killed] = events(caplog, "worker killed")
    assert killed["pid"] == stopped
    assert "it is stopped" in killed["why"]


def test_a_worker_whose_threads_all_wait_for_ever_is_killed(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    pool = start("channel.send(MessageKind.READY); beat(1.5); time.sleep(3600)")
    assert look_until(pool, lambda: bool(events(caplog, "worker killed")))
    assert "it hangs" in events(caplog, "worker killed")[0]["why"]


def test_a_silent_worker_that_works_is_given_more_time(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """As one whose heartbeat does not get the interpreter's lock, or its share of a processor."""
    pool = start("channel.send(MessageKind.READY); beat(1.5)\nwhile True: pass")
    look_for(pool, 1.5 + 2.0)
    assert events(caplog, "worker killed") == []
    assert look_until(pool, lambda: bool(events(caplog, "worker killed")))


def test_a_worker_that_finds_itself_stuck_is_killed_at_once(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    pool = start(
        "channel.send(MessageKind.READY); beat(1.5)\n"
        "while True:\n"
        "    channel.send(MessageKind.STUCK, 'a turn has made no progress\\nMainThread\\n  x.py:1 y')\n"
        "    time.sleep(0.1)"
    )
    assert look_until(pool, lambda: bool(events(caplog, "worker killed")))
    assert "x.py:1" in events(caplog, "worker killed")[0]["why"]
    assert look_until(pool, lambda: bool(events(caplog, "worker ended")))
    assert events(caplog, "worker ended")[0]["why"] == "a server process was killed: a turn has made no progress"


def test_time_in_which_the_supervisor_did_not_run_counts_against_nobody(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything was stopped, as by a lid or a debugger; the supervisor is the first that runs again."""
    pool = start(SOUND)
    workers = process_ids(pool)
    look_for(pool, 0.3)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    time.sleep(2.5)
    pool.look()
    pool.look()
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    look_for(pool, 1.5)
    assert events(caplog, "worker killed") == []
    assert process_ids(pool) == workers


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
