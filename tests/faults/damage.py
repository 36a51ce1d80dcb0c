"""Damage to each kind of file of a data folder: what a server says of it, and what it must never do without a word."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from tests.faults.client import GoneError
from tests.faults.history import History
from tests.faults.library import Control, Flag
from tests.faults.load import Load
from tests.faults.servers import Running, Starter, StartError, end, log_of, sentence_in
from tests.faults.tally import Tally, command, scratch
from tests.faults.verdict import PENDING, Fault, Verdict, judge

QUOTAS: Final = json.dumps(
    {
        "account": {f"ebs:{name}": {"rate": 100_000} for name in ("GetSnapshotBlock", "PutSnapshotBlock")}
        | {
            f"ebs:{name}": None
            for name in ("ListSnapshotBlocks", "ListChangedBlocks", "StartSnapshot", "CompleteSnapshot")
        },
        "snapshot": {},
        "pending_snapshots": None,
    }
)
"""Quotas that nobody reaches, so that there are buckets to damage."""

PUTS: Final = 45
BLOCK: Final = 4096
WAIT_SECONDS: Final = 6.0
"""How long a seal or copy in a damaged folder may take that goes well."""

KINDS: Final = (
    "segment", "catalog.db", "catalog.db-wal", "catalog.db-changes", "catalog.db-shm", "catalog.db, other files",
    "index.db", "index.db-wal", "index.db-shm", "root.key", "FORMAT", "credentials", "server.json", "quota-buckets",
    "damage.jsonl", "audit.jsonl", "reserve", "locks", "others",
)  # fmt: skip
"""Kinds of files, each a row; those that a folder does not have are left out."""

ANSWERS: Final = re.compile(r"\b50[03] ")
"""An error of the server, in what a judge says."""


def kind_of(path: Path) -> str:
    """To which of KINDS a file belongs."""
    if path.suffix == ".segment":
        return "segment"
    if path.name in KINDS:
        return path.name
    if path.name.endswith("lock"):
        return "locks"
    if path.name.startswith("catalog.db"):
        return "catalog.db, other files"
    return "reserve" if "reserve" in path.name else "others"


def _position(file: int, size: int, chance: random.Random) -> int:
    """Somewhere in what is written: a sparse file has its data in stretches."""
    at = chance.randrange(size)
    for whence_from in (at, 0):
        try:
            begin = os.lseek(file, whence_from, os.SEEK_DATA)
        except OSError:
            continue
        stretch = os.lseek(file, begin, os.SEEK_HOLE) - begin
        return max(at, begin) if begin <= at else begin + chance.randrange(stretch)
    return at


def _flip_bit(file: int, at: int, chance: random.Random) -> None:
    os.pwrite(file, bytes([os.pread(file, 1, at)[0] ^ 1 << chance.randrange(8)]), at)


def _change_bytes(file: int, at: int, chance: random.Random) -> None:
    old = os.pread(file, chance.choice((1, 4, 32, 512)), at)
    os.pwrite(file, bytes(chance.randrange(256) for _ in old), at)


def _write_zeros(file: int, at: int, chance: random.Random) -> None:
    size = len(os.pread(file, chance.choice((16, 512, BLOCK, 16 * BLOCK)), at))
    os.pwrite(file, bytes(size), at)


def _truncate(file: int, at: int, chance: random.Random) -> None:
    os.ftruncate(file, at if chance.random() < 0.7 else at // BLOCK * BLOCK)


def _swap_blocks(file: int, at: int, chance: random.Random) -> None:
    size = os.fstat(file).st_size
    first, second = at // BLOCK * BLOCK, _position(file, size, chance) // BLOCK * BLOCK
    one, other = os.pread(file, BLOCK, first), os.pread(file, BLOCK, second)
    if len(one) == len(other):
        os.pwrite(file, other, first)
        os.pwrite(file, one, second)


def _empty(file: int, _at: int, _chance: random.Random) -> None:
    os.ftruncate(file, 0)


INSIDE: Final[dict[str, Callable[[int, int, random.Random], None]]] = {
    "a bit": _flip_bit,
    "bytes": _change_bytes,
    "zeros": _write_zeros,
    "truncated": _truncate,
    "two blocks swapped": _swap_blocks,
    "emptied": _empty,
}
WEIGHTS: Final = dict(zip((*INSIDE, "deleted"), (8, 6, 4, 4, 3, 1, 1), strict=True))
"""How often each."""


def damage(path: Path, chance: random.Random) -> str:
    """Damage one file; returns how."""
    how = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    size = path.stat().st_size
    if how == "deleted" or size == 0:
        path.unlink()
        return "deleted"
    file = os.open(path, os.O_RDWR)
    try:
        at = _position(file, size, chance)
        INSIDE[how](file, at, chance)
    finally:
        os.close(file)
    return f"{how} at {at} of {size}"


@dataclass(frozen=True)
class Template:
    """A data folder, whole, and what its clients were told."""

    root: Path
    history: History

    def files(self) -> dict[str, list[Path]]:
        """Its files by kind, as paths below the root."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                found[kind_of(path)].append(path.relative_to(self.root))
        return found

    def copy(self, root: Path) -> None:
        """Another one like it; holes stay holes."""
        subprocess.run(["cp", "-a", "--sparse=auto", str(self.root), str(root)], check=True)


