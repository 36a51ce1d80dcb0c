"""`make mutate FLOOR=core`: changes places of a floor, picked by lot, one at a time, and says which nobody noticed.

For each, the tests that are likeliest to notice run first: the module's own, those of its floor, those that import it,
then everything that `make test` runs. The lot is drawn by a seed, which is printed.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.scratch import SOURCE, TREE, Outcome, Scratch

EQUIVALENT: Final = Path(__file__).with_name("equivalent.txt")
"""Changes that change nothing which anybody could notice: module | function | change | why."""

LEAST_LIMIT_SECONDS: Final = 60.0
LIMIT_FACTOR: Final = 5.0
"""A run of unit tests may take so many times what it takes without a change; the module waits for itself for ever."""

WHOLE_LIMIT_SECONDS: Final = 3_600.0
"""Of each part of what `make test` runs."""

QUICK: Final = "(not served or slow) and not soak"


@dataclass(frozen=True)
class Candidate:
    """One change of one module."""

    module: Path
    """Below `src/snapstone`."""
    mutant: Mutant

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is called in the list of equivalent ones."""
        return str(self.module), self.mutant.function, self.mutant.change

    def __str__(self) -> str:
        return f"{self.module}:{self.mutant.line} {self.mutant.function}: {self.mutant.change}"


@dataclass(frozen=True)
class Stage:
    """Tests that run together."""

    arguments: tuple[str, ...]
    is_whole: bool = False
    """Of what `make test` runs, not of the unit tests that are near."""


@dataclass(frozen=True)
class Verdict:
    """What became of a change."""

    candidate: Candidate
    fate: str
    by: str
    seconds: float


def equivalents() -> dict[tuple[str, str, str], str]:
    """Changes that are left out, and why."""
    rows = [line.split(" | ") for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith("#")]
    return {(module, function, change): why for module, function, change, why in rows}


def candidates_in(floor: str) -> list[Candidate]:
    """All changes of a floor, a package or a module; those that are equivalent left out."""
    root = TREE / SOURCE / floor
    paths = [root] if root.is_file() else sorted(root.rglob("*.py"))
    known = equivalents()
    every = [
        Candidate(path.relative_to(TREE / SOURCE), mutant) for path in paths for mutant in mutants_of(path.read_bytes())
    ]
    return [candidate for candidate in every if candidate.key not in known]


def stages_of(module: Path, *, unit_only: bool) -> Iterator[Stage]:
    """The tests for a module, the likeliest to notice first."""
    units, floor = Path("tests/unit"), module.parts[0]
    mirror = units / module.with_name(f"test_{module.name}")
    if (TREE / mirror).exists():
        yield Stage((str(mirror), "-m", QUICK))
    yield Stage((str(units / floor), "-m", QUICK))
    imported = ".".join(("snapstone", *module.with_suffix("").parts))
    users = [path.relative_to(TREE) for path in sorted((TREE / "tests").rglob("test_*.py")) if _imports(path, imported)]
    if unit_only:
        users = [path for path in users if path.is_relative_to(units)]
    if users:
        yield Stage((*map(str, users), "-m", "not soak" if not unit_only else QUICK))
    yield Stage(("tests/unit", "-m", QUICK), is_whole=True)
    if not unit_only:
        yield Stage(("tests/unit", "-m", "served"), is_whole=True)
        yield Stage(("tests", "--ignore=tests/unit", "--ignore=tests/crash", "-m", "not soak"), is_whole=True)
        yield Stage(("tests/crash", "-m", "not soak"), is_whole=True)


def _imports(path: Path, module: str) -> bool:
    package, _, name = module.rpartition(".")
    text = path.read_text()
    return bool(re.search(rf"from {re.escape(module)} import|from {re.escape(package)} import .*\\b{name}\\b", text))


