"""Ids checked and answers cut into pages: what the Describe and List operations of protection have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from snapstone.core.errors import (
    InvalidPageTokenError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedSnapshotIdError,
)
from snapstone.core.ids import SnapshotId, is_minted_snapshot_id
from snapstone.core.tokens import PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import Engine

MIN_RESULTS: Final = 5
MAX_RESULTS: Final = 1_000
"""A larger MaxResults is cut to this."""

Item = TypeVar("Item")


def require_ids(snapshot_ids: Sequence[str] | None) -> set[SnapshotId] | None:
    """The ids as a set, None where none were given. Raises InvalidParameterError and MalformedSnapshotIdError."""
    for snapshot_id in snapshot_ids or ():
        if not snapshot_id.startswith("snap-"):
            raise InvalidParameterError(f'Invalid id: "{snapshot_id}" (expecting "snap-...")')
        if not is_minted_snapshot_id(snapshot_id):
            raise MalformedSnapshotIdError(snapshot_id)
    return {SnapshotId(each) for each in snapshot_ids} if snapshot_ids else None


def check_page_size(max_results: int | None, snapshot_ids: Sequence[str] | None = None) -> None:
    """Raises InvalidParameterError and InvalidParameterCombinationError."""
    if max_results is None:
        return
    if snapshot_ids:
        raise InvalidParameterCombinationError("The parameter SnapshotIds cannot be used with the parameter MaxResults")
    if max_results < MIN_RESULTS:
        raise InvalidParameterError(
            f"Value ( {max_results} ) for parameter maxResults is invalid. Expecting at least {MIN_RESULTS}."
        )


def page_of(
    engine: Engine,
    call: tuple[str, ...],
    items: Sequence[Item],
    place: Callable[[Item], tuple[int, str]],
    max_results: int | None,
    next_token: str | None,
) -> tuple[Sequence[Item], str | None]:
    """One page of `items`, which ascend by `place`, and the token of the next; all where MaxResults is not given.

    A token stands for the place to go on with, a moment and an id, not for a count. Raises InvalidPageTokenError.
    """
    now_seconds = engine.now_ms() // 1000
    if next_token is not None:
        name, _, sealed = next_token.partition("x")
        moment = engine.tokens.open_page_token(sealed, (*call, name), now_seconds)
        start = (moment, _unhex(name, next_token))
        items = [item for item in items if place(item) >= start]
    size = len(items) if max_results is None else min(max_results, MAX_RESULTS)
    if len(items) <= size:
        return items, None
    moment, text = place(items[size])
    name = text.encode().hex()
    token = engine.tokens.page_token((*call, name), moment, now_seconds + PAGE_TOKEN_LIFE_SECONDS)
    return items[:size], f"{name}x{token}"


def _unhex(name: str, token: str) -> str:
    try:
        return bytes.fromhex(name).decode()
    except ValueError:
        raise InvalidPageTokenError(token) from None
