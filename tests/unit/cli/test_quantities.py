"""Sizes, rates, times and counts, as they are typed and as they are shown."""

from __future__ import annotations

import argparse

import pytest

from snapstone.cli.quantities import binary, count, counted, duration, elapsed, rate, size


@pytest.mark.parametrize(
    ("text", "byte_count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("1K", 1024),
        ("1KiB", 1024),
        ("1KB", 1000),
        ("50M", 52_428_800),
        ("50MiB", 52_428_800),
        ("50MB", 50_000_000),
        ("1.5GiB", 1_610_612_736),
        ("64T", 70_368_744_177_664),
        ("0.1KB", 100),
    ],
)
def test_a_size_is_read_exactly(text: str, byte_count: int) -> None:
    assert size(text) == byte_count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "-1",
        "+1",
        "1 M",
        " 1",
        "1m",
        "1mib",
        "1MIB",
        "1Mib",
        "1iB",
        "1e3",
        "0x10",
        "1,5G",
        "1.M",
        ".5M",
        "1.5",
        "0.3K",
        "1P",
        "٣",
    ],
)
def test_what_is_no_size_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not"):
        size(text)


def test_a_rate_is_a_size_a_second() -> None:
    assert rate("50M") == rate("50MiB/s") == 52_428_800
    assert rate("1.5GiB/s") == 1_610_612_736


@pytest.mark.parametrize("text", ["0", "0M/s", "5M/m", "fast", "50M/s/s", "50Mbit"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="rate"):
        rate(text)


def test_a_time_is_in_seconds_unless_it_has_a_unit() -> None:
    assert [duration(text) for text in ("90", "90s", "5m", "1.5h", "0.5")] == [90, 90, 300, 5400, 0.5]


@pytest.mark.parametrize("text", ["", "s", "-5", "5 m", "5min", "1d", "1h30m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
        duration(text)


def test_a_count_has_bounds() -> None:
    parse = count(1, 512)
    assert [parse(text) for text in ("1", "512")] == [1, 512]
    for text in ("0", "513", "1.5", "-1", "", "many", "9" * 30):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 512"):
            parse(text)


def test_sizes_are_shown_in_the_unit_that_fits() -> None:
    sizes = (0, 1023, 1024, 1536 * 1024, 1_610_612_736, 8 * 1024**4, 5000 * 1024**5)
    assert [binary(byte_count) for byte_count in sizes] == [
        "0 B", "1,023 B", "1.0 KiB", "1.5 MiB", "1.5 GiB", "8.0 TiB", "5,000.0 PiB",
    ]  # fmt: skip


def test_times_are_shown_in_the_unit_that_fits() -> None:
    times = (0.04, 59.9, 60, 187, 7387.4)
    assert [elapsed(seconds) for seconds in times] == ["0.0 s", "59.9 s", "1:00", "3:07", "2:03:07"]


def test_one_is_singular() -> None:
    assert [counted(number, "block") for number in (0, 1, 2_048)] == ["0 blocks", "1 block", "2,048 blocks"]
