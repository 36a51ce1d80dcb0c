"""The one layer of retries: which failure is tried again, after how long, and when it is final.

One time budget bounds a call with all of its attempts, waits included. botocore's own retries are off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, TypeVar

from snapstone.client.api.block_calls import Signer
from snapstone.client.api.endpoint import AccessKey, Endpoint
from snapstone.client.api.faults import STORAGE_TROUBLE, ApiFault, FaultError, FaultKind, error_of, kind_of
from snapstone.client.api.pace import Pace, SendSlot, Stopping
from snapstone.client.errors import ExpiredCredentialsError, InterruptedTransferError, UnreachableError
from snapstone.client.events import Note, Observer

FIRST_WAIT_SECONDS: Final = 0.05
LONGEST_WAIT_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 120.0
"""How long what was just made may be unknown: AWS's services disagree for up to two minutes.

Source: docs/aws-behaviour/ebs-direct.md, EBS-STATE-12.
"""

MAX_CORRUPT_COUNT: Final = 5
MAX_FAULT_COUNT: Final = 15
"""Answers of 500 to one call: an outage answers 503 or nothing, but a damaged block answers 500 forever."""

MAX_DAMAGED_COUNT: Final = 2
"""Damage answers to one call: one retry, because a disk may read correctly at a second try."""

MAX_REPAIR_COUNT: Final = 2
"""Times that credentials are renewed, or the clock is corrected, for one call."""


class CallHistory:
    """Counts failures. The budget runs from the first of them on, and not while a turn to send is waited for."""

    def __init__(self, action: str, awaited: Collection[FaultKind]) -> None:
        self.action = action
        self._awaited = awaited
        self._failed_at: float | None = None
        self._wait_count = 0
        self._counts: dict[FaultKind, int] = {}

    def queued(self, seconds: float) -> None:
        """A turn was waited for: that is not part of the budget."""
        if self._failed_at is not None:
            self._failed_at += seconds

    def may_repair(self, kind: FaultKind) -> bool:
        """Whether credentials, or the clock, may be corrected again."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind] <= MAX_REPAIR_COUNT

    def budget_seconds(
        self, kind: FaultKind, fault: ApiFault, retry_seconds: float, stall_seconds: float
    ) -> float | None:
        """How long a fault of this kind is tried against; None: it is final.

        Trouble with the server's storage is waited out for less than a stall takes, so that the end names its cause.
        """
        if kind in self._awaited:
            return SETTLE_SECONDS
        if kind is FaultKind.THROTTLED:
            return retry_seconds
        if kind in STORAGE_TROUBLE:
            return min(retry_seconds, stall_seconds / 2)
        if kind is FaultKind.DAMAGED:
            return retry_seconds if self._counted(kind) < MAX_DAMAGED_COUNT else None
        if kind is FaultKind.CORRUPT:
            return retry_seconds if self._counted(kind) < MAX_CORRUPT_COUNT else None
        if kind is FaultKind.BROKEN:
            too_many = fault.status == 500 and self._counted(kind) >= MAX_FAULT_COUNT
            return None if too_many else retry_seconds
        return None

    def next_wait(self, now: float, budget_seconds: float) -> float | None:
        """Exponential with full jitter, so that many callers do not come back together; None: the budget is spent."""
        if self._failed_at is None:
            self._failed_at = now
        self._wait_count += 1
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(self._wait_count, 16))
        wait = random.uniform(FIRST_WAIT_SECONDS / 2, longest)
        return wait if now - self._failed_at + wait <= budget_seconds else None

    def _counted(self, kind: FaultKind) -> int:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind]


T = TypeVar("T")

FIRST_CONTACT_SECONDS: Final = 10.0
"""How long an endpoint is tried that has never answered: an address is likelier wrong than an outage just now."""

NOTE_SECONDS: Final = 10.0
"""Notes about the same kind of trouble are at least this far apart."""


@dataclass(frozen=True, slots=True)
class Options:
    """How patient, how parallel and how fast."""

    retry_seconds: float = 300.0
    """Time budget of one call with all its attempts."""
    stall_seconds: float = 120.0
    """A transfer in which no block completes for this long is given up."""
    max_in_flight: int = 64
    limit_bytes_per_second: float | None = None


@dataclass(slots=True)
class RetryStats:
    """Retries so far, over all calls."""

    throttled_count: int = 0
    retried_count: int = 0
    noted_at: dict[FaultKind, float] = field(default_factory=dict)


