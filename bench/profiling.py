"""`python -m bench.profiling`: where a server's processor time goes, put by put and get by get.

The server runs with a thread inside that looks at all others every few milliseconds, and adds the processor time that
each has used since to the lines of code on its stack. Unlike a profiler that counts samples, it does not take a thread
that waits for one that works; unlike cProfile, it costs next to nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import runpy
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

from bench.rivals import Kind, Rates, Rival
from bench.snapstone_server import SnapstoneServer

INTERVAL_SECONDS: Final = 0.003
REPORT_INTERVAL_SECONDS: Final = 0.25
MAX_DEPTH: Final = 60
OUTPUT_VARIABLE: Final = "BENCH_PROFILE_OUTPUT"
ROWS: Final = 25

Profile = dict[str, Counter[str]]
"""Seconds by place in the code: of `own` and of `total` time."""


class Sampler:
    """Processor time by function: as the innermost one (`own`), and anywhere on the stack (`total`)."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._own: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._used: dict[int, float] = {}

    def run_forever(self) -> None:
        """Sample all threads but this one, and write what was found four times a second."""
        me = threading.get_ident()
        report_at = 0.0
        while True:
            time.sleep(INTERVAL_SECONDS)
            for ident, frame in sys._current_frames().items():
                if ident != me:
                    self._count(frame, self._newly_used(ident))
            if time.monotonic() > report_at:
                self._write()
                report_at = time.monotonic() + REPORT_INTERVAL_SECONDS

    def _newly_used(self, ident: int) -> float:
        used = time.clock_gettime(time.pthread_getcpuclockid(ident))
        newly = used - self._used.get(ident, used)
        self._used[ident] = used
        return newly

    def _count(self, innermost: FrameType, seconds: float) -> None:
        self._own[_place(innermost, with_line=True)] += seconds  # type: ignore[assignment]
        frame: FrameType | None = innermost
        names: set[str] = set()
        while frame is not None and len(names) < MAX_DEPTH:
            names.add(_place(frame, with_line=False))
            frame = frame.f_back
        for name in names:
            self._total[name] += seconds  # type: ignore[assignment]

    def _write(self) -> None:
        unfinished = self._output.with_suffix(".new")
        unfinished.write_text(json.dumps({"own": self._own, "total": self._total}))
        unfinished.replace(self._output)


def _place(frame: FrameType, *, with_line: bool) -> str:
    code = frame.f_code
    path = "/".join(code.co_filename.rsplit("/", 2)[-2:])
    return f"{path}:{frame.f_lineno} {code.co_qualname}" if with_line else f"{path} {code.co_qualname}"


def serve_sampled(output: Path) -> None:
    """Run snapstone's command line in this process, sampled."""
    threading.Thread(target=Sampler(output).run_forever, daemon=True).start()
    runpy.run_module("snapstone", run_name="__main__", alter_sys=True)


def _read(output: Path) -> Profile:
    time.sleep(2 * REPORT_INTERVAL_SECONDS)
    with contextlib.suppress(FileNotFoundError):
        return {name: Counter(found) for name, found in json.loads(output.read_text()).items()}
    return {"own": Counter(), "total": Counter()}


def _show(title: str, begun: Profile, ended: Profile, request_count: int) -> None:
    for kind in ("own", "total"):
        spent = {name: seconds - begun[kind][name] for name, seconds in ended[kind].items()}
        print(f"\n{title}, milliseconds of processor time a request, {kind}")
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1])[:ROWS]:
            print(f"{1000 * seconds / request_count:9.3f}  {name}")


def main() -> None:
    """Profile one put load and one get load on a new server."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=main.__doc__)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=2048)
    parser.add_argument("--scratch", type=Path, default=Path(__file__).parent.parent / "build")
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.scratch) as scratch:
        output = Path(scratch) / "profile.json"
        os.environ[OUTPUT_VARIABLE] = str(output)
        with SnapstoneServer(Path(scratch) / "data", module="bench.profiling") as server:
            rival = Rival(server.endpoint, server.process, Rates(), options.blocks)
            begun = _read(output)
            job = rival.put(options.connections)
            put = _read(output)
            rival.get(job)
            got = _read(output)
        phases: tuple[tuple[Kind, Profile, Profile], ...] = (("put", begun, put), ("get", put, got))
        for kind, before, after in phases:
            subject = (kind, options.connections)
            print(f"\n{kind}: {rival.rates.per_second(subject)[0]:.0f}/s, {rival.rates.details(subject)}")
            _show(kind, before, after, options.blocks)


if __name__ == "__main__":
    if OUTPUT_VARIABLE in os.environ:
        serve_sampled(Path(os.environ[OUTPUT_VARIABLE]))
    else:
        main()
