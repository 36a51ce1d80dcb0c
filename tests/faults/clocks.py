"""Wall clocks that are wrong for a while, by seconds to years, under load and over restarts: nothing is destroyed."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic_ns, sleep
from typing import Final

from tests.faults.client import Client, GoneError, RefusedError
from tests.faults.history import Call, History, Put, Story
from tests.faults.library import Control, Flag
from tests.faults.load import Load
from tests.faults.servers import Running, Starter, StartError, end
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import Fault, Verdict, judge

PUTS: Final = 10
JUMPS: Final = 3
WRONG_SECONDS: Final = 15.0
"""How long the clock is wrong each time: longer than the ten seconds between two looks for what is due."""

DAY: Final = 86_400
LENGTHS: Final = (16, 40, 300, 7_200, DAY, 8 * DAY, 40 * DAY, 400 * DAY, 3_660 * DAY)
"""Seconds by which a clock jumps, more or less."""

AT_ONCE: Final = 8
"""Servers whose clocks are wrong at the same time, in one job."""


@dataclass
class _Hoard:
    """What only time may take away, and none of it is due while the bench runs."""

    key: str = ""
    """In its waiting time, of seven days."""
    under_key: Story | None = None
    binned: Story | None = None
    """In the recycle bin for a day."""
    locked: Story | None = None
    """For a day."""
    pending: Story | None = None
    """With 60 minutes of patience."""


@dataclass
class _Trial:
    """One server and its clock."""

    workspace: Path
    starter: Starter
    starting: Lock
    chance: random.Random
    verdict: Verdict = field(default_factory=Verdict)
    history: History = field(default_factory=History)
    jumps: list[str] = field(default_factory=list)
    hoard: _Hoard = field(default_factory=_Hoard)

    def run(self) -> None:
        """Prepare, let the clock jump, look everything up."""
        self.workspace.mkdir()
        (self.workspace / "disk").mkdir()
        self.control = Control(self.workspace / "control", Flag.SPARSE | Flag.NO_SYNC)
        try:
            running = self._start()
            self._prepare(running)
            for _ in range(JUMPS):
                running = self._jump(running)
            self.control.clock_offset_seconds = 0
            self.jumps.append("right again")
            sleep(1.5)
            self._look(running)
            end(running)
        except (StartError, GoneError, RefusedError) as error:
            self.verdict.add(Fault.STUCK, str(error))
        self.verdict.faults = [(fault, f"{'; '.join(self.jumps)}: {what}") for fault, what in self.verdict.faults]

    def _start(self) -> Running:
        with self.starting:
            running = self.starter.start(self.workspace / "disk" / "data", self.control)
        running.now = lambda: datetime.now(UTC) + timedelta(seconds=self.control.clock_offset_seconds)
        return running

    def _prepare(self, running: Running) -> None:
        client, hoard = running.client(), self.hoard
        hoard.key = client.create_key()
        hoard.under_key = self._written(client, 1, client.start(key=hoard.key))
        client.schedule_key_deletion(hoard.key)
        client.keep_deleted("name", "binned", 1)
        hoard.binned = self._written(client, 2, client.start())
        client.tag(hoard.binned.snapshot_id, "name", "binned")
        client.delete(hoard.binned.snapshot_id)
        hoard.locked = self._written(client, 3, client.start())
        client.lock(hoard.locked.snapshot_id, 1)
        hoard.pending = self._written(client, 4, client.start(), completed=False)
        self.history.stories += [hoard.locked, hoard.pending]
        client.close()

    def _written(self, client: Client, stamp: int, snapshot_id: str, *, completed: bool = True) -> Story:
        puts = [Put(0, 0, block_index=index, stamp=stamp + index) for index in range(3)]
        story = Story(snapshot_id, Call(0, 0), puts=puts)
        for put in puts:
            client.put(snapshot_id, put.block_index, put.stamp)
        if completed:
            assert client.complete(snapshot_id, story.acknowledged()) == "completed"
            story.completion = Call(0, 0)
        return story

    def _jump(self, running: Running) -> Running:
        """Set the clock, let the server work for a while with it, or start it anew; try what time could allow."""
        seconds = self.chance.choice(LENGTHS) * self.chance.uniform(0.9, 1.1) * self.chance.choice((-1, 1))
        over_restart = self.chance.random() < 0.4
        if over_restart:
            end(running)
        self.control.clock_offset_seconds = seconds
        self.jumps.append(f"{seconds:+.0f} s{' over a restart' if over_restart else ''}")
        if over_restart:
            running = self._start()
        sleep(1.2)  # a tick, in which the server looks at its clocks
        Load(self.history, monotonic_ns, self.chance.randrange(1 << 30), PUTS).run(running, 2)
        sleep(WRONG_SECONDS)
        client = running.client()
        assert self.hoard.locked is not None
        try:
            client.delete(self.hoard.locked.snapshot_id)
            self.verdict.add(Fault.LOST, "a locked snapshot is deleted")
        except RefusedError as error:
            if "is locked" not in error.message:
                self.verdict.add(Fault.STUCK, f"the deletion of a locked snapshot is answered by {error}")
        client.close()
        return running

    def _look(self, running: Running) -> None:
        client, hoard = running.client(), self.hoard
        assert hoard.binned is not None
        assert hoard.under_key is not None
        for what, bring_back in (
            (f"key {hoard.key}", partial(client.keep_key, hoard.key)),
            (f"{hoard.binned.snapshot_id} in the bin", partial(client.restore, hoard.binned.snapshot_id)),
        ):
            self.verdict.looked_up["things that were kept for a while"] += 1
            try:
                bring_back()
            except RefusedError as error:
                self.verdict.add(Fault.LOST, f"{what}: {error}")
        client.close()
        self.history.stories += [hoard.binned, hoard.under_key]
        self.verdict.merge(judge(running, self.history, monotonic_ns()))
        self.verdict.faults += [(Fault.WRONG, each) for each in self.history.complaints]


@dataclass(frozen=True)
class ClockJob:
    """Some servers at once, each with jumps of its own."""

    seed: int
    count: int

    def run(self) -> list[Tally]:
        """Run them."""
        tally = Tally("servers with a wrong wall clock")
        with scratch("clocks") as workspace, Starter() as starter:
            lock = Lock()
            trials = [
                _Trial(workspace / str(number), starter, lock, random.Random(f"{self.seed}/{number}"))
                for number in range(self.count)
            ]
            with ThreadPoolExecutor(self.count) as pool:
                for done in [pool.submit(trial.run) for trial in trials]:
                    done.result()
            for trial in trials:
                tally.tried += 1
                tally.outcomes["jumps"] += len(trial.jumps)
                tally.note(trial.verdict, command("clocks", self.seed))
        return [tally]


def jobs(seed: int, count: int) -> list[ClockJob]:
    """So many servers."""
    return [ClockJob(seed + number, min(AT_ONCE, count)) for number in range(max(1, -(-count // AT_ONCE)))]
