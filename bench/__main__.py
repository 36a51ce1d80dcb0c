"""`python -m bench`: run the measures, print the table, keep the raw values."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import copying, listing, machine, sealing, sparse, starting, throttled, throughput, transfer
from bench.connection import WrongAnswerError
from bench.load import LoadFailedError
from bench.processes import ServerFailedError
from bench.report import Line, table, write_json
from bench.run import FULL, QUICK, Run
from bench.snapstone_client import ClientFailedError

MEASURES: Final[dict[str, Callable[[Run], list[Line]]]] = {
    "put-get": throughput.measure,
    "workers": throughput.measure_workers,
    "before": throughput.measure_before,
    "encrypted": throughput.measure_encrypted,
    "listing": listing.measure,
    "sealing": sealing.measure,
    "start": starting.measure,
    "copy": copying.measure,
    "transfer": transfer.measure,
    "sparse": sparse.measure,
    "throttled": throttled.measure,
}
SCRATCH: Final = Path(__file__).parent.parent / "build"
FAILURES: Final = (
    ClientFailedError,
    LoadFailedError,
    OSError,
    ServerFailedError,
    WrongAnswerError,
    subprocess.SubprocessError,
)
"""What ends one measure but lets the others run."""


def main() -> int:
    """Exit status: 0 all ran; 1 a measure failed or got a wrong answer, or with --strict a bound was missed."""
    options = _parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _scratch_folder(options.scratch) as scratch:
        described = machine.describe(scratch)
        print(f"{described}\n", flush=True)
        run = Run(QUICK if options.quick else FULL, scratch, with_peer=not options.no_peer, before=options.before)
        session = Session(run, options.patience)
        try:
            for name in options.only or MEASURES:
                session.measure(name)
        finally:
            run.stop_moto()
    session.show(quick=options.quick)
    if options.json:
        write_json(options.json, described, session.lines, session.foreign_shares)
    return 1 if session.failed or (session.missed() and options.strict) else 0


class Session:
    """The measures of one run, one after the other, and what came of them."""

    def __init__(self, run: Run, patience_seconds: float) -> None:
        self._run = run
        self._patience_seconds = patience_seconds
        self.lines: list[Line] = []
        self.foreign_shares: dict[str, float] = {}
        """How much of the processors other work took before or after each measure, whichever was more."""
        self.failed = False

    def measure(self, name: str) -> None:
        """Do one measure; a failure is said and noted, and the others still run."""
        share = machine.wait_until_quiet(self._patience_seconds)
        begun = time.monotonic()
        try:
            self.lines += MEASURES[name](self._run)
        except FAILURES as failure:
            self.failed = True
            print(f"FAILED: {name}: {type(failure).__name__}: {failure}", file=sys.stderr)
        share = self.foreign_shares[name] = max(share, machine.foreign_share())
        busy = f"; NOT QUIET: other work took {share:.0%} of the processors" if share > machine.QUIET_SHARE else ""
        print(f"{name}: {time.monotonic() - begun:.0f} s{busy}", flush=True)

    def missed(self) -> list[str]:
        """The lines that do not keep to a bound."""
        return [line.name for line in self.lines if line.met is False]

    def show(self, *, quick: bool) -> None:
        """Print the table and what to think of it."""
        print(f"\n{table(self.lines)}\n\nReached and peer: the median of alternating repeats (least to most).")
        if quick:
            print("Quick: sizes too small to judge by; it shows that everything runs.")
        if any(share > machine.QUIET_SHARE for share in self.foreign_shares.values()):
            print("The machine was not quiet: measure again before believing anything.")
        for name in self.missed():
            print(f"MISSED: {name}")


@contextlib.contextmanager
def _scratch_folder(chosen: Path) -> Iterator[Path]:
    chosen.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=chosen))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Snapstone and its peers side by side."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: shows in a minute that everything runs")
    parser.add_argument("--only", action="append", choices=MEASURES, help="one measure; may be repeated")
    parser.add_argument("--no-peer", action="store_true", help="without moto, restic and borg: nothing is installed")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="another checkout to hold this one against (measure `before`)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a bound is missed")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait up to this long for a quiet machine before each measurement",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every repeat's values")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=SCRATCH,
        metavar="DIR",
        help="where data folders are made (20 GB); default: build/",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
