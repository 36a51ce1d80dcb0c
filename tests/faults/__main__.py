"""`make soak`: faults by the hundred and thousand, as a table; exit code 1 if anything was lost, wrong or stuck."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from time import monotonic, time
from typing import Final

from tests.faults import calls, clocks, damage, disks, kills, power_cuts, shutdowns, starts
from tests.faults.library import die_with_parent
from tests.faults.tally import LINES, Job, Tally, gather, run_job, table

Make = Callable[[int, float], Sequence[Job]]
"""The jobs of a part, from a seed and a scale."""


def _disks(seed: int, _scale: float) -> Sequence[Job]:
    """full ext4, xfs and btrfs on loop devices: the tests of it, the long ones too"""
    return disks.jobs(seed)


def _kills(seed: int, scale: float) -> Sequence[Job]:
    """500 kill -9 of workers, supervisors and everything, under load"""
    return kills.jobs(seed, int(500 * scale))


def _damage(seed: int, scale: float) -> Sequence[Job]:
    """500 damages of each kind of file in a data folder"""
    return damage.jobs(seed, int(500 * scale))


def _calls(seed: int, scale: float) -> Sequence[Job]:
    """200 kinds of failing system calls, by call, errno and path"""
    return calls.jobs(seed, scale)


def _clocks(seed: int, scale: float) -> Sequence[Job]:
    """48 servers whose wall clock jumps by seconds to years, for 15 seconds each time, over restarts too"""
    return clocks.jobs(seed, int(48 * scale))


def _shutdown(seed: int, scale: float) -> Sequence[Job]:
    """real ext4 and xfs that are shut down under load without their log, 10 times each"""
    return shutdowns.jobs(seed, int(10 * scale))


def _starts(seed: int, scale: float) -> Sequence[Job]:
    """40 kills inside the very first start; 40 starts without the segments' folder after a power cut"""
    return starts.jobs(seed, scale)


def _power(seed: int, scale: float) -> Sequence[Job]:
    """1,000 power cuts, a third after failed syncs and a third double, and cuts at every sync of one load"""
    return power_cuts.jobs(seed, int(1000 * scale))


PARTS: Final[dict[str, Make]] = {
    "power": _power,
    "kills": _kills,
    "damage": _damage,
    "calls": _calls,
    "clocks": _clocks,
    "starts": _starts,
    "shutdown": _shutdown,
    "disks": _disks,
}


def main() -> int:
    """Run the parts that were requested."""
    options = _parse()
    if options.list:
        for name, make in PARTS.items():
            print(f"{name:8} {make.__doc__}")
        return 0
    jobs = _jobs(options)
    print(f"seed {options.seed}, {len(jobs)} jobs in {options.jobs} processes", flush=True)
    tallies = gather(_run(jobs, options.jobs, options.minutes * 60))
    failures = [failure for tally in tallies for failure in tally.failures]
    for failure in failures[:LINES]:
        print(failure)
    if len(failures) > LINES:
        print(f"and {len(failures) - LINES} more")
    print(table(tallies))
    return 1 if failures else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="say what parts there are")
    parser.add_argument("--part", action="append", choices=PARTS, help="this part; may be given again (default: all)")
    parser.add_argument("--seed", type=int, default=int(time()), help="what all follows from (default: the time)")
    parser.add_argument("--only", type=int, metavar="SEED", help="the jobs of this seed alone")
    parser.add_argument("--kind", action="append", help="of damage: this kind of file alone; may be given again")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times as much (default: 1)")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no job later than this (default: any time)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes at once (default: 2)")
    parser.add_argument("--kept", type=Path, help="a recording that was kept; needs --cut")
    parser.add_argument("--cut", help="a cut of it")
    options = parser.parse_args()
    if options.only is not None:
        options.seed = options.only
    return options


def _jobs(options: argparse.Namespace) -> list[Job]:
    if options.kept is not None:
        return [power_cuts.KeptJob(options.kept, power_cuts.parse_cut(options.cut))]
    made = [job for name in options.part or PARTS for job in PARTS[name](options.seed, options.scale)]
    if options.only is not None and options.part == ["power"]:
        return [power_cuts.job_of(options.only)]
    if options.only is not None:
        made = [job for job in made if getattr(job, "seed", None) == options.only]
    if options.kind is not None:
        made = [job for job in made if getattr(job, "kind", None) in options.kind]
    return made


def _run(jobs: Sequence[Job], processes: int, seconds: float) -> list[Tally]:
    """What all jobs came to, or those that were done when somebody pressed Ctrl-C."""
    begun, tallies, deadline = monotonic(), list[Tally](), time() + seconds
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=die_with_parent) as pool:
        running = {pool.submit(run_job, job, deadline): job for job in jobs}
        try:
            for number, done in enumerate(as_completed(running), 1):
                found = _found_by(running[done], done)
                tallies += found
                failures = [failure for tally in found for failure in tally.failures]
                print(
                    f"{number}/{len(jobs)} after {monotonic() - begun:.0f} s: {running[done]}, {len(failures)} faults"
                )
                print(*failures[:1], sep="\n", end="\n" if failures else "", flush=True)
        except KeyboardInterrupt:
            print("interrupted: what was done until now")
            pool.shutdown(wait=False, cancel_futures=True)
    return tallies


def _found_by(job: Job, done: Future[list[Tally]]) -> list[Tally]:
    """What a job came to; one that broke off is a failure too."""
    error = done.exception()
    if error is None:
        return done.result()
    return [Tally("jobs of this bench that broke off", tried=1, failures=[f"{job}: {error!r}"])]


if __name__ == "__main__":
    sys.exit(main())
