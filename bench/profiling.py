"""`python -m bench.profiling`: where a server's time goes under puts and under gets, seen from outside by py-spy.

Twice each: samples of threads that are on a processor, and of the one thread that holds the interpreter lock. The first
says what costs processor time, the second what keeps the other threads waiting.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from bench import peers
from bench.rivals import Kind, Rates, Rival
from bench.snapstone_server import SnapstoneServer

SAMPLES_PER_SECOND: Final = 250
ROWS: Final = 30
VIEWS: Final = {"on a processor": [], "holding the interpreter lock": ["--gil"]}
"""What is sampled, and the option of py-spy that asks for it."""

Result = TypeVar("Result")


class Profiler:
    """Runs py-spy on one process while something else runs, and prints where it found the threads."""

    def __init__(self, programs: Path, process_id: int, output: Path) -> None:
        self._program = str(programs / "py-spy")
        self._process_id = process_id
        self._output = output

    def show(self, title: str, view: str, work: Callable[[], Result]) -> Result:
        """Do `work` while the process is sampled, and print what was found."""
        with self._sampling(VIEWS[view]):
            result = work()
        own, total = _read(self._output)
        for kind, found in (("own", own), ("with what it calls", total)):
            print(f"\n{title}, {view}, {kind}: % of {sum(own.values())} samples")
            for place, count in found.most_common(ROWS):
                print(f"{100 * count / sum(own.values()):7.1f}  {place}")
        return result

    @contextmanager
    def _sampling(self, options: list[str]) -> Iterator[None]:
        target = ["--pid", str(self._process_id), "--output", str(self._output), "--format", "raw"]
        command = [self._program, "record", *target, "--rate", str(SAMPLES_PER_SECOND), "--duration", "3600", *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sampler:
            try:
                yield
            finally:
                sampler.send_signal(signal.SIGINT)
                sampler.wait()


def _read(output: Path) -> tuple[Counter[str], Counter[str]]:
    """Samples by the line that was being run, and by every function on the stack."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in output.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        total.update(dict.fromkeys({frame.rpartition(":")[0] for frame in frames}, int(count)))
    return own, total


def main() -> None:
    """Profile put loads and get loads on a new server."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=main.__doc__)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=2048)
    parser.add_argument("--scratch", type=Path, default=Path(__file__).parent.parent / "build")
    options = parser.parse_args()
    programs = peers.prepare()
    options.scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=options.scratch) as scratch,
        SnapstoneServer(Path(scratch) / "data", worker_count=1) as server,
    ):
        rates = Rates()
        rival = Rival(server.endpoint, server.process, rates, options.blocks)
        profiler = Profiler(programs, server.process.process_ids()[0], Path(scratch) / "samples")
        for view in VIEWS:
            job = profiler.show("put", view, lambda: rival.put(options.connections))
            profiler.show("get", view, lambda job=job: rival.get(job))  # type: ignore[misc]
        kinds: tuple[Kind, ...] = ("put", "get")
        for kind in kinds:
            print(f"\n{kind}s a second while sampled: {rates.per_second((kind, options.connections))}")


if __name__ == "__main__":
    main()
