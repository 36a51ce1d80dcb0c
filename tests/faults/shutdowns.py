"""Real file systems that are shut down under load, without writing their logs: what is left is the kernel's affair."""

from __future__ import annotations

import fcntl
import os
import random
import struct
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, monotonic_ns, sleep
from typing import Final

import pytest

from tests.faults.history import History
from tests.faults.load import Load
from tests.faults.loop_devices import MIB, MountedDisk, mounted, run_tool
from tests.faults.servers import Server, StartError
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import Fault, Verdict, judge

KINDS: Final = ("ext4", "xfs")
DISK_SIZE: Final = 2048 * MIB

UNMOUNT_SECONDS: Final = 30.0

SHUT_DOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN."""

WITHOUT_LOG: Final = struct.pack("I", 2)
"""Nothing that is not on the disk yet gets there."""


@dataclass(frozen=True)
class ShutdownJob:
    """One file system, shut down so many times."""

    kind: str
    seed: int
    count: int

    def run(self) -> list[Tally]:
        """Load, shut down, mount again, look everything up; the next time goes on from there."""
        tally = Tally(f"shutdown of a real {self.kind} under load, its log not written")
        with scratch("shutdown", in_memory=False) as workspace:
            try:
                with mounted(self.kind, DISK_SIZE, workspace / "disk") as disk:
                    history = History()
                    for number in range(self.count):
                        verdict = self._one(disk, history, random.Random(f"{self.seed}/{number}"))
                        tally.tried += 1
                        tally.note(verdict, command("shutdown", self.seed))
            except pytest.skip.Exception as skipped:
                tally.outcomes[f"skipped: {skipped}"] += 1
        return [tally]

    def _one(self, disk: MountedDisk, history: History, chance: random.Random) -> Verdict:
        data, verdict = disk.folder / "data", Verdict()
        try:
            with Server(data, workers=chance.choice((1, 2)), log=disk.image.with_name("log")) as server:
                load = Load(history, monotonic_ns, chance.randrange(1 << 30), patient=True)
                thread = Thread(target=load.run, args=(server.running,))
                thread.start()
                sleep(chance.uniform(0.5, 4.0))
                _shut_down(disk.folder)
                sleep(0.5)  # nothing is acknowledged from here on, or it is not there below
                load.stopped.set()
                thread.join()
            _unmount(disk.folder)
            run_tool("mount", "-o", "loop", str(disk.image), str(disk.folder))
            with Server(data, log=disk.image.with_name("log")) as server:
                verdict = judge(server.running, history, monotonic_ns(), now=monotonic_ns)
        except StartError as error:
            verdict.add(Fault.STUCK, f"it does not start: {error}")
        verdict.faults += [(Fault.WRONG, each) for each in history.complaints if not each.startswith("stuck")]
        return verdict


def _shut_down(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, SHUT_DOWN, WITHOUT_LOG)
    finally:
        os.close(descriptor)


def _unmount(folder: Path) -> None:
    """Processes that were killed take a moment to end."""
    deadline = monotonic() + UNMOUNT_SECONDS
    while True:
        try:
            run_tool("umount", str(folder))
            return
        except AssertionError:
            if monotonic() > deadline:
                raise
        sleep(0.1)


def jobs(seed: int, count: int) -> list[ShutdownJob]:
    """So many of each kind of file system."""
    return [ShutdownJob(kind, seed, max(1, count)) for kind in KINDS]
