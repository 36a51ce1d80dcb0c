"""kill -9 of a worker, of the supervisor alone and of everything, under load, repeatedly on one folder."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic_ns, sleep
from typing import Final

from tests.faults.history import History
from tests.faults.library import Control, Flag
from tests.faults.load import Load
from tests.faults.servers import Server, StartError
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import Fault, Verdict, judge

ROUNDS: Final = 5
"""Servers that one folder lives through."""

WORKER_KILLS: Final = 3
"""Kills of single workers in a round that has several; then the supervisor or everything is killed."""


@dataclass(frozen=True)
class KillJob:
    """Kills on one folder, until there were so many."""

    seed: int
    count: int

    def run(self) -> list[Tally]:
        """Load, kill, start again; look everything up after every few kills, on a new folder each time."""
        tally = Tally("kill -9")
        number = 0
        while tally.tried < self.count:
            number += 1
            with scratch("kills") as workspace:
                self._one_folder(workspace, random.Random(f"{self.seed}/{number}"), tally)
        return [tally]

    def _one_folder(self, workspace: Path, chance: random.Random, tally: Tally) -> None:
        (workspace / "disk").mkdir()
        data, history, verdict = workspace / "disk" / "data", History(), Verdict()
        control = Control(workspace / "control", Flag.SPARSE | Flag.NO_SYNC)
        try:
            for _ in range(ROUNDS):
                workers = chance.choice((1, 2, 2))
                with Server(data, workers=workers, control=control) as server:
                    self._one_round(server, history, chance, tally)
            with Server(data, control=control) as server:
                verdict.merge(judge(server.running, history, monotonic_ns()))
        except StartError as error:
            verdict.add(Fault.STUCK, f"it does not start: {error}")
        verdict.faults += [(Fault.WRONG, each) for each in history.complaints]
        verdict.looked_up["acknowledged puts under load"] += history.acknowledged_count()
        tally.note(verdict, command("kills", self.seed))

    def _one_round(self, server: Server, history: History, chance: random.Random, tally: Tally) -> None:
        load = Load(history, monotonic_ns, chance.randrange(1 << 30), patient=True)
        thread = Thread(target=load.run, args=(server.running,))
        thread.start()
        try:
            if workers := server.running.workers:
                for _ in range(WORKER_KILLS):
                    sleep(chance.uniform(0.1, 1.2))
                    workers = server.running.workers
                    if workers and _kill(chance.choice(workers)):
                        tally.tried += 1
                        tally.outcomes["of a worker"] += 1
            sleep(chance.uniform(0.05, 1.0))
            if workers and chance.random() < 0.5:
                _kill(server.running.process_id)
                tally.outcomes["of the supervisor alone"] += 1
                sleep(chance.uniform(0.0, 0.3))
            else:
                server.running.kill()
                tally.outcomes["of everything"] += 1
            tally.tried += 1
        finally:
            load.stopped.set()
            thread.join()


def _kill(process_id: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)
        return True
    return False


def jobs(seed: int, count: int, kills_of_a_job: int = 50) -> list[KillJob]:
    """So many kills in all."""
    return [KillJob(seed + number, min(kills_of_a_job, count)) for number in range(max(1, -(-count // kills_of_a_job)))]
