"""The limit by itself: what it makes of answers."""

from __future__ import annotations

from snapstone.client.api.pace import HOLD_SECONDS, LEAST_LIMIT, START_LIMIT, ConcurrencyLimit


class Answers:
    """Answers to full use of the limit, at times that are given."""

    def __init__(self, maximum: int = 64) -> None:
        self.limit = ConcurrencyLimit(maximum)
        self.now = 100.0

    def come(self, count: int, seconds: float, *, paced: bool = False, in_flight: int | None = None) -> None:
        """So many, each after `seconds`, one after the other as full use would have it."""
        for _ in range(count):
            used = in_flight or self.limit.limit
            self.now += seconds / used
            self.limit.succeeded(self.now, self.now - seconds, used, paced)


def test_it_grows_while_the_time_of_an_answer_stays() -> None:
    answers = Answers()
    answers.come(3_000, 0.1)
    assert answers.limit.limit == 64


def test_it_stays_where_more_in_flight_only_take_longer() -> None:
    answers = Answers()
    for _ in range(3_000):
        answers.come(1, 0.001 * answers.limit.limit)
    assert answers.limit.limit in (START_LIMIT, 12)


def test_a_collapse_of_the_rate_is_answered_before_the_hold_is_over() -> None:
    answers = Answers()
    for _ in range(400):
        answers.come(1, 0.001 * answers.limit.limit)
    assert answers.limit.limit == START_LIMIT
    began_at = answers.now

    while answers.limit.limit == START_LIMIT:
        answers.come(1, 0.1)

    assert answers.now - began_at < HOLD_SECONDS / 2


def test_answers_that_the_rate_holds_back_say_nothing() -> None:
    answers = Answers()
    answers.come(3_000, 0.1, paced=True)
    assert answers.limit.limit == START_LIMIT


def test_a_limit_that_is_not_used_is_not_raised() -> None:
    answers = Answers()
    answers.come(3_000, 0.1, in_flight=3)
    assert answers.limit.limit == START_LIMIT


def test_a_burst_of_faults_halves_once() -> None:
    answers = Answers()
    answers.come(3_000, 0.1)
    sent_at = answers.now
    for _ in range(60):
        answers.now += 0.001
        answers.limit.failed(answers.now, sent_at)
    assert answers.limit.limit == 32


def test_faults_without_end_leave_a_few_in_flight() -> None:
    answers = Answers()
    for _ in range(100):
        answers.now += 1.0
        answers.limit.failed(answers.now, answers.now - 0.5)
    assert answers.limit.limit == LEAST_LIMIT


def test_single_faults_halve_nothing() -> None:
    answers = Answers()
    answers.come(3_000, 0.1)
    for _ in range(50):
        answers.come(10, 0.1)
        answers.limit.failed(answers.now, answers.now - 0.1)
    assert answers.limit.limit >= 48


def test_it_never_leaves_its_maximum() -> None:
    for maximum in (1, 2, 5, 8):
        answers = Answers(maximum)
        answers.come(2_000, 0.1)
        for _ in range(20):
            answers.now += 1.0
            answers.limit.failed(answers.now, answers.now)
        answers.come(2_000, 0.1)
        assert answers.limit.limit == maximum