class Mutation:
    """Runs changes in copies of the tree, several at a time."""

    def __init__(self, *, unit_only: bool, jobs: int) -> None:
        self._unit_only = unit_only
        self._jobs = jobs
        self._limit_seconds = LEAST_LIMIT_SECONDS

    def run(self, candidates: Sequence[Candidate]) -> Iterator[Verdict]:
        """The verdicts, as they come. Raises SystemExit if the tests fail without any change."""
        scratches = [Scratch() for _ in range(min(self._jobs, len(candidates)))]
        try:
            self._look_at_unchanged(scratches[0], {candidate.module.parts[0] for candidate in candidates})
            waiting: queue.SimpleQueue[Candidate] = queue.SimpleQueue()
            verdicts: queue.SimpleQueue[Verdict | BaseException] = queue.SimpleQueue()
            for candidate in candidates:
                waiting.put(candidate)

            def work(scratch: Scratch) -> None:
                try:
                    while not waiting.empty():
                        verdicts.put(self._judge(scratch, waiting.get_nowait()))
                except queue.Empty:
                    return
                except BaseException as error:
                    verdicts.put(error)

            for scratch in scratches:
                threading.Thread(target=work, args=(scratch,), daemon=True).start()
            for _ in candidates:
                verdict = verdicts.get()
                if isinstance(verdict, BaseException):
                    raise verdict
                yield verdict
        finally:
            for scratch in scratches:
                scratch.close()

    def _look_at_unchanged(self, scratch: Scratch, floors: set[str]) -> None:
        for floor in sorted(floors):
            begun = time.monotonic()
            arguments = (f"tests/unit/{floor}", "-m", QUICK)
            if scratch.run(arguments, WHOLE_LIMIT_SECONDS) is not Outcome.PASSED:
                raise SystemExit(f"the tests of {floor} fail without any change: {scratch.failed_test}")
            self._limit_seconds = max(self._limit_seconds, LIMIT_FACTOR * self._jobs * (time.monotonic() - begun))

    def _judge(self, scratch: Scratch, candidate: Candidate) -> Verdict:
        begun, original = time.monotonic(), scratch.read(candidate.module)
        scratch.write(candidate.module, candidate.mutant.apply(original))
        try:
            fate, by = self._fate(scratch, candidate.module)
        finally:
            scratch.write(candidate.module, original)
        return Verdict(candidate, fate, by, time.monotonic() - begun)

    def _fate(self, scratch: Scratch, module: Path) -> tuple[str, str]:
        for stage in stages_of(module, unit_only=self._unit_only):
            limit_seconds = WHOLE_LIMIT_SECONDS if stage.is_whole else self._limit_seconds
            match scratch.run(stage.arguments, limit_seconds):
                case Outcome.FAILED:
                    return "killed", scratch.failed_test
                case Outcome.TIMED_OUT:
                    return "killed", f"no end after {limit_seconds:.0f} s: {' '.join(stage.arguments)}"
        return "ALIVE", ""


def main() -> int:
    """Returns 1 where a change was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("floor", help="a floor, package or module below src/snapstone: core, storage/index.py")
    parser.add_argument("--count", type=int, default=50, help="how many changes (default: 50); 0: all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the lot (default: the time)")
    parser.add_argument("--only", default="", help="pattern: only changes whose line in the table fits")
    parser.add_argument("--stop-at", choices=("unit", "all"), default="all", help="run no more than unit tests")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="copies at work at a time")
    parser.add_argument("--list", action="store_true", help="list the changes, and run nothing")
    options = parser.parse_args()
    every = [candidate for candidate in candidates_in(options.floor) if re.search(options.only, str(candidate))]
    chosen = random.Random(options.seed).sample(every, min(options.count or len(every), len(every)))
    print(f"{len(chosen)} of {len(every)} changes of {options.floor}, seed {options.seed}", flush=True)
    if options.list:
        print("\n".join(map(str, chosen)))
        return 0
    alive = 0
    for verdict in Mutation(unit_only=options.stop_at == "unit", jobs=options.jobs).run(chosen):
        alive += verdict.fate == "ALIVE"
        print(f"{verdict.fate:6} {verdict.seconds:5.0f} s  {verdict.candidate}  {verdict.by}", flush=True)
    print(f"{len(chosen) - alive} killed, {alive} alive")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
