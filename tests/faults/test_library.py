"""The library under real processes: what it records, how calls fail, and what time it is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.library import Control, Rule


@pytest.fixture
def control(tmp_path: Path) -> Control:
    (tmp_path / "root").mkdir()
    return Control(tmp_path / "control")


def run(control: Control, code: str) -> str:
    """What a Python program prints in a folder in which its calls may fail."""
    root = control.path.with_name("root")
    done = subprocess.run(
        [sys.executable, "-c", "import os, time\n" + code],
        env=os.environ | control.environment(root),
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


SYNC_TWICE = """
file = os.open("a", os.O_RDWR | os.O_CREAT)
for _ in range(2):
    begun = time.monotonic()
    try:
        os.fdatasync(file)
        print("synced", end=" ")
    except OSError as error:
        print(error.errno, time.monotonic() - begun > 0.05, end=" ")
"""


def test_a_sync_fails_once_and_takes_its_time(control: Control) -> None:
    control.set_rules([Rule("fdatasync", "/a", errno.EIO, times=1, delay_ms=60)])
    assert run(control, SYNC_TWICE) == f"{errno.EIO} True synced"
    assert (control.hits(), control.matches()) == (1, 2)


def test_a_rule_holds_for_paths_that_fit_it_and_every_so_manieth_call(control: Control) -> None:
    control.set_rules([Rule("open", "/b*", errno.EACCES, every=2)])
    code = """
for name in ("a", "b", "b", "b", "b"):
    try:
        os.close(os.open(name, os.O_RDWR | os.O_CREAT))
        print(name, end=" ")
    except OSError as error:
        print(error.errno, end=" ")
"""
    assert run(control, code) == f"a b {errno.EACCES} b {errno.EACCES}"


def test_a_short_write_writes_half(control: Control) -> None:
    control.set_rules([Rule("pwrite", short=True)])
    code = """
file = os.open("a", os.O_RDWR | os.O_CREAT)
print(os.pwrite(file, bytes(4096), 0), os.pwritev(file, [bytes(5), bytes(6)], 0), os.fstat(file).st_size)
"""
    assert run(control, code) == "2048 5 2048"


def test_a_late_failure_has_done_its_work(control: Control) -> None:
    control.set_rules([Rule("rename", error=errno.EIO, late=True)])
    code = """
open("a", "w").close()
try:
    os.rename("a", "b")
except OSError as error:
    print(error.errno, os.listdir("."))
"""
    assert run(control, code) == f"{errno.EIO} ['b']"


def test_rules_can_be_replaced_and_taken_away_while_a_process_runs(control: Control) -> None:
    control.set_rules([Rule("mkdir", error=errno.ENOSPC)])
    code = """
try:
    os.mkdir("a")
    print("made")
except OSError as error:
    print(error.errno)
"""
    assert run(control, code) == str(errno.ENOSPC)
    control.set_rules([])
    assert run(control, code) == "made"


@pytest.mark.parametrize("seconds", [-86_400.25, 3_600.75, 365 * 86_400.0])
def test_the_wall_clock_is_wrong_and_the_monotonic_one_right(control: Control, seconds: float) -> None:
    control.clock_offset_seconds = seconds
    wall, seconds_of_time, monotonic = map(
        float, run(control, "print(time.time_ns() / 1e9, time.time(), time.monotonic())").split()
    )
    now = datetime.now(UTC).timestamp()
    assert abs(wall - now - seconds) < 30
    assert abs(seconds_of_time - wall) < 1
    assert abs(monotonic - float(Path("/proc/uptime").read_text().split()[0])) < 30


def test_recordings_are_made_by_every_process_in_one_order(control: Control, tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = "import os\nos.mkdir('d')\nif os.fork() == 0:\n    os.mkdir('e')\n    os._exit(0)\nos.wait()\nos.mkdir('f')"
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | control.environment(root, tmp_path / "log"), cwd=root, check=True
    )
    logs = sorted((tmp_path / "log").iterdir())
    assert len(logs) == 2
    assert control.moment > 6
