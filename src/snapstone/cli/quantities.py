"""Sizes, rates, times and counts as people type them, parsed strictly; each function is a `type` of argparse."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,9})?)"
_SIZE: Final = re.compile(_NUMBER + r"(|B|[KMGT](?:|B|iB))")
_TIME: Final = re.compile(_NUMBER + r"(|s|m|h)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_POWERS: Final = "KMGT"

_SIZE_FORM: Final = "a size, such as 4096, 50M (= 50MiB), 50MB or 1.5GiB"


def size(text: str) -> int:
    """Bytes: K, M, G, T and KiB, MiB, ... are powers of 1,024; KB, MB, ... are powers of 1,000."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not {_SIZE_FORM}")
    number, unit = found.groups()
    base = 1000 if len(unit) == 2 else 1024
    exact = Fraction(number) * base ** (_POWERS.find(unit[:1]) + 1 if unit[:1] in _POWERS and unit else 0)
    if exact.denominator != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of bytes")
    return int(exact)


def rate(text: str) -> float:
    """Bytes per second: a size, optionally followed by `/s`."""
    try:
        bytes_per_second = size(text.removesuffix("/s"))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate, such as 50M (= 50MiB/s) or 1.5GiB/s") from None
    if bytes_per_second == 0:
        raise argparse.ArgumentTypeError("a rate must be more than 0")
    return float(bytes_per_second)


def duration(text: str) -> float:
    """Seconds."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 90, 90s, 5m or 1.5h")
    number, unit = found.groups()
    return float(number) * _SECONDS[unit]


def count(least: int, most: int) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def binary(byte_count: float) -> str:
    """A human-readable size: `512 B`, `1.5 MiB`."""
    size, unit = float(byte_count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 block`, `2,048 blocks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def elapsed(seconds: float) -> str:
    """A human-readable duration: `4.2 s`, `3:07`, `2:03:07`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