@dataclass(frozen=True)
class DamageJob:
    """So many damages of one kind of file."""

    kind: str
    seed: int
    count: int

    def run(self) -> list[Tally]:
        """Make two folders, one of a killed and one of a stopped server; damage copies of them."""
        tally = Tally(f"damage: {self.kind}")
        with scratch("damage") as workspace, Starter() as starter:
            quotas = workspace / "quotas.json"
            quotas.write_text(QUOTAS)
            trial = _Trial(workspace, starter, ("--quotas", str(quotas)))
            templates = [trial.template(f"template-{number}", self.seed, stopped=bool(number)) for number in range(2)]
            choices = [(template, path) for template in templates for path in template.files().get(self.kind, ())]
            if not choices:
                return []
            for number in range(self.count):
                chance = random.Random(f"{self.seed}/{number}")
                template, path = chance.choice(choices)
                outcome, verdict, how = trial.one(template, path, chance)
                tally.tried += 1
                tally.outcomes[outcome] += 1
                verdict.faults = [(fault, f"{path}, {how} (number {number}): {what}") for fault, what in verdict.faults]
                tally.note(verdict, command("damage", self.seed, f" --kind {self.kind!r}"))
        return [tally]


@dataclass
class _Trial:
    workspace: Path
    starter: Starter
    options: tuple[str, ...]
    _number: int = 0

    def template(self, name: str, seed: int, *, stopped: bool) -> Template:
        """A folder with everything in it: blocks, pages, keys, copies, pending snapshots, a damage log."""
        root, history = self.workspace / name, History()
        root.mkdir()
        running = self.starter.start(root / "data", self._control(), options=self.options)
        moment = partial(next, iter(range(1, 1 << 40)))
        Load(history, moment, seed, PUTS).run(running)
        self._await_copies(running, history)
        (root / "data" / "objects" / "damage.jsonl").touch()
        if stopped:
            os.kill(running.process_id, 15)
            self._await_end(running)
        end(running)
        log_of(running.data).unlink()
        return Template(root, history)

    def one(self, template: Template, path: Path, chance: random.Random) -> tuple[str, Verdict, str]:
        """Damage a copy and start a server on it; returns what became of it, what was wrong, and the damage."""
        self._number += 1
        root = self.workspace / f"copy-{self._number}"
        template.copy(root)
        try:
            how = damage(root / path, chance)
            try:
                running = self.starter.start(root / "data", self._control(), options=self.options)
            except StartError as error:
                return (*_refused(str(error), path), how)
            verdict = judge(running, template.history, 1 << 50, WAIT_SECONDS)
            is_reported = _is_reported(running)
            end(running)
            return (*_sorted_out(verdict, is_reported), how)
        finally:
            shutil.rmtree(root)
            log_of(root / "data").unlink(missing_ok=True)

    def _control(self) -> Control:
        return Control(self.workspace / "control", Flag.SPARSE | Flag.NO_SYNC)

    def _await_copies(self, running: Running, history: History) -> None:
        client, deadline = running.client(), monotonic() + WAIT_SECONDS * 4
        copies = [story.snapshot_id for story in history.stories if story.is_copy]
        while any(client.describe()[each].state == "pending" for each in copies):
            assert monotonic() < deadline, "copies do not end"
            sleep(0.05)
        client.close()

    def _await_end(self, running: Running) -> None:
        deadline = monotonic() + WAIT_SECONDS * 2
        while Path(f"/proc/{running.process_id}").exists():
            assert monotonic() < deadline, "the server does not stop"
            sleep(0.02)


def _refused(said: str, path: Path) -> tuple[str, Verdict]:
    """A start that is refused must be so in a sentence that names the file."""
    verdict = Verdict()
    sentence = sentence_in(said)
    if not sentence:
        verdict.add(Fault.STUCK, f"a start is refused without a sentence: {said[-1500:]}")
        return "start refused without a sentence", verdict
    if not any(name in sentence for name in (path.name, path.name.removesuffix("-wal"), path.parent.name)):
        verdict.add(Fault.STUCK, f"a start is refused by a sentence that does not name the file: {sentence}")
        return "start refused, the file not named", verdict
    return "start refused, the file named", verdict


def _is_reported(running: Running) -> bool:
    """Whether the server says somewhere that something is wrong: /ready, the damage log, or its own."""
    client = running.client()
    try:
        problems = client.ready().get("problems", [])
    except GoneError:
        problems = []
    finally:
        client.close()
    log = running.data / "objects" / "damage.jsonl"
    is_logged = log.exists() and log.stat().st_size > 0
    errors = [line for line in running.said().splitlines() if '"level": "error"' in line and '"request"' not in line]
    return bool(problems) or is_logged or bool(errors)


def _sorted_out(verdict: Verdict, is_reported: bool) -> tuple[str, Verdict]:
    """Keep what must not be: other bytes, and what is missing without a word. The rest is damage, and reported."""
    kept: list[tuple[Fault, str]] = []
    for fault, what in verdict.faults:
        if fault is Fault.WRONG:
            kept.append((fault, what))
        elif fault is Fault.LOST and not ANSWERS.search(what) and not is_reported:
            kept.append((Fault.SILENT, what))
        elif fault is Fault.STUCK and not ANSWERS.search(what) and not (PENDING in what and is_reported):
            kept.append((fault, what))  # a seal over damage is tried for half an hour, and says so meanwhile
    outcome = "with faults" if kept else "damage reported" if verdict.faults else "harmless"
    verdict.faults = kept
    return outcome, verdict


def jobs(seed: int, count: int, damages_of_a_job: int = 100) -> list[DamageJob]:
    """So many of each kind of file."""
    share, jobs_of_a_kind = min(count, damages_of_a_job), max(1, -(-count // damages_of_a_job))
    return [DamageJob(kind, seed + number, share) for number in range(jobs_of_a_kind) for kind in KINDS]
