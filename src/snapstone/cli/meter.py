"""How fast work goes and how long it will take: one look at a tally, and the same in words."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snapstone.cli.quantities import binary, elapsed

if TYPE_CHECKING:
    from snapstone.client.events import Tally

BLOCK_SIZE: Final = 524_288
WINDOW_SECONDS: Final = 10.0
"""Rates are those of the last so many seconds."""
MAX_SAMPLE_COUNT: Final = 128


_MOVED: Final = {"upload": "sent", "download": "received", "copy": "copied", "verify": "read"}


@dataclass(frozen=True)
class Look:
    """A tally at one moment."""

    what: str
    seconds: float
    visited_count: int
    expected_count: int | None
    moved_count: int
    zero_count: int
    unchanged_count: int
    resumed_count: int
    bytes_per_second: float
    """Moved; lately."""
    blocks_per_second: float
    """Dealt with in whatever way; lately."""

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that the rest takes at the present rate; None where nobody can know."""
        if self.expected_count is None or self.blocks_per_second <= 0:
            return None
        return max(self.expected_count - self.visited_count, 0) / self.blocks_per_second

    @property
    def skipped(self) -> str:
        """`1,024 zero, 300 unchanged`; empty where nothing was skipped."""
        counts = (("zero", self.zero_count), ("unchanged", self.unchanged_count), ("resumed", self.resumed_count))
        return ", ".join(f"{count:,} {name}" for name, count in counts if count)

    @property
    def blocks(self) -> str:
        """`2,512/4,096 blocks`."""
        whole = "" if self.expected_count is None else f"/{self.expected_count:,}"
        return f"{self.visited_count:,}{whole} blocks"


class Meter:
    """Looks at a tally again and again, and knows its rates. `look` is called from one thread at a time."""

    def __init__(self, tally: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = tally
        self._clock = clock
        self._began = clock()
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=MAX_SAMPLE_COUNT)
        self._samples.append((self._began, tally.visited_count, tally.moved_count))

    def look(self) -> Look:
        """The tally now, with the rates since the oldest sample of the window."""
        tally, now = self.tally, self._clock()
        visited, moved = tally.visited_count, tally.moved_count
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        since, visited_then, moved_then = self._samples[0]
        if now - self._samples[-1][0] >= WINDOW_SECONDS / MAX_SAMPLE_COUNT:
            self._samples.append((now, visited, moved))
        span = now - since
        return Look(
            what=tally.what,
            seconds=now - self._began,
            visited_count=visited,
            expected_count=tally.expected_count,
            moved_count=moved,
            zero_count=tally.zero_count,
            unchanged_count=tally.unchanged_count,
            resumed_count=tally.resumed_count,
            bytes_per_second=(moved - moved_then) * BLOCK_SIZE / span if span > 0 else 0.0,
            blocks_per_second=(visited - visited_then) / span if span > 0 else 0.0,
        )


def line_of(look: Look) -> str:
    """One line of progress: `upload 61%: 2,512/4,096 blocks, 412.3 MiB/s, 0:12 left; skipped 1,024 zero`."""
    share = ""
    if look.expected_count:
        share = f" {min(look.visited_count * 100 // look.expected_count, 100)}%"
    left = "" if look.eta_seconds is None else f", {elapsed(look.eta_seconds)} left"
    skipped = f"; skipped {look.skipped}" if look.skipped else ""
    return f"{look.what}{share}: {look.blocks}, {binary(look.bytes_per_second)}/s{left}{skipped}"


def summary_of(look: Look) -> str:
    """What work came to: `upload: 4,096 blocks in 2.1 s, 2,048 sent (1.0 GiB, 487.6 MiB/s), 2,048 zero`."""
    unfinished = look.expected_count is not None and look.visited_count < look.expected_count
    of_whole = f" of {look.expected_count:,}" if unfinished else ""
    size = look.moved_count * BLOCK_SIZE
    rate = f", {binary(size / look.seconds)}/s" if look.seconds > 0 and size else ""
    skipped = f", {look.skipped}" if look.skipped else ""
    return (
        f"{look.what}: {look.visited_count:,}{of_whole} blocks in {elapsed(look.seconds)}, "
        f"{look.moved_count:,} {_MOVED.get(look.what, 'moved')} ({binary(size)}{rate}){skipped}"
    )
