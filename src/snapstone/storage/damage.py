"""The damage log: a JSON line for each stored object found damaged, next to the objects and in the server's log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError

log = logging.getLogger(__name__)


NO_OBJECT: Final = Address(bytes(32))
"""Stands for the address if a whole segment is meant."""

REMEMBERED: Final = 10_000
"""Entries that one process remembers having written."""


class DamageLog:
    """Appends to a file; safe from many threads and processes (each line is one write).

    What is found again is not written again, so a client that keeps asking for a damaged block does not fill the disk.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._lock = Lock()
        self._written: set[tuple[Address, str, str]] = set()

    def report(self, address: Address, place: str, what: str) -> DamageError:
        """Write the entry; returns the error for the caller to raise."""
        with self._lock:
            known = (address, place, what) in self._written
            if len(self._written) < REMEMBERED:
                self._written.add((address, place, what))
        if not known:
            self._write(address, place, what)
        return DamageError(address.hex(), f"{place}: {what}")

    def report_segment(self, path: Path, what: str) -> DamageError:
        """As `report`, for a whole segment's file."""
        return self.report(NO_OBJECT, str(path), what)

    def _write(self, address: Address, place: str, what: str) -> None:
        entry = {"time_ms": self._now_ms(), "address": address.hex(), "place": place, "what": what}
        log.error("stored object damaged", extra={"fields": entry})
        try:
            with self._lock, self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError:
            # A full or read-only disk must not turn damage that is known into an answer of another kind.
            log.exception("damage log not written", extra={"fields": {"path": str(self._path)}})
