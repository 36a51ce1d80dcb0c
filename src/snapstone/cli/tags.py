"""Tags and filters on the command line, by EC2's rules."""

from __future__ import annotations

import argparse

from snapstone.core.tags import MAX_KEY_LENGTH, MAX_VALUE_LENGTH, is_removable, is_reserved


def tag(text: str) -> tuple[str, str]:
    """`KEY=VALUE`; the value may be empty and may hold `=`. A `type` of argparse."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no tag: KEY=VALUE")
    return _key(name, allowed=not is_reserved(name)), _bounded(value, MAX_VALUE_LENGTH, "a tag's value")


def tag_key(text: str) -> str:
    """The key of a tag that is to go; a `type` of argparse."""
    return _key(text, allowed=is_removable(text))


def _key(text: str, *, allowed: bool) -> str:
    if not text:
        raise argparse.ArgumentTypeError("a tag's key is empty")
    if not allowed:
        raise argparse.ArgumentTypeError(f"tag keys that begin with aws: are AWS's own, as {text!r}")
    return _bounded(text, MAX_KEY_LENGTH, "a tag's key")


def filter_values(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=VALUE,VALUE`: a filter as EC2's DescribeSnapshots takes it. A `type` of argparse."""
    name, equals, values = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no filter: NAME=VALUE,VALUE, such as status=completed")
    return name, tuple(values.split(","))


def _bounded(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise argparse.ArgumentTypeError(f"{what} has at most {most} characters, not {len(text)}")
    return text
