"""What is wrong with this server now, by subject: told by `/ready`, which the doctor reads, and in the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong now."""

    subject: str
    """One of a few fixed words, such as `clock`, `space`, `data folder` or `catalog`: a later report replaces it."""
    message: str
    """A sentence for the operator: what is wrong and what to do. It is shown to anyone who asks: no secrets in it."""
    unready: bool
    """Whether requests should be sent elsewhere: `/ready` answers 503."""


class Health:
    """The problems of one process. Safe from many threads; a problem is logged when it begins, changes and ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._problems: dict[str, Problem] = {}

    def report(self, subject: str, message: str, *, unready: bool = False) -> None:
        """Something is wrong with the subject, in place of what was said of it before."""
        problem = Problem(subject, message, unready)
        with self._lock:
            known = self._problems.get(subject)
            self._problems[subject] = problem
        if known != problem:
            log.error("problem", extra={"fields": {"subject": subject, "problem": message}})

    def clear(self, subject: str) -> None:
        """Nothing is wrong with the subject any more."""
        with self._lock:
            ended = self._problems.pop(subject, None)
        if ended is not None:
            log.warning("problem is over", extra={"fields": {"subject": subject, "problem": ended.message}})

    def problems(self) -> list[Problem]:
        """What is wrong now, in order of subject."""
        with self._lock:
            return [self._problems[subject] for subject in sorted(self._problems)]
