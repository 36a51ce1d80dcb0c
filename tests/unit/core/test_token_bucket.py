"""Token buckets: rates and bursts, counted by hand."""

from __future__ import annotations

from snapstone.core.token_bucket import NS_PER_SECOND, Rate, take

START = 1_000 * NS_PER_SECOND


def taken(rate: Rate, full_at_ns: int, now_ns: int, tries: int) -> tuple[int, int]:
    """How many of `tries` at one moment are let through, and when the bucket will be full again."""
    count = 0
    for _ in range(tries):
        after = take(full_at_ns, now_ns, rate)
        if after is not None:
            full_at_ns, count = after, count + 1
    return count, full_at_ns


def test_a_full_bucket_lets_its_burst_through_and_no_more() -> None:
    assert taken(Rate(10, 4), 0, START, 20)[0] == 4


def test_tokens_come_back_at_the_rate() -> None:
    _, full_at_ns = taken(Rate(10, 4), 0, START, 20)
    assert taken(Rate(10, 4), full_at_ns, START + NS_PER_SECOND // 10 - 1, 20)[0] == 0
    assert taken(Rate(10, 4), full_at_ns, START + NS_PER_SECOND // 10, 20)[0] == 1
    assert taken(Rate(10, 4), full_at_ns, START + 3 * NS_PER_SECOND // 10, 20)[0] == 3


def test_a_rest_fills_no_more_than_the_burst() -> None:
    _, full_at_ns = taken(Rate(10, 4), 0, START, 20)
    assert taken(Rate(10, 4), full_at_ns, START + 60 * NS_PER_SECOND, 20)[0] == 4


def test_a_time_of_another_clock_is_a_full_bucket() -> None:
    assert taken(Rate(10, 4), START, 5 * NS_PER_SECOND, 20)[0] == 4


def test_less_than_one_a_second() -> None:
    rate = Rate(0.5, 1)
    full_at_ns = take(0, START, rate)
    assert full_at_ns == START + 2 * NS_PER_SECOND
    assert take(full_at_ns, START + 2 * NS_PER_SECOND - 1, rate) is None
    assert take(full_at_ns, START + 2 * NS_PER_SECOND, rate) is not None
