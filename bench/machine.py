"""The machine that a run was made on, as far as its numbers depend on it."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

PROBE_COUNT = 50

LISTEN_SECONDS = 0.5
QUIET_SHARE = 0.1
"""Of the processors' time: with more than this taken by other work, the numbers mean little."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor, memory, and the file system of the scratch folder."""

    core_count: int
    processor: str
    memory_gib: float
    kernel: str
    python: str
    file_system: str
    sync_ms: float
    """Median of appending 4 KiB to a file and fdatasync."""

    def __str__(self) -> str:
        return (
            f"{self.core_count} cores ({self.processor}), {self.memory_gib:.0f} GiB memory, Linux {self.kernel}, "
            f"Python {self.python}; scratch on {self.file_system}, fdatasync {self.sync_ms:.2f} ms"
        )


def describe(scratch: Path) -> Machine:
    """Look at the machine, and time a few syncs in `scratch`."""
    return Machine(
        core_count=len(os.sched_getaffinity(0)),
        processor=_first_value("/proc/cpuinfo", "model name"),
        memory_gib=int(_first_value("/proc/meminfo", "MemTotal").split()[0]) / 2**20,
        kernel=platform.release(),
        python=platform.python_version(),
        file_system=_file_system(scratch),
        sync_ms=_sync_ms(scratch),
    )


def foreign_share() -> float:
    """The share of all processors' time that is in use while the benchmark itself rests: somebody else's work."""
    begun_busy, begun_all = _processor_ticks()
    time.sleep(LISTEN_SECONDS)
    busy, all_ticks = _processor_ticks()
    return (busy - begun_busy) / max(1, all_ticks - begun_all)


def wait_until_quiet(patience_seconds: float) -> float:
    """Wait for other work to end, as long as patience lasts; returns the share that it takes still."""
    deadline = time.monotonic() + patience_seconds
    while (share := foreign_share()) > QUIET_SHARE and time.monotonic() < deadline:
        time.sleep(LISTEN_SECONDS)
    return share


def _processor_ticks() -> tuple[int, int]:
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting_for_disk = ticks[3], ticks[4]
    return sum(ticks) - idle - waiting_for_disk, sum(ticks)


def _first_value(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _file_system(folder: Path) -> str:
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return "unknown"


def _sync_ms(folder: Path) -> float:
    path = folder / "sync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(PROBE_COUNT):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - begun))
    path.unlink()
    return statistics.median(times)
