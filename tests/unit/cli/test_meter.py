"""Rates, time left and words about a tally, with a clock that is turned by hand."""

from __future__ import annotations

import pytest

from snapstone.cli.progress import MAX_SAMPLE_COUNT, Meter, line_of, summary_of
from snapstone.client.events import Tally


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_rate_and_time_left_follow_the_tally(clock: Clock) -> None:
    tally = Tally("upload")
    tally.expected_count = 400
    meter = Meter(tally, clock)
    assert meter.look().eta_seconds is None
    clock.now += 2
    tally.add(moved=60, zero=40)
    look = meter.look()
    assert look.bytes_per_second == 60 * 524_288 / 2
    assert look.blocks_per_second == 50
    assert look.eta_seconds == 6  # 300 blocks at 50 a second
    assert look.seconds == 2


def test_rates_forget_what_was_long_ago(clock: Clock) -> None:
    tally = Tally("upload")
    meter = Meter(tally, clock)
    tally.add(moved=1000)
    for _ in range(40):
        clock.now += 1
        meter.look()
        tally.add(moved=10)
    assert meter.look().bytes_per_second == pytest.approx(10 * 524_288, rel=0.12)


def test_rates_are_those_of_the_last_ten_seconds_however_often_it_is_looked_at(clock: Clock) -> None:
    tally = Tally("upload")
    meter = Meter(tally, clock)
    tally.add(moved=100)
    rates = {}
    for step in range(1, 1201):
        clock.now = 1000.0 + step / 100
        rates[step] = meter.look().bytes_per_second / 524_288
    assert rates[900] == pytest.approx(100 / 9)
    assert rates[1000] == pytest.approx(10)
    assert rates[1020] == 0  # the next sample after the first is ten seconds old by now
    assert rates[1200] == 0


def test_slow_work_has_time_left_to_tell_too(clock: Clock) -> None:
    tally = Tally("upload")
    tally.expected_count = 5
    meter = Meter(tally, clock)
    clock.now += 2
    tally.add(moved=1)
    assert meter.look().eta_seconds == 8  # four blocks at one in two seconds


def test_work_that_stands_still_has_no_time_left_to_tell(clock: Clock) -> None:
    tally = Tally("upload")
    tally.expected_count = 10
    meter = Meter(tally, clock)
    tally.add(moved=1)
    for _ in range(30):
        clock.now += 1
        look = meter.look()
    assert (look.bytes_per_second, look.eta_seconds) == (0, None)


def test_samples_are_bounded_however_often_it_is_looked_at(clock: Clock) -> None:
    meter = Meter(Tally("upload"), clock)
    for _ in range(10_000):
        clock.now += 0.01
        meter.look()
    assert len(meter._samples) <= MAX_SAMPLE_COUNT


def test_a_line_says_share_blocks_rate_time_left_and_what_was_skipped(clock: Clock) -> None:
    tally = Tally("upload")
    tally.expected_count = 4096
    meter = Meter(tally, clock)
    clock.now += 4
    tally.add(moved=1024, zero=512, unchanged=256, resumed=256)
    assert line_of(meter.look()) == (
        "upload 50%: 2,048/4,096 blocks, 128.0 MiB/s, 4.0 s left; skipped 512 zero, 256 unchanged, 256 resumed"
    )


def test_a_share_is_not_all_before_all_is_done(clock: Clock) -> None:
    tally = Tally("upload")
    tally.expected_count = 200
    meter = Meter(tally, clock)
    tally.add(zero=199)
    assert line_of(meter.look()).startswith("upload 99%: 199/200 blocks")


def test_a_line_without_a_known_whole_has_neither_share_nor_time_left(clock: Clock) -> None:
    tally = Tally("download")
    meter = Meter(tally, clock)
    clock.now += 1
    tally.add(moved=2)
    assert line_of(meter.look()) == "download: 2 blocks, 1.0 MiB/s"


def test_more_than_was_expected_is_no_more_than_all(clock: Clock) -> None:
    tally = Tally("download")
    tally.expected_count = 2
    meter = Meter(tally, clock)
    clock.now += 1
    tally.add(moved=4)
    assert line_of(meter.look()) == "download 100%: 4/2 blocks, 2.0 MiB/s, 0.0 s left"


def test_a_summary_says_what_was_moved_and_what_was_not(clock: Clock) -> None:
    tally = Tally("download")
    tally.expected_count = 6
    meter = Meter(tally, clock)
    clock.now += 2
    tally.add(moved=4, resumed=2)
    assert summary_of(meter.look()) == "download: 6 blocks in 2.0 s, 4 received (2.0 MiB, 1.0 MiB/s), 2 resumed"


def test_a_summary_of_no_time_has_no_rate(clock: Clock) -> None:
    tally = Tally("copy")
    meter = Meter(tally, clock)
    tally.add(moved=2)
    assert summary_of(meter.look()) == "copy: 2 blocks in 0.0 s, 2 copied (1.0 MiB)"
    clock.now += 0.5
    assert summary_of(meter.look()) == "copy: 2 blocks in 0.5 s, 2 copied (1.0 MiB, 2.0 MiB/s)"


def test_a_summary_of_unfinished_work_says_so(clock: Clock) -> None:
    tally = Tally("upload")
    tally.expected_count = 6
    meter = Meter(tally, clock)
    tally.add(zero=4)
    assert summary_of(meter.look()) == "upload: 4 of 6 blocks in 0.0 s, 0 sent (0 B), 4 zero"
