"""What one check of `snapstone doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    """Some commands will not work, or not well."""
    FAIL = "fail"
    """Nothing will work."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    health: Health
    check: str
    """One or two words."""
    words: str
    advice: str = ""
    """What to do about it; empty where nothing is to be done."""


def ok(check: str, words: str) -> Finding:
    """All is well."""
    return Finding(Health.OK, check, words)


def warn(check: str, words: str, advice: str) -> Finding:
    """Some commands will not work, or not well."""
    return Finding(Health.WARN, check, words, advice)


def fail(check: str, words: str, advice: str) -> Finding:
    """Nothing will work."""
    return Finding(Health.FAIL, check, words, advice)
