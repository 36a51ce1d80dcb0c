"""The clocks of the machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from snapstone.core.clock_trust import ClockReading

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

READ_LIMIT_MS: Final = 100
"""Two clocks are read at one moment if no more time than this has passed around it; else they are read again."""

READ_ATTEMPTS: Final = 5


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class MachineClocks:
    """Implements service.timekeeper.Clocks."""

    def __init__(self) -> None:
        self._boot_id = _boot_id()

    def read(self) -> ClockReading:
        """Wall clock and boot clock; read again if the process was held up in between, so that they belong together."""
        for _ in range(READ_ATTEMPTS):
            before_ms = _boot_ms()
            wall_ms = now_ms()
            boot_ms = _boot_ms()
            if boot_ms - before_ms <= READ_LIMIT_MS:
                break
        return ClockReading(wall_ms, boot_ms, self._boot_id)

    def lead_ms(self) -> int:
        """The wall clock less the boot clock."""
        return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000

    def monotonic_ms(self) -> int:
        """Since the boot, less the time in suspension."""
        return time.monotonic_ns() // 1_000_000


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _boot_id() -> str:
    """Of this boot; empty if the system does not tell: the boot clock alone then shows most reboots."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
