"""The retry layer, against attempts that fail as told, on a clock that only its own waits move."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from snapstone.client.api import retrying
from snapstone.client.api.block_calls import Signer
from snapstone.client.api.endpoint import AccessKey
from snapstone.client.api.faults import CHECKSUM_MISMATCH, ApiFault, FaultError, FaultKind
from snapstone.client.api.pace import Pace
from snapstone.client.api.retrying import (
    FIRST_CONTACT_SECONDS,
    LONGEST_WAIT_SECONDS,
    MAX_CORRUPT_COUNT,
    MAX_DAMAGED_COUNT,
    MAX_FAULT_COUNT,
    MAX_REPAIR_COUNT,
    SETTLE_SECONDS,
    Options,
    Retrying,
)
from snapstone.client.errors import (
    ClientError,
    DamagedError,
    DeniedError,
    ExpiredCredentialsError,
    InterruptedTransferError,
    NoSpaceError,
    NotFoundError,
    RemoteError,
    ThrottledOutError,
    UnreachableError,
)
from snapstone.client.events import Note, NullObserver
from snapstone.client.transfer.pipeline import StopSignal

OLD, NEW = AccessKey("ASIAOLD", "s", "t"), AccessKey("ASIANEW", "s", "t")


@dataclass
class FakeEndpoint:
    """Credentials that can be renewed `renewable` times."""

    renewable: int = 0
    name: str = "http://127.0.0.1:1 (eu-central-1)"
    key: AccessKey = OLD

    away_count: int = 0
    """Times that the provider of credentials is out of reach."""

    def access_key(self) -> AccessKey:
        if self.away_count:
            self.away_count -= 1
            raise ExpiredCredentialsError("the provider is away")
        return self.key

    def renew_credentials(self, stale: AccessKey) -> bool:
        if self.renewable and self.key == stale:
            self.renewable -= 1
            self.key = NEW
        return self.key != stale


@dataclass
class Notes(NullObserver):
    notes: list[Note] = field(default_factory=list)

    def note(self, note: Note) -> None:
        self.notes.append(note)


@dataclass
class Bench:
    """A retry layer with what is around it."""

    endpoint: FakeEndpoint
    signer: Signer
    observer: Notes
    retrying: Retrying
    now: list[float]

    def run(self, *outcomes: Exception | str, awaited: tuple[FaultKind, ...] = (), pace: Pace | None = None) -> str:
        """Attempts that end as told; the last one again and again."""
        self.attempts: list[AccessKey] = []

        def attempt(key: AccessKey) -> str:
            self.attempts.append(key)
            outcome = outcomes[min(len(self.attempts), len(outcomes)) - 1]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return self.retrying.run("do it", attempt, awaited=awaited, pace=pace)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    now = [1_000_000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(
        retrying, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep, time=lambda: 1_780_000_000.0)
    )
    random.seed(7)
    endpoint, signer, observer = FakeEndpoint(), Signer("x", "r"), Notes()
    layer = Retrying(endpoint, signer, Options(retry_seconds=300), observer)  # type: ignore[arg-type]
    return Bench(endpoint, signer, observer, layer, now)


def fault(code: str, status: int = 400, message: str = "", **more: str) -> FaultError:
    return FaultError(ApiFault(code, message, status, **more))


THROTTLE, BROKEN = fault("ThrottlingException"), fault("InternalServerException", 500)
ABSENT = fault("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    "failure", [THROTTLE, BROKEN, fault("HTTP 503", 503), ConnectionResetError(), fault(CHECKSUM_MISMATCH, 200)]
)
def test_what_can_pass_is_tried_again(bench: Bench, failure: Exception) -> None:
    assert bench.run(failure, failure, "done") == "done"
    assert len(bench.attempts) == 3
    assert bench.retrying.trouble.retried_count == 2


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (fault("AccessDeniedException", 403), DeniedError),
        (ABSENT, NotFoundError),
        (fault("ValidationException"), RemoteError),
        (fault("ConflictException", 409), RemoteError),
    ],
)
def test_what_cannot_pass_is_tried_once(bench: Bench, failure: Exception, error: type[ClientError]) -> None:
    with pytest.raises(error):
        bench.run(failure)
    assert len(bench.attempts) == 1
    assert bench.now[0] == 1_000_000.0


@pytest.mark.parametrize(
    ("failure", "error"), [(THROTTLE, ThrottledOutError), (fault("HTTP 503", 503), UnreachableError)]
)
def test_a_call_ends_within_its_time_budget(bench: Bench, failure: Exception, error: type[ClientError]) -> None:
    with pytest.raises(error):
        bench.run(failure)
    spent = bench.now[0] - 1_000_000.0
    assert 300 - LONGEST_WAIT_SECONDS <= spent <= 300


def test_broken_connections_end_within_the_budget_once_the_endpoint_has_answered(bench: Bench) -> None:
    bench.run("done")
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1"):
        bench.run(ConnectionRefusedError(111, "Connection refused"))
    assert 300 - LONGEST_WAIT_SECONDS <= bench.now[0] - 1_000_000.0 <= 300


def test_an_endpoint_that_never_answered_is_given_up_soon(bench: Bench) -> None:
    with pytest.raises(UnreachableError, match="Connection refused"):
        bench.run(ConnectionRefusedError(111, "Connection refused"))
    assert bench.now[0] - 1_000_000.0 <= FIRST_CONTACT_SECONDS


def test_a_server_that_fails_the_same_call_for_ever_is_given_up_before_the_budget_ends(bench: Bench) -> None:
    with pytest.raises(UnreachableError):
        bench.run(BROKEN)
    assert len(bench.attempts) == MAX_FAULT_COUNT


def test_bytes_that_never_arrive_whole_are_damage(bench: Bench) -> None:
    with pytest.raises(DamagedError):
        bench.run(fault(CHECKSUM_MISMATCH, 200))
    assert len(bench.attempts) == MAX_CORRUPT_COUNT


def test_damage_that_the_endpoint_tells_of_is_final_at_its_second_answer(bench: Bench) -> None:
    with pytest.raises(DamagedError):
        bench.run(fault("InternalServerException", 500, cause="damaged"))
    assert len(bench.attempts) == MAX_DAMAGED_COUNT == 2
    assert bench.now[0] - 1_000_000.0 < 1.0


@pytest.mark.parametrize(("cause", "error"), [("full", NoSpaceError), ("lost", UnreachableError)])
@pytest.mark.parametrize(("retry_seconds", "stall_seconds", "budget"), [(300, 120, 60), (15, 120, 15), (300, 30, 15)])
def test_trouble_with_the_servers_storage_is_said_at_once_and_ends_before_a_stall(
    bench: Bench, cause: str, error: type[ClientError], retry_seconds: float, stall_seconds: float, budget: float
) -> None:
    options = Options(retry_seconds=retry_seconds, stall_seconds=stall_seconds)
    bench.retrying = Retrying(bench.endpoint, bench.signer, options, bench.observer)  # type: ignore[arg-type]
    with pytest.raises(error):
        bench.run(fault("InternalServerException", 500, cause=cause))
    assert budget - LONGEST_WAIT_SECONDS <= bench.now[0] - 1_000_000.0 <= budget
    assert f"retrying for up to {budget} s: " in bench.observer.notes[0].message


def test_an_upload_goes_on_once_the_servers_disk_has_room_again(bench: Bench) -> None:
    full = fault("InternalServerException", 500, cause="full")
    assert bench.run(*[full] * 6, "done") == "done"


def test_what_was_just_made_is_waited_for_within_bounds(bench: Bench) -> None:
    assert bench.run(ABSENT, ABSENT, ABSENT, "done", awaited=(FaultKind.ABSENT,)) == "done"
    begun = bench.now[0]
    with pytest.raises(NotFoundError):
        bench.run(ABSENT, awaited=(FaultKind.ABSENT,))
    assert SETTLE_SECONDS - LONGEST_WAIT_SECONDS <= bench.now[0] - begun <= SETTLE_SECONDS


def test_expired_credentials_are_renewed_once_and_at_once(bench: Bench) -> None:
    bench.endpoint.renewable = 1
    assert bench.run(fault("ExpiredTokenException", 403), "done") == "done"
    assert bench.attempts == [OLD, NEW]
    assert bench.now[0] == 1_000_000.0


def test_expired_credentials_without_newer_ones_end_the_call(bench: Bench) -> None:
    with pytest.raises(ExpiredCredentialsError, match="log in again"):
        bench.run(fault("ExpiredTokenException", 403))
    assert len(bench.attempts) == 1


def test_credentials_are_renewed_however_often_the_call_was_throttled_before(bench: Bench) -> None:
    bench.endpoint.renewable = 1
    assert bench.run(THROTTLE, THROTTLE, THROTTLE, fault("ExpiredTokenException", 403), "done") == "done"
    assert bench.attempts[-1] == NEW


def test_credentials_that_cannot_be_renewed_just_now_are_waited_for_once_the_endpoint_has_answered(
    bench: Bench,
) -> None:
    bench.endpoint.away_count = 1
    with pytest.raises(ExpiredCredentialsError):
        bench.run("done")
    bench.run("done")
    bench.endpoint.away_count = 3
    assert bench.run("done") == "done"
    assert bench.retrying.trouble.retried_count == 3


def test_waiting_for_a_turn_is_no_part_of_the_budget(bench: Bench) -> None:
    class Slow:
        def __enter__(self) -> Slow:
            bench.now[0] += 1_000
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def throttled(self) -> None:
            pass

        def failed(self) -> None:
            pass

    pace = SimpleNamespace(turn=lambda _: Slow())
    assert bench.run(THROTTLE, BROKEN, "done", pace=pace) == "done"  # type: ignore[arg-type]


def test_a_wrong_clock_is_set_by_the_answers_date(bench: Bench) -> None:
    skewed = fault("RequestExpired", date=formatdate(1_780_000_000 + 3_600, usegmt=True))
    assert bench.run(skewed, "done") == "done"
    assert bench.signer.skew_seconds == 3_600
    assert "-3600 s" in bench.observer.notes[0].message


def test_a_clock_that_stays_wrong_ends_the_call(bench: Bench) -> None:
    skewed = fault("RequestExpired", date=formatdate(1_780_000_000, usegmt=True))
    with pytest.raises(ExpiredCredentialsError, match="clock"):
        bench.run(skewed)
    assert len(bench.attempts) == 1 + MAX_REPAIR_COUNT


def test_a_stop_ends_waiting(bench: Bench) -> None:
    stop = StopSignal()

    def attempt(_: AccessKey) -> None:
        stop.set()
        raise THROTTLE

    with pytest.raises(InterruptedTransferError):
        bench.retrying.run("do it", attempt, stop=stop)


def test_pace_is_told_of_throttles_and_failures(bench: Bench) -> None:
    told: list[str] = []

    class Told:
        def __enter__(self) -> Told:
            return self

        def __exit__(self, *_: object) -> None:
            told.append("left")

        def throttled(self) -> None:
            told.append("throttled")

        def failed(self) -> None:
            told.append("failed")

    turn: Callable[[object], Told] = lambda _: Told()  # noqa: E731
    pace = SimpleNamespace(turn=turn)
    bench.run(THROTTLE, BROKEN, ConnectionResetError(), "done", pace=pace)  # type: ignore[arg-type]
    assert told == ["throttled", "left", "failed", "left", "failed", "left", "left"]
    assert bench.retrying.trouble.throttled_count == 1


def test_trouble_of_one_kind_is_noted_now_and_then_only(bench: Bench) -> None:
    for _ in range(3):
        bench.run(THROTTLE, BROKEN, "done")
    assert [note.facts["cause"] for note in bench.observer.notes] == ["throttled", "broken"]
    bench.now[0] += 11
    bench.run(THROTTLE, "done")
    assert len(bench.observer.notes) == 3