class Interruption(Stopping, Protocol):
    """Requests a stop; waiting threads check it and wake."""

    def wait(self, seconds: float) -> bool:
        """Sleep this long, or until a stop is requested."""
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
        self.trouble = RetryStats()

    def run(
        self,
        action: str,
        attempt: Callable[[AccessKey], T],
        *,
        pace: Pace | None = None,
        stop: Interruption | None = None,
        awaited: Collection[FaultKind] = (),
    ) -> T:
        """The outcome of `attempt`, which raises FaultError or OSError if it fails; `action` names it in errors.

        `awaited`: faults that pass by themselves, because what the call is about was made a moment ago: waited for
        within SETTLE_SECONDS. Raises ClientError; InterruptedTransferError once `stop` is set.
        """
        attempts = CallHistory(action, awaited)
        while True:
            if stop is not None and stop.is_set():
                raise InterruptedTransferError(f"{action}: interrupted")
            try:
                key = self._endpoint.access_key()
                outcome = _paced(attempt, key, pace, stop, attempts)
            except FaultError as error:
                self._has_answered = True
                wait = self._after_fault(attempts, error.fault, key)
            except OSError as error:
                wait = self._after_breakage(attempts, error)
            except ExpiredCredentialsError as error:
                wait = self._after_expiry(attempts, error)
            else:
                self._has_answered = True
                return outcome
            self._wait(wait, stop)

    def _after_fault(self, attempts: CallHistory, fault: ApiFault, key: AccessKey) -> float:
        """Seconds to wait before the next attempt; raises if there is none."""
        kind = kind_of(fault)
        if kind is FaultKind.EXPIRED and attempts.may_repair(kind) and self._endpoint.renew_credentials(key):
            return 0.0
        if kind is FaultKind.SKEWED and attempts.may_repair(kind) and self._correct_clock(fault):
            return 0.0
        if kind is FaultKind.THROTTLED:
            with self._lock:
                self.trouble.throttled_count += 1
        options = self._options
        budget = attempts.budget_seconds(kind, fault, options.retry_seconds, options.stall_seconds)
        wait = None if budget is None else self._next_wait(attempts, budget)
        if wait is None:
            raise error_of(fault, attempts.action)
        trouble = STORAGE_TROUBLE.get(kind)
        patience = "" if trouble is None else f" for up to {budget:.0f} s: {trouble}"
        self._tell(kind, f"{attempts.action}: {fault}; retrying{patience}")
        return wait

    def _after_breakage(self, attempts: CallHistory, error: OSError) -> float:
        wait = self._next_wait(attempts, self._patience_seconds())
        if wait is None:
            raise UnreachableError(
                f"{attempts.action}: {self._endpoint.name} cannot be reached: {_words(error)}"
            ) from None
        self._tell(FaultKind.BROKEN, f"{attempts.action}: {_words(error)}; retrying")
        return wait

    def _after_expiry(self, attempts: CallHistory, error: ExpiredCredentialsError) -> float:
        """Credentials cannot be renewed just now: their provider is away for a moment, or somebody has to log in."""
        wait = self._next_wait(attempts, self._patience_seconds()) if self._has_answered else None
        if wait is None:
            raise error
        self._tell(FaultKind.EXPIRED, f"{error}; retrying")
        return wait

    def _patience_seconds(self) -> float:
        retry_seconds = self._options.retry_seconds
        return retry_seconds if self._has_answered else min(FIRST_CONTACT_SECONDS, retry_seconds)

    def _next_wait(self, attempts: CallHistory, budget_seconds: float) -> float | None:
        with self._lock:
            self.trouble.retried_count += 1
        return attempts.next_wait(time.monotonic(), budget_seconds)

    def _wait(self, seconds: float, stop: Interruption | None) -> None:
        if stop is None:
            time.sleep(seconds)
        else:
            stop.wait(seconds)

    def _correct_clock(self, fault: ApiFault) -> bool:
        """Take the endpoint's clock from its answer; whether that changed anything worth another attempt."""
        if fault.date is None:
            return False
        try:
            theirs = parsedate_to_datetime(fault.date).timestamp()
        except ValueError:
            return False
        self._signer.skew_seconds = theirs - time.time()
        self._tell(
            FaultKind.SKEWED,
            f"this machine's clock is {-self._signer.skew_seconds:+.0f} s off the endpoint's; compensating",
        )
        return True

    def _tell(self, kind: FaultKind, message: str) -> None:
        now = time.monotonic()
        with self._lock:
            due = now - self.trouble.noted_at.get(kind, -NOTE_SECONDS) >= NOTE_SECONDS
            if due:
                self.trouble.noted_at[kind] = now
        if due:
            self._observer.note(Note("retry", message, {"cause": kind.name.lower()}))


def _paced(
    attempt: Callable[[AccessKey], T],
    key: AccessKey,
    pace: Pace | None,
    stop: Interruption | None,
    attempts: CallHistory,
) -> T:
    if pace is None:
        return attempt(key)
    asked_at = time.monotonic()
    with pace.turn(stop) as turn:
        attempts.queued(time.monotonic() - asked_at)
        try:
            return attempt(key)
        except FaultError as error:
            _report(turn, kind_of(error.fault))
            raise
        except OSError:
            turn.failed()
            raise


def _report(turn: SendSlot, kind: FaultKind) -> None:
    if kind is FaultKind.THROTTLED:
        turn.throttled()
    elif kind is FaultKind.BROKEN or kind in STORAGE_TROUBLE:
        turn.failed()


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
