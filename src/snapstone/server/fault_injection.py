"""Faults on demand, for tests of clients: errors, delays and cut connections, by rules in a file.

The file is read anew when it changes. Rules count and draw in each server process by themselves.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.server.fault_rules import ERRORS, Rule, parse_rules
from snapstone.wire.http import Call, Request, Response

FAULT_HEADER: Final = "x-snapstone-fault"

_CUT: Final = "fault_cut_after"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Counted:
    """A rule with its own count and its own dice."""

    rule: Rule
    draws: random.Random
    count: int = 0
    lock: Lock = field(default_factory=Lock)

    def hit(self, operation: str) -> float | None:
        """The delay in seconds where this call is hit, else None."""
        rule = self.rule
        if not fnmatchcase(operation, rule.operation):
            return None
        with self.lock:
            self.count += 1
            drawn, jitter = self.draws.random(), self.draws.random()
            if self.count > rule.first or self.count % rule.every or drawn >= rule.rate:
                return None
        return (rule.latency_ms + jitter * rule.jitter_ms) / 1000


class FaultInjection:
    """A guard that injects the first rule that hits, and the hook that marks its answer."""

    def __init__(self, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises ValueError or OSError if the file holds no rules; later on such a file changes nothing."""
        self._path, self._sleep = path, sleep
        self._version = self._look()
        self._rules = self._read()
        self._lock = Lock()

    def guard(self, call: Call) -> None:
        """Raises one of ERRORS, or waits, or sees to it that the answer will be cut."""
        self._notice_changes()
        operation = f"{call.service}:{call.operation}"
        for counted in self._rules:
            delay = counted.hit(operation)
            if delay is not None:
                self._inject(call, counted.rule, delay)
                return

    def hook(self, request: Request, call: Call | None, response: Response) -> None:
        """Mark an answer that a fault was injected into."""
        if call is None or "injected_fault" not in call.log:
            return
        response.headers.append((FAULT_HEADER, str(call.log["injected_fault"])))
        cut_after = call.log.get(_CUT)
        if isinstance(cut_after, int):
            response.cut_after = cut_after

    def _inject(self, call: Call, rule: Rule, delay: float) -> None:
        kinds = [name for name, on in (("latency", delay > 0), ("cut", rule.cut_after is not None)) if on]
        call.log["injected_fault"] = ",".join(kinds + ([rule.error] if rule.error else [])) or "none"
        if rule.cut_after is not None:
            call.log[_CUT] = rule.cut_after
        if delay:
            self._sleep(delay)
        if rule.error is not None:
            raise ERRORS[rule.error](call)

    def _notice_changes(self) -> None:
        version = self._look()
        if version == self._version:
            return
        with self._lock:
            if version == self._version:
                return
            self._version = version
            try:
                self._rules = self._read()
            except (ValueError, OSError) as error:
                _log.error("the file of faults cannot be used", extra={"fields": {"problem": str(error)}})

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> list[_Counted]:
        return [_Counted(rule, random.Random(rule.seed)) for rule in parse_rules(self._path.read_text())]
