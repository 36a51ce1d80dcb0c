"""`make slow`: writes tests/slow.txt, the tests that `make check` leaves to `make test` to stay under a minute.

A test is slow if all its cases together take `SLOW_SECONDS`. Run it on an idle machine after adding slow tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.conftest import SLOW_LIST

SLOW_SECONDS: Final = 0.25
ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = ("-q", "-n", "2", "-m", "not served or slow", "--durations=0", "--durations-min=0.001", "tests/unit")
_DURATION: Final = re.compile(r"([\d.]+)s (?:call|setup|teardown) +(tests/\S+\.py::[\w:]+)")


def slow_tests(report: Iterable[str]) -> list[str]:
    """The names in lines of pytest's durations, without parameters, of tests that take `SLOW_SECONDS` in all."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for line in report:
        found = _DURATION.match(line)
        if found:
            seconds[found[2]] += float(found[1])
    return sorted(name for name, total in seconds.items() if total >= SLOW_SECONDS)


def main() -> int:
    """Run the unit tests that need no server, and write the list."""
    done = subprocess.run([sys.executable, "-m", "pytest", *COMMAND], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    names = slow_tests(done.stdout.splitlines())
    if done.returncode == 0:
        SLOW_LIST.write_text("".join(f"{name}\n" for name in names))
    print(f"{len(names)} slow tests" if done.returncode == 0 else done.stdout[-4_000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
