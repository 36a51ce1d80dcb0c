"""Rules for injected faults, as a file has them: which calls are hit, and by what."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Final

from snapstone.server.fault_errors import ERRORS, SHORT_NAMES

MOST_RULES: Final = 100
MOST_LATENCY_MS: Final = 60_000
MOST_COUNT: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Rule:
    """Which calls are hit, and by what: a delay, then an error or a cut."""

    operation: str = "*"
    """`service:Operation`, with `*` and `?`."""
    rate: float = 1.0
    """Part of the calls that are hit."""
    every: int = 1
    """Only every Nth of the calls that match."""
    first: int = MOST_COUNT
    """Only the first N calls that match."""
    latency_ms: int = 0
    jitter_ms: int = 0
    """Up to so much is added to the delay."""
    error: str | None = None
    """One of `fault_errors.ERRORS`."""
    cut_after: int | None = None
    """Bytes of the answer's body after which the connection is cut."""
    seed: int | None = None


_BOUNDS: Final = {
    "every": (1, MOST_COUNT),
    "first": (1, MOST_COUNT),
    "latency_ms": (0, MOST_LATENCY_MS),
    "jitter_ms": (0, MOST_LATENCY_MS),
    "cut_after": (0, MOST_COUNT),
    "seed": (0, MOST_COUNT),
}


def parse_rules(text: str) -> list[Rule]:
    """Rules from a JSON list of objects with the fields of Rule. Raises ValueError."""
    document = json.loads(text)
    if not isinstance(document, list) or len(document) > MOST_RULES:
        raise ValueError(f"a list of at most {MOST_RULES} rules")
    return [_parse_rule(entry) for entry in document]


def _parse_rule(entry: object) -> Rule:
    names = {option.name for option in fields(Rule)}
    if not isinstance(entry, dict) or not entry.keys() <= names:
        raise ValueError(f"a rule is an object with some of {', '.join(sorted(names))}")
    for name, (least, most) in _BOUNDS.items():
        if name in entry and (type(entry[name]) is not int or not least <= entry[name] <= most):
            raise ValueError(f"{name} is a whole number from {least} to {most}")
    if "error" in entry and not (isinstance(entry["error"], str) and entry["error"] in ERRORS):
        raise ValueError(f"error is one of {', '.join(SHORT_NAMES)}, or AWS's name of one of them")
    if "rate" in entry and (type(entry["rate"]) not in (int, float) or not 0 <= entry["rate"] <= 1):
        raise ValueError("rate is a number from 0 to 1")
    if "operation" in entry and type(entry["operation"]) is not str:
        raise ValueError("operation is text such as ebs:Get*")
    return Rule(**entry)
