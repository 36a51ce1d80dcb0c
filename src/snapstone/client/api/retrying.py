"""The one layer of retries: which failure is tried again, after how long, and when it is final.

One time budget bounds a call with all of its attempts, waits included. botocore's own retries are off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, TypeVar

from snapstone.client.api.endpoint import AccessKey, Endpoint
from snapstone.client.api.faults import Fault, FaultError, Kind, error_of, kind_of
from snapstone.client.api.pace import Pace, Stopping, Turn
from snapstone.client.api.signing import Signer
from snapstone.client.errors import InterruptedTransferError, UnreachableError
from snapstone.client.events import Note, Observer

T = TypeVar("T")

FIRST_WAIT_SECONDS: Final = 0.05
LONGEST_WAIT_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 120.0
"""How long what was just made may be unknown: AWS's planes disagree for up to two minutes (api-ebs.md, section 4)."""

FIRST_CONTACT_SECONDS: Final = 10.0
"""How long an endpoint is tried that has never answered: an address is likelier wrong than an outage just now."""

MAX_CORRUPT_ATTEMPTS: Final = 5
MAX_FAULT_ATTEMPTS: Final = 15
"""Answers of 500 to one call: an outage answers 503 or nothing, but a damaged block answers 500 for ever."""

NOTE_SECONDS: Final = 10.0
"""Notes about the same kind of trouble are at least this far apart."""


@dataclass(frozen=True, slots=True)
class Options:
    """How patient, how parallel and how fast."""

    retry_seconds: float = 300.0
    """Time budget of one call with all its attempts."""
    stall_seconds: float = 120.0
    """A transfer in which no block is finished for so long is given up."""
    max_in_flight: int = 64
    limit_bytes_per_second: float | None = None


