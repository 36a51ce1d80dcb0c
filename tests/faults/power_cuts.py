"""Power cuts: a load is recorded, cut at its syncs and between them, and a server started on what is left each time."""

from __future__ import annotations

import errno
import pickle
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from time import sleep
from typing import Final

from tests.faults.history import History
from tests.faults.library import Control, Flag, Rule
from tests.faults.load import Load
from tests.faults.power import Content, Cut, Disk, Image, Names
from tests.faults.recording import read_recording
from tests.faults.servers import TREE, Server, Starter, StartError, end
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import Fault, Verdict, judge

KEPT: Final = TREE / ".tools" / "faults" / "kept"
"""Where the recording of a cut is kept that was survived badly."""

KEPT_LIMIT: Final = 4
"""Recordings there, of some 100 MiB each."""

SEGMENT_FAILURES: Final = 0.08
LOG_FAILURES: Final = 0.03
RECOVERY_FAILURES: Final = 0.2
"""How many of the syncs fail, where some do."""

FAILURE_MS: Final = 60.0
"""How long a sync takes that fails: what others write meanwhile is gone too."""

CUTS_OF_A_RECORDING: Final = 40
CUTS_OF_A_RECOVERY: Final = 4

AS_RECORDED: Final = Flag.NO_SYNC | Flag.SPARSE
"""No power is really cut, and what is left is a model's affair: syncs need no disk, and reservations no space."""


class Kind(Enum):
    """What a recording is cut for; the value is the table's row."""

    PLAIN = "power cut"
    FAILED_SYNCS = "power cut after failed syncs"
    DOUBLE = "second power cut during the recovery from the first"
    EVERY_SYNC = "power cut just before and just after every sync of one load"


@dataclass(frozen=True)
class Recording:
    """A load and what it wrote."""

    folder: Path
    disk: Disk
    history: History


def failing_syncs(seed: int, segments: float, logs: float) -> list[Rule]:
    """Rules by which syncs of segments and of SQLite's files fail now and then."""
    return [
        Rule(call, path, errno.EIO, probability=share, seed=seed, delay_ms=FAILURE_MS)
        for call in ("fdatasync", "fsync")
        for path, share in (("*.segment*", segments), ("*-wal", logs), ("*.db", logs))
    ]


def record(folder: Path, seed: int, *, put_count: int, workers: int, failing: bool) -> Recording:
    """Run a load on a new server in `folder`, which is made, and kill the server; some syncs fail if `failing`."""
    (folder / "disk").mkdir(parents=True)
    control = Control(folder / "control", AS_RECORDED)
    history = History()
    with Server(folder / "disk" / "data", workers=workers, control=control, recordings=folder / "log") as server:
        if failing:
            control.set_rules(failing_syncs(seed, SEGMENT_FAILURES, LOG_FAILURES))
        Load(history, lambda: control.moment, seed, put_count).run(server.running)
    (folder / "history").write_bytes(pickle.dumps(history))
    return read_kept(folder)


def read_kept(folder: Path) -> Recording:
    """A recording in its folder."""
    history: History = pickle.loads((folder / "history").read_bytes())
    return Recording(folder, Disk(folder / "disk", read_recording(folder / "log")), history)


def cuts_of(disk: Disk, seed: int, count: int) -> Iterator[Cut]:
    """Cuts at syncs, before and after, and at any moment between; every way in which a disk may take it."""
    chance = random.Random(seed)
    at_syncs = disk.moments_at_syncs() or [0]
    for number in range(count):
        moment = chance.randrange(disk.last_moment + 1) if number % 4 == 3 else chance.choice(at_syncs)
        yield _any_way(moment, chance)


def cuts_at_every_sync(disk: Disk, seed: int) -> Iterator[Cut]:
    """One cut just before and one just after each sync."""
    chance = random.Random(seed)
    return (_any_way(moment, chance) for moment in disk.moments_at_syncs())


def _any_way(moment: int, chance: random.Random) -> Cut:
    contents = (Content.MIXED, *Content)
    return Cut(moment, chance.choice(contents), chance.choice(list(Names)), chance.randrange(1 << 32))


@dataclass
class Cutter:
    """Makes cuts, and has servers judged on what is left."""

    workspace: Path
    starter: Starter
    _number: int = 0

    def single(self, recording: Recording, cut: Cut) -> Verdict:
        """A server on what one cut leaves."""
        with self._root() as root:
            recording.disk.image(cut).write(root)
            return self._judge(root, recording.history, cut.moment)

    def double(self, recording: Recording, cut: Cut, count: int) -> Iterator[tuple[Cut, Verdict]]:
        """Let a server recover from one cut for a while, and cut that recovery so many times."""
        chance = random.Random(cut.seed)
        with self._root() as root:
            image = recording.disk.image(cut)
            inodes = image.write(root)
            verdict, disk = self._record_recovery(root, image, inodes, chance)
            if verdict.faults:
                yield cut, verdict
            for second in cuts_of(disk, cut.seed, count):
                with self._root() as again:
                    disk.image(second).write(again)
                    yield second, self._judge(again, recording.history, cut.moment)

    def _record_recovery(
        self, root: Path, image: Image, inodes: dict[str, int], chance: random.Random
    ) -> tuple[Verdict, Disk]:
        verdict, logs = Verdict(), root / ".." / f"{root.name}.recovery"
        is_failing = chance.random() < 1 / 3
        rules = failing_syncs(chance.randrange(1 << 30), RECOVERY_FAILURES, RECOVERY_FAILURES) if is_failing else []
        control = self._control(rules)
        try:
            running = self.starter.start(root / "data", control, logs)
            sleep(chance.choice((0.0, 0.05, 0.3, 1.2)))
            end(running)
        except StartError as error:
            if not is_failing:
                verdict.add(Fault.STUCK, f"it does not start: {error}")
        disk = Disk(root, read_recording(logs), image, inodes)
        shutil.rmtree(logs)
        return verdict, disk

    def _judge(self, root: Path, history: History, moment: int) -> Verdict:
        verdict = Verdict()
        try:
            running = self.starter.start(root / "data", self._control([]))
        except StartError as error:
            verdict.add(Fault.STUCK, f"it does not start: {error}")
            return verdict
        verdict.merge(judge(running, history, moment))
        if verdict.faults:
            verdict.faults[0] = (verdict.faults[0][0], f"{verdict.faults[0][1]}\n    it said: {running.said()[-2000:]}")
        end(running)
        return verdict

    def _control(self, rules: list[Rule]) -> Control:
        control = Control(self.workspace / "control", AS_RECORDED)
        control.set_rules(rules)
        return control

    def _root(self) -> _Root:
        self._number += 1
        return _Root(self.workspace / f"cut-{self._number}")


