"""qemu-nbd does not outlive the process that started it, and ends in order with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snapstone.client.errors import StalledError
from snapstone.client.images import nbd, qemu_nbd
from snapstone.client.images.qemu import open_qemu_target

from .qemu_tools import needs_qemu, raw_bytes, tool

pytestmark = needs_qemu

PATIENCE_SECONDS = 30.0

WRITER = """
import sys
from snapstone.client.errors import StalledError
from snapstone.client.images import nbd
from snapstone.client.images import qemu_nbd
from snapstone.client.images.qemu import open_qemu_target
target = open_qemu_target(sys.argv[1], 64 << 20, part_name="the.part", force=False, format="qcow2")
block = memoryview(b"x" * 524_288)
for block_index in range(int(sys.argv[2])):
    target.write(block_index, block)
print("written", flush=True)
sys.stdin.read()
target.commit()
"""


def start_writer(image: Path, block_count: int = 20) -> subprocess.Popen[bytes]:
    """A process of its own that writes blocks and then waits."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(image), str(block_count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,
    )


def descendants(pid: int) -> list[int]:
    """The guard and qemu-nbd."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def names(pids: list[int]) -> list[str]:
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, names([pid for pid in pids if is_running(pid)])
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends while it is read
        return False


def test_a_process_that_is_killed_takes_qemu_nbd_with_it(tmp_path: Path) -> None:
    with start_writer(tmp_path / "disk") as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        started = descendants(writer.pid)
        assert names(started) == ["sh", "qemu-nbd"]
        writer.kill()
        wait_until_gone(started)


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05, 0.1])
def test_a_process_that_is_killed_while_it_starts_leaves_nothing_running(tmp_path: Path, delay: float) -> None:
    with start_writer(tmp_path / "disk", 128) as writer:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not running_on(tmp_path / "the.part"):
            assert time.monotonic() < deadline
        time.sleep(delay)
        writer.kill()
    while left := running_on(tmp_path / "the.part"):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def running_on(image: Path) -> list[str]:
    """Command lines of all processes that name an image."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_running(int(entry.name)):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if os.fsencode(image) in words.split(b"\0"):
                    found.append(words.decode())
    return found


def test_what_was_acknowledged_before_a_kill_is_there_afterwards(tmp_path: Path) -> None:
    with start_writer(tmp_path / "disk") as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.kill()
    resumed = open_qemu_target(tmp_path / "disk", 64 << 20, part_name="the.part", force=False, format="qcow2")
    resumed.commit()
    tool("qemu-img", "check", "-f", "qcow2", tmp_path / "disk")
    assert raw_bytes(tmp_path / "disk", "qcow2") == b"x" * (20 << 19) + bytes((64 << 20) - (20 << 19))


def test_an_interrupt_for_the_whole_process_group_does_not_reach_qemu_nbd(tmp_path: Path) -> None:
    with start_writer(tmp_path / "disk") as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        started = descendants(writer.pid)
        assert [os.getpgid(pid) for pid in started] == [started[0], started[0]]
        assert os.getpgid(writer.pid) != started[0]
        writer.stdin.close()
        assert writer.wait(PATIENCE_SECONDS) == 0
        wait_until_gone(started)
    assert (tmp_path / "disk").exists()


def test_a_qemu_nbd_that_hangs_is_a_stall_and_is_killed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nbd, "REPLY_SECONDS", 0.3)
    monkeypatch.setattr(qemu_nbd, "END_SECONDS", 0.3)
    others = descendants(os.getpid())
    target = open_qemu_target(tmp_path / "disk", 64 << 20, part_name="the.part", force=False, format="qcow2")
    started = [pid for pid in descendants(os.getpid()) if pid not in others]
    for pid in started:
        if names([pid]) == ["qemu-nbd"]:
            os.kill(pid, signal.SIGSTOP)
    with pytest.raises(StalledError, match=r"the\.part|disk"):
        target.write(0, memoryview(b"x" * 524_288))
    target.leave()
    wait_until_gone(started)


def test_a_guard_that_is_killed_takes_nothing_that_was_written_with_it(tmp_path: Path) -> None:
    with start_writer(tmp_path / "disk") as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        started = descendants(writer.pid)
        os.kill(started[0], signal.SIGKILL)
        writer.kill()
        wait_until_gone(started)
    tool("qemu-img", "check", "-f", "qcow2", tmp_path / "the.part")
