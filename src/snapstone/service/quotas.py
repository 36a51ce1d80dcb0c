"""How often an account may call each operation in a region, and how often one snapshot may be read or written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from snapstone.core.token_bucket import Rate

MOST_PER_SECOND: Final = 1_000_000
MOST_PENDING: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Quotas:
    """Rates by `service:Operation`; what is not named is not limited."""

    of_account: Mapping[str, Rate] = field(default_factory=dict)
    of_snapshot: Mapping[str, Rate] = field(default_factory=dict)
    pending_snapshots: int | None = None
    """Of an account in a region at once."""


AWS_QUOTAS: Final = Quotas(
    of_account={
        "ebs:GetSnapshotBlock": Rate(1000, 1000),
        "ebs:PutSnapshotBlock": Rate(1000, 1000),
        "ebs:ListSnapshotBlocks": Rate(50, 50),
        "ebs:ListChangedBlocks": Rate(50, 50),
        "ebs:StartSnapshot": Rate(10, 10),
        "ebs:CompleteSnapshot": Rate(10, 10),
    },
    of_snapshot={"ebs:GetSnapshotBlock": Rate(1000, 1000), "ebs:PutSnapshotBlock": Rate(1000, 1000)},
    pending_snapshots=100,
)
"""By default (docs/aws-behaviour/throttling-and-quotas.md, RATE-1). Bursts are not documented: one second's worth."""


def parse_quotas(text: str) -> Quotas:
    """AWS's quotas with overrides, from JSON such as `{"account": {"ebs:StartSnapshot": {"rate": 2, "burst": 4}}}`.

    `account`, `snapshot` and `pending_snapshots` (a number) are optional; null takes a limit away; `burst` is one
    second's worth if left out.
    Raises ValueError, which says what is allowed.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"JSON: {error}") from None
    if not isinstance(document, dict) or not document.keys() <= {"account", "snapshot", "pending_snapshots"}:
        raise ValueError('an object with some of "account", "snapshot" and "pending_snapshots"')
    return Quotas(
        _overridden(AWS_QUOTAS.of_account, document.get("account", {})),
        _overridden(AWS_QUOTAS.of_snapshot, document.get("snapshot", {})),
        _pending(document.get("pending_snapshots", AWS_QUOTAS.pending_snapshots)),
    )


def _pending(limit: object) -> int | None:
    if limit is None or (type(limit) is int and 0 <= limit <= MOST_PENDING):
        return limit
    raise ValueError(f"pending_snapshots is a whole number up to {MOST_PENDING}, or null")


def _overridden(defaults: Mapping[str, Rate], overrides: object) -> dict[str, Rate]:
    if not isinstance(overrides, dict):
        raise ValueError("an object of rates by service:Operation")
    rates = dict(defaults)
    for name, limits in overrides.items():
        service, colon, operation = name.partition(":")
        if not (service and colon and operation):
            raise ValueError(f"named by service:Operation, as ebs:StartSnapshot is: {name!r}")
        if limits is None:
            rates.pop(name, None)
        else:
            rates[name] = _rate(name, limits)
    return rates


def _rate(name: str, limits: object) -> Rate:
    if not isinstance(limits, dict) or not {"rate"} <= limits.keys() <= {"rate", "burst"}:
        raise ValueError(f'an object with "rate" and perhaps "burst" for {name}')
    rate = limits["rate"]
    if type(rate) not in (int, float) or not 0 < rate <= MOST_PER_SECOND:
        raise ValueError(f"a rate above 0, up to {MOST_PER_SECOND} a second, for {name}")
    burst = limits.get("burst", math.ceil(rate))
    if type(burst) is not int or not 1 <= burst <= MOST_PER_SECOND:
        raise ValueError(f"a burst from 1 to {MOST_PER_SECOND} for {name}")
    return Rate(rate, burst)
