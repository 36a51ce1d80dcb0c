"""System calls that fail: every kind of call, by errno and by path, under load; then the fault ends."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic_ns, sleep
from typing import Final

from tests.faults.history import History
from tests.faults.library import Control, Flag, Rule
from tests.faults.load import Load
from tests.faults.servers import Running, Starter, StartError, end, sentence_in
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import Fault, Verdict, judge

CALM_PUTS: Final = 10
FAULT_SECONDS: Final = 3.0
"""How long calls fail."""

PATIENCE_SECONDS: Final = 90.0
"""A seal that has failed three times is tried again after 40 seconds."""

CLIENTS: Final = 3
KINDS_OF_A_JOB: Final = 8

EVERY: Final = (2, 3, 5, 7)
"""Of the calls that a rule fits, so many-th fail."""

PATHS: Final = {
    "segments": "/data/objects/segments/*.segment*",
    "segments' folder": "/data/objects/segments",
    "catalog": "/data/catalog.db",
    "catalog's log": "/data/catalog.db-wal",
    "catalog's other files": "/data/catalog.db-[!ws]*",
    "index": "/data/objects/index.db",
    "index's log": "/data/objects/index.db-wal",
    "audit": "/data/audit/*",
    "damage log": "/data/objects/damage.jsonl",
    "data folder": "/data",
    "any file": "*",
}
ON_DATA: Final = ("segments", "catalog", "catalog's log", "index", "index's log", "audit", "any file")
ON_DISK: Final = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EINTR)
ON_NAMES: Final = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS)


@dataclass(frozen=True)
class CallKind:
    """One kind of failing call."""

    call: str
    path: str
    """Of PATHS."""
    error: int
    """0 for short reads and writes."""
    late: bool = False

    def __str__(self) -> str:
        how = errno.errorcode[self.error] if self.error else "short"
        return f"{self.call} of {self.path}: {how}{', done all the same' if self.late else ''}"


def kinds() -> Iterator[CallKind]:
    """All that are tried."""
    for path in ON_DATA:
        for error in ON_DISK:
            yield CallKind("pwrite" if path != "audit" else "write", path, error)
            if path != "audit":
                yield CallKind("fdatasync", path, error)
        yield CallKind("pwrite" if path != "audit" else "write", path, 0)
    for path in ("segments", "index", "catalog", "any file"):
        for error in (errno.EIO, errno.ENOMEM, errno.EINTR):
            yield CallKind("pread", path, error)
            yield CallKind("preadv", path, error)
        yield CallKind("pread", path, 0)
        yield CallKind("preadv", path, 0)
    for path in ("segments", "segments' folder", "catalog", "catalog's log", "index", "audit", "any file"):
        for error in (errno.EMFILE, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOMEM):
            yield CallKind("open", path, error)
    for path in ("segments", "segments' folder", "data folder", "any file"):
        for error in (errno.EIO, errno.ENOSPC):
            yield CallKind("fsync", path, error)
    for error in (errno.ENOSPC, errno.EIO, errno.EINTR, errno.EDQUOT, errno.EOPNOTSUPP):
        yield CallKind("fallocate", "segments", error)
    for path in ("segments", "catalog's log", "index's log", "any file"):
        for error in (errno.EIO, errno.ENOSPC, errno.EROFS):
            yield CallKind("ftruncate", path, error)
    for call in ("link", "rename", "unlink", "mkdir"):
        for error in ON_NAMES:
            yield CallKind(call, "any file", error)
        yield CallKind(call, "any file", errno.EIO, late=True)
    for path in ("catalog's other files", "any file"):
        for error in (errno.ENOMEM, errno.EACCES):
            yield CallKind("mmap", path, error)
        for error in (errno.ENOLCK, errno.EINTR):
            yield CallKind("flock", path, error)
    yield CallKind("opendir", "segments' folder", errno.EIO)


@dataclass(frozen=True)
class CallJob:
    """Some kinds, a server for each."""

    seed: int
    kinds: tuple[CallKind, ...]

    def run(self) -> list[Tally]:
        """Let calls fail under load, end the fault, look everything up; start anew under the fault, and without it."""
        tally = Tally("failing system calls")
        with Starter() as starter:
            for number, kind in enumerate(self.kinds):
                with scratch("calls") as workspace:
                    trial = _Trial(workspace, starter, kind, random.Random(f"{self.seed}/{number}"))
                    outcome, verdict, injected = trial.run()
                tally.tried += 1
                tally.outcomes[outcome] += 1
                tally.outcomes["calls failed"] += injected
                verdict.faults = [(fault, f"{kind}: {what}") for fault, what in verdict.faults]
                tally.note(verdict, command("calls", self.seed))
        return [tally]

    def __str__(self) -> str:
        return f"CallJob(seed={self.seed}, {len(self.kinds)} kinds)"


@dataclass
class _Trial:
    workspace: Path
    starter: Starter
    kind: CallKind
    chance: random.Random

    def run(self) -> tuple[str, Verdict, int]:
        """What became of it, what was wrong, how many calls failed."""
        (self.workspace / "disk").mkdir()
        data = self.workspace / "disk" / "data"
        control = Control(self.workspace / "control", Flag.SPARSE | Flag.NO_SYNC)
        history, verdict = History(), Verdict()
        rules = [self._rule()]
        running = self.starter.start(data, control)
        Load(history, monotonic_ns, self.chance.randrange(1 << 30), CALM_PUTS).run(running, CLIENTS)
        control.set_rules(rules)
        self._load_for_a_while(running, history)
        control.set_rules([])
        outcome = self._after(running, history, verdict)
        if self.chance.random() < 0.5:
            self._start_under_fault(data, control, rules, verdict)
        injected = control.injected_count
        try:
            running = self.starter.start(data, control)
        except StartError as error:
            verdict.add(Fault.STUCK, f"it does not start after the fault: {error}")
        else:
            verdict.merge(judge(running, history, monotonic_ns(), PATIENCE_SECONDS, monotonic_ns))
            end(running)
        complaints = [each for each in history.complaints if not each.startswith("stuck")]
        verdict.faults += [(Fault.LOST if each.startswith("lost") else Fault.WRONG, each) for each in complaints]
        verdict.looked_up["calls answered by an error"] += history.refused_count
        return outcome if injected else "never called", verdict, injected

    def _rule(self) -> Rule:
        every = self.chance.choice(EVERY)
        is_short = self.kind.error == 0
        return Rule(
            self.kind.call, PATHS[self.kind.path], self.kind.error, every=every, short=is_short, late=self.kind.late
        )

    def _load_for_a_while(self, running: Running, history: History) -> None:
        load = Load(history, monotonic_ns, self.chance.randrange(1 << 30))
        thread = Thread(target=load.run, args=(running, CLIENTS))
        thread.start()
        sleep(FAULT_SECONDS)
        load.stopped.set()
        thread.join()

    def _after(self, running: Running, history: History, verdict: Verdict) -> str:
        """Look everything up on the server that has gone through it, if it goes on."""
        if not Path(f"/proc/{running.process_id}").exists():
            if not sentence_in(running.said()):
                verdict.add(Fault.STUCK, f"the server ended without a sentence: {running.said()[-1500:]}")
            return "the server ended"
        sleep(1.5)  # a tick, in which it may see that the fault is over
        verdict.merge(judge(running, history, monotonic_ns(), PATIENCE_SECONDS, monotonic_ns))
        end(running)
        return "the server went on"

    def _start_under_fault(self, data: Path, control: Control, rules: list[Rule], verdict: Verdict) -> None:
        """Start while calls fail: it serves, or says in a sentence why not."""
        control.set_rules(rules)
        try:
            running = self.starter.start(data, control)
            sleep(0.3)
            end(running)
        except StartError as error:
            if not sentence_in(str(error)):
                verdict.add(Fault.STUCK, f"a start under the fault is refused without a sentence: {error}")
        control.set_rules([])


def jobs(seed: int, scale: float) -> list[CallJob]:
    """All kinds, or so many of each hundred. A job's seed says which kinds it has."""
    every = list(kinds())
    random.Random(0).shuffle(every)
    shares = [tuple(every[at : at + KINDS_OF_A_JOB]) for at in range(0, len(every), KINDS_OF_A_JOB)]
    count = max(1, round(len(shares) * scale))
    return [CallJob(number, shares[number % len(shares)]) for number in range(seed, seed + count)]