@dataclass(frozen=True)
class _Root:
    """A folder for one image, gone afterwards with the log of its server."""

    path: Path

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.with_name(f"{self.path.name}.log").unlink(missing_ok=True)


@dataclass(frozen=True)
class PowerJob:
    """One recording and its cuts."""

    kind: Kind
    seed: int
    count: int
    """Cuts; as many as there are syncs, twice, for EVERY_SYNC."""
    put_count: int = 150

    def run(self) -> list[Tally]:
        """Record, cut, judge."""
        tally = Tally(self.kind.value)
        with scratch("power") as workspace, Starter() as starter:
            recording = record(
                workspace / "load",
                self.seed,
                put_count=self.put_count,
                workers=1 + self.seed // len(Kind) % 2,
                failing=self.kind is Kind.FAILED_SYNCS
                or (self.kind is Kind.DOUBLE and self.seed // len(Kind) % 3 == 0),
            )
            complaints = Verdict([(Fault.WRONG, each) for each in recording.history.complaints])
            tally.note(complaints, command("power", self.seed))
            tally.outcomes["failed syncs in its loads"] += sum(sync.error != 0 for sync in recording.disk.syncs)
            for cut, found in self._cuts(Cutter(workspace, starter), recording):
                tally.tried += 1
                tally.note(found, self._repeat(recording, cut) if found.faults else "")
        return [tally]

    def _cuts(self, cutter: Cutter, recording: Recording) -> Iterable[tuple[Cut, Verdict]]:
        if self.kind is Kind.DOUBLE:
            firsts = cuts_of(recording.disk, self.seed, -(-self.count // CUTS_OF_A_RECOVERY))
            return (each for cut in firsts for each in cutter.double(recording, cut, CUTS_OF_A_RECOVERY))
        if self.kind is Kind.EVERY_SYNC:
            cuts = cuts_at_every_sync(recording.disk, self.seed)
        else:
            cuts = cuts_of(recording.disk, self.seed, self.count)
        return ((cut, cutter.single(recording, cut)) for cut in cuts)

    def _repeat(self, recording: Recording, cut: Cut) -> str:
        if self.kind is Kind.DOUBLE:
            return command("power", self.seed) + f"  ({cut})"
        kept = keep(recording, f"{self.kind.name.lower()}-{self.seed}")
        if kept is None:
            return command("power", self.seed) + f"  ({cut})"
        words = f"{cut.moment}/{cut.content.name}/{cut.names.name}/{cut.seed}"
        return f'make soak ARGS="--part power --kept {kept.relative_to(TREE)} --cut {words}"'


def keep(recording: Recording, name: str) -> Path | None:
    """Keep a recording, so that the very same cut can be tried again; None if enough are kept."""
    kept = KEPT / name
    if not kept.exists():
        if KEPT.exists() and len(list(KEPT.iterdir())) >= KEPT_LIMIT:
            return None
        kept.mkdir(parents=True)
        shutil.copytree(recording.folder / "log", kept / "log")
        shutil.copyfile(recording.folder / "history", kept / "history")
        (kept / "disk").mkdir()
    return kept


def parse_cut(words: str) -> Cut:
    """A cut as a repeating command has it."""
    moment, content, names, seed = words.split("/")
    return Cut(int(moment), Content[content], Names[names], int(seed))


@dataclass(frozen=True)
class KeptJob:
    """One cut of a recording that was kept."""

    folder: Path
    cut: Cut
    tally: Tally = field(default_factory=lambda: Tally("power cut of a kept recording"))

    def run(self) -> list[Tally]:
        """Cut and judge."""
        with scratch("power") as workspace, Starter() as starter:
            self.tally.tried += 1
            found = Cutter(workspace, starter).single(read_kept(self.folder), self.cut)
            self.tally.note(found, "the same")
        return [self.tally]


def jobs(seed: int, count: int) -> list[PowerJob]:
    """A third of the cuts of loads with failed syncs, a third double, and every sync of one load."""
    first, share = seed * len(Kind), -(-count // 3)
    recordings = range(max(1, -(-share // CUTS_OF_A_RECORDING)))
    cuts_each = min(CUTS_OF_A_RECORDING, share)
    seeds = [first, *(first + len(Kind) * number + kind for number in recordings for kind in range(1, len(Kind)))]
    return [job_of(each, cuts_each) for each in seeds]


def job_of(seed: int, count: int = CUTS_OF_A_RECORDING) -> PowerJob:
    """The job of a seed, which says of which kind it is."""
    kind = (Kind.EVERY_SYNC, Kind.PLAIN, Kind.FAILED_SYNCS, Kind.DOUBLE)[seed % len(Kind)]
    return PowerJob(kind, seed, count, put_count=40 if kind is Kind.EVERY_SYNC else 150)
