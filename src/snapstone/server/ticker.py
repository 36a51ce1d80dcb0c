"""A background thread that does one thing every second, whatever became of the last time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

TICK_SECONDS: Final = 1.0
"""Pause between two ticks."""

STOP_SECONDS: Final = 10.0
"""How long a tick under way is waited for at the stop; cut off, its work is resumed at the next start."""

_log = logging.getLogger(__name__)


class Ticker:
    """Calls `tick` again and again until stopped; an error in it is logged, and the next tick still comes."""

    def __init__(self, tick: Callable[[], object], seconds: float = TICK_SECONDS, name: str = "ticker") -> None:
        self._tick = tick
        self._seconds = seconds
        self._stopped = Event()
        self._tick_count = 0
        self._is_ticking = False
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @property
    def tick_under_way(self) -> int | None:
        """The number of the tick under way, or None."""
        return self._tick_count if self._is_ticking else None

    def start(self) -> None:
        """Tick at once, then every so many seconds."""
        self._thread.start()

    def stop(self) -> bool:
        """Tick no more; False where a tick is still under way after STOP_SECONDS."""
        self._stopped.set()
        self._thread.join(STOP_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._tick_count += 1
            self._is_ticking = True
            try:
                self._tick()
            except Exception:
                _log.exception("tick failed")
            finally:
                self._is_ticking = False
            self._stopped.wait(self._seconds)
