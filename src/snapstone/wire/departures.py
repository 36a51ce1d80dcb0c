"""Where the live EBS service differs from its published model: one table, applied to the compiled operations.

Each row comes from observed answers of the real service, or is a stated choice where it is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from snapstone.wire.models import Member, Operation, Shape, compile_pattern

_TOKEN_PATTERN = "^[A-Za-z0-9+/=_-]+$"

PATTERNS: Final = {
    ("ListSnapshotBlocks", "NextToken"): _TOKEN_PATTERN,
    ("ListChangedBlocks", "NextToken"): _TOKEN_PATTERN,
    ("GetSnapshotBlock", "BlockToken"): _TOKEN_PATTERN,
}
"""Tokens: the live service's pattern also takes `_` and `-`."""

UNCONSTRAINED: Final = frozenset({("PutSnapshotBlock", "ChecksumAlgorithm")})
"""Checked by the operation itself, whose answer is INVALID_PARAMETER_VALUE and not a constraint fault."""

REQUIRED: Final = frozenset({("StartSnapshot", "Tags", "Key")})
"""Members of a list's items that the model leaves optional and no tag can do without."""

EMPTY_MEANS_ABSENT: Final = frozenset({("ListChangedBlocks", "FirstSnapshotId")})
"""An empty text is treated like a member that was not sent; the operation has its own answer for that."""

EXTRA_NULL_OUTPUTS: Final = {"ListChangedBlocks": ("LastEvaluatedBlockIndex",)}
"""Output members that are on the wire, always null, and in no model."""


def with_departures(operations: Mapping[str, Operation]) -> dict[str, Operation]:
    """The operations as the live service has them."""
    return {name: replace(it, inputs=tuple(_member(name, m) for m in it.inputs)) for name, it in operations.items()}


def _member(operation_name: str, member: Member) -> Member:
    place = (operation_name, member.name)
    if place in UNCONSTRAINED:
        return replace(member, shape=Shape(member.shape.type))
    if place in PATTERNS:
        text = PATTERNS[place]
        return replace(member, shape=replace(member.shape, pattern_text=text, pattern=compile_pattern(text)))
    if member.shape.item is not None:
        item = member.shape.item
        members = tuple(replace(m, required=m.required or (*place, m.name) in REQUIRED) for m in item.members)
        return replace(member, shape=replace(member.shape, item=replace(item, members=members)))
    return member