@dataclass(slots=True)
class Trouble:
    """What happened so far, over all calls."""

    throttled_count: int = 0
    retried_count: int = 0
    noted_at: dict[Kind, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Attempts:
    """One call's history."""

    action: str
    began_at: float
    recent: bool
    count: int = 0
    corrupt_count: int = 0
    fault_count: int = 0


class Stop(Stopping, Protocol):
    """Asks for the end; what waits looks at it, and wakes."""

    def wait(self, seconds: float) -> bool:
        """Sleep so long, or until the end is asked for."""
        ...


class Retrying:
    """Performs calls to one endpoint. Safe from any thread."""

    def __init__(self, endpoint: Endpoint, signer: Signer, options: Options, observer: Observer) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._options = options
        self._observer = observer
        self._has_answered = False
        self._lock = threading.Lock()
        self.trouble = Trouble()

    def run(
        self,
        action: str,
        attempt: Callable[[AccessKey], T],
        *,
        pace: Pace | None = None,
        stop: Stop | None = None,
        recent: bool = False,
    ) -> T:
        """The outcome of `attempt`, which raises FaultError or OSError where it fails; `action` names it in errors.

        `recent`: what it is about was made a moment ago, so "does not exist" is waited for, within SETTLE_SECONDS.
        Raises ClientError; InterruptedTransferError once `stop` is set.
        """
        attempts = _Attempts(action, time.monotonic(), recent)
        while True:
            if stop is not None and stop.is_set():
                raise InterruptedTransferError(f"{action}: interrupted")
            key = self._endpoint.access_key()
            try:
                outcome = _paced(attempt, key, pace, stop)
            except FaultError as error:
                self._has_answered = True
                wait = self._after_fault(attempts, error.fault, key)
            except OSError as error:
                wait = self._after_breakage(attempts, error)
            else:
                self._has_answered = True
                return outcome
            self._wait(wait, stop)

    def _after_fault(self, attempts: _Attempts, fault: Fault, key: AccessKey) -> float:
        """Seconds to wait before the next attempt; raises where there is none."""
        kind = kind_of(fault)
        if kind is Kind.EXPIRED and attempts.count < 2 and self._endpoint.renew_credentials(key):
            return self._again(attempts, kind, fault, 0.0)
        if kind is Kind.SKEWED and attempts.count < 2 and self._correct_clock(fault):
            return self._again(attempts, kind, fault, 0.0)
        if kind in (Kind.ABSENT, Kind.NOT_READY) and attempts.recent:
            return self._again(attempts, kind, fault, SETTLE_SECONDS)
        if kind is Kind.CORRUPT:
            attempts.corrupt_count += 1
            if attempts.corrupt_count < MAX_CORRUPT_ATTEMPTS:
                return self._again(attempts, kind, fault, self._options.retry_seconds)
        if kind is Kind.BROKEN:
            attempts.fault_count += fault.status == 500
            if attempts.fault_count < MAX_FAULT_ATTEMPTS:
                return self._again(attempts, kind, fault, self._options.retry_seconds)
        if kind is Kind.THROTTLED:
            with self._lock:
                self.trouble.throttled_count += 1
            return self._again(attempts, kind, fault, self._options.retry_seconds)
        raise error_of(fault, attempts.action)

    def _again(self, attempts: _Attempts, kind: Kind, fault: Fault, budget_seconds: float) -> float:
        if kind in (Kind.EXPIRED, Kind.SKEWED):
            attempts.count += 1
            return 0.0
        wait = self._next_wait(attempts, budget_seconds)
        if wait is None:
            raise error_of(fault, attempts.action)
        self._tell(kind, f"{attempts.action}: {fault}; trying again")
        return wait

    def _after_breakage(self, attempts: _Attempts, error: OSError) -> float:
        budget = self._options.retry_seconds if self._has_answered else FIRST_CONTACT_SECONDS
        wait = self._next_wait(attempts, min(budget, self._options.retry_seconds))
        if wait is None:
            raise UnreachableError(
                f"{attempts.action}: {self._endpoint.name} cannot be reached: {_words(error)}"
            ) from None
        self._tell(Kind.BROKEN, f"{attempts.action}: {_words(error)}; trying again")
        return wait

    def _next_wait(self, attempts: _Attempts, budget_seconds: float) -> float | None:
        """Exponential with full jitter, so that many callers do not come back together; None: the budget is spent."""
        attempts.count += 1
        with self._lock:
            self.trouble.retried_count += 1
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(attempts.count, 16))
        wait = random.uniform(FIRST_WAIT_SECONDS / 2, longest)
        elapsed = time.monotonic() - attempts.began_at
        return wait if elapsed + wait <= budget_seconds else None

    def _wait(self, seconds: float, stop: Stop | None) -> None:
        if stop is None:
            time.sleep(seconds)
        else:
            stop.wait(seconds)

    def _correct_clock(self, fault: Fault) -> bool:
        """Take the endpoint's clock from its answer; whether that changed anything worth another attempt."""
        if fault.date is None:
            return False
        try:
            theirs = parsedate_to_datetime(fault.date).timestamp()
        except ValueError:
            return False
        self._signer.skew_seconds = theirs - time.time()
        self._tell(
            Kind.SKEWED,
            f"this machine's clock is {-self._signer.skew_seconds:+.0f} s off the endpoint's; corrected for",
        )
        return True

    def _tell(self, kind: Kind, message: str) -> None:
        now = time.monotonic()
        with self._lock:
            due = now - self.trouble.noted_at.get(kind, -NOTE_SECONDS) >= NOTE_SECONDS
            if due:
                self.trouble.noted_at[kind] = now
        if due:
            self._observer.note(Note("retry", message, {"cause": kind.name.lower()}))


def _paced(attempt: Callable[[AccessKey], T], key: AccessKey, pace: Pace | None, stop: Stop | None) -> T:
    if pace is None:
        return attempt(key)
    with pace.turn(stop) as turn:
        try:
            return attempt(key)
        except FaultError as error:
            _report(turn, kind_of(error.fault))
            raise
        except OSError:
            turn.failed()
            raise


def _report(turn: Turn, kind: Kind) -> None:
    if kind is Kind.THROTTLED:
        turn.throttled()
    elif kind is Kind.BROKEN:
        turn.failed()


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
