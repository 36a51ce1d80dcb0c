"""First starts that are killed, and a start without the segments' folder in between, after a power cut."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Final

from tests.faults.history import History
from tests.faults.library import Control
from tests.faults.power_cuts import AS_RECORDED, cuts_of, record
from tests.faults.servers import NOWHERE, Running, Server, Starter, StartError, arguments, end, environment, log_of
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import Fault, Verdict, judge

LONGEST_START_SECONDS: Final = 2.5


@dataclass(frozen=True)
class FirstStartJob:
    """Servers that are killed in their very first start."""

    seed: int
    count: int

    def run(self) -> list[Tally]:
        """Kill each some time into its start, start it again, write and read."""
        tally = Tally("kill -9 inside the very first start")
        for number in range(self.count):
            with scratch("starts") as workspace:
                chance = random.Random(f"{self.seed}/{number}")
                data = workspace / "disk" / "data"
                data.parent.mkdir()
                self._killed(data, chance)
                tally.outcomes["before there was a folder"] += not data.exists()
                tally.outcomes["before there was a catalog"] += data.exists() and not (data / "catalog.db").exists()
                verdict = Verdict()
                try:
                    with Server(data, control=Control(workspace / "control", AS_RECORDED)) as server:
                        verdict = judge(server.running, History(), 0)
                except StartError as error:
                    verdict.add(Fault.STUCK, f"it does not start: {error}")
                tally.tried += 1
                tally.note(verdict, command("starts", self.seed))
        return [tally]

    def _killed(self, data: Path, chance: random.Random) -> None:
        """Half of the time is the interpreter's, in which nothing is at stake."""
        words = [sys.executable, "-m", "snapstone", *arguments(data, chance.choice((1, 2)))]
        with log_of(data).open("ab") as log:
            process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=log)
        while not data.exists() and process.poll() is None:
            sleep(0.001)
        sleep(chance.uniform(0, LONGEST_START_SECONDS) ** 2 / LONGEST_START_SECONDS)
        for worker in Running(data, process.pid, log_of(data), NOWHERE).workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        process.kill()
        process.wait()


@dataclass(frozen=True)
class AbsentSegmentsJob:
    """Power cuts, then a start while the segments' folder is not there, as a mount that comes late."""

    seed: int
    count: int

    def run(self) -> list[Tally]:
        """Cut, take the folder away, start, put it back, start, look everything up."""
        tally = Tally("power cut, then a start without the segments' folder, then with it")
        with scratch("starts") as workspace, Starter() as starter:
            recording = record(workspace / "load", self.seed, put_count=60, workers=1, failing=False)
            for number, cut in enumerate(cuts_of(recording.disk, self.seed, self.count)):
                root = workspace / f"cut-{number}"
                recording.disk.image(cut).write(root)
                segments = root / "data" / "objects" / "segments"
                aside = root / "aside"
                control = Control(workspace / "control", AS_RECORDED)
                if segments.is_dir():
                    segments.rename(aside)
                verdict = Verdict()
                try:
                    end(starter.start(root / "data", control))
                    tally.outcomes["started without it, its index knowing of no segment"] += 1
                except StartError as error:
                    tally.outcomes["refused"] += 1
                    if "segments" not in str(error):
                        verdict.add(Fault.STUCK, f"the refusal does not name the folder: {error}")
                if aside.exists():
                    shutil.rmtree(segments, ignore_errors=True)
                    aside.rename(segments)
                try:
                    running = starter.start(root / "data", control)
                    verdict.merge(judge(running, recording.history, cut.moment))
                    end(running)
                except StartError as error:
                    verdict.add(Fault.STUCK, f"it does not start: {error}")
                tally.tried += 1
                tally.note(verdict, command("starts", self.seed))
        return [tally]


def jobs(seed: int, scale: float) -> list[FirstStartJob | AbsentSegmentsJob]:
    """Forty of each."""
    share = max(1, int(40 * scale))
    return [FirstStartJob(seed, share), AbsentSegmentsJob(seed, share)]
