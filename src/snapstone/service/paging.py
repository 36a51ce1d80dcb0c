"""Pages of lists that EC2, the recycle bin and KMS cut, and their tokens.

A token holds the name of the next entry, not for a count: entries that come and go between two pages cause no
other to be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, TypeVar

from snapstone.core.errors import InvalidMarkerError, InvalidPageTokenError
from snapstone.core.tokens import PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import Caller, Engine

MAX_RESULTS: Final = 1_000
"""A larger MaxResults of EC2 and the recycle bin is cut to this."""

KMS_DEFAULT_LIMIT: Final = 100
"""Entries of a page of KMS without Limit."""

Item = TypeVar("Item")

Call = tuple[str, ...]
"""The operation, and all arguments that define what is listed: tokens of other calls are refused."""


def place_token(engine: Engine, call: Call, moment_ms: int, text: str) -> str:
    """The token that resumes a list at a place. Letters and digits only."""
    name = text.encode().hex()
    expires_at_seconds = engine.now_ms() // 1000 + PAGE_TOKEN_LIFE_SECONDS
    return f"{name}x{engine.tokens.page_token((*call, name), moment_ms, expires_at_seconds)}"


def open_place(engine: Engine, call: Call, token: str) -> tuple[int, str]:
    """The place in a token, in milliseconds and text. Raises InvalidPageTokenError."""
    name, _, sealed = token.partition("x")
    try:
        moment_ms = engine.tokens.open_page_token(sealed, (*call, name), engine.now_ms() // 1000)
    except InvalidPageTokenError:
        raise InvalidPageTokenError(token) from None
    return moment_ms, bytes.fromhex(name).decode()


def page_of(
    engine: Engine,
    call: Call,
    items: Sequence[Item],
    place: Callable[[Item], tuple[int, str]],
    max_results: int | None,
    next_token: str | None,
) -> tuple[Sequence[Item], str | None]:
    """One page of `items`, which ascend by `place`, and the token of the next; all of them without MaxResults.

    Raises InvalidPageTokenError.
    """
    if next_token is not None:
        start = open_place(engine, call, next_token)
        items = [item for item in items if place(item) >= start]
    size = len(items) if max_results is None else min(max_results, MAX_RESULTS)
    if len(items) <= size:
        return items, None
    return items[:size], place_token(engine, call, *place(items[size]))


def kms_page(
    engine: Engine,
    caller: Caller,
    operation: str,
    member: str,
    entries: Iterable[Item],
    name: Callable[[Item], str],
    shown: Callable[[Item], object],
    limit: int | None,
    marker: str | None,
) -> dict[str, object]:
    """The answer of KMS with one page of `entries`, in order of their names (Limit, Marker, NextMarker, Truncated).

    Raises InvalidMarkerError.
    """
    call = (operation, caller.account_id, caller.region)
    start = "" if marker is None else _opened(engine, call, marker)
    left = iter(sorted((entry for entry in entries if name(entry) >= start), key=name))
    page, following = list(islice(left, limit or KMS_DEFAULT_LIMIT)), next(left, None)
    answer: dict[str, object] = {member: [shown(entry) for entry in page], "Truncated": following is not None}
    if following is not None:
        answer["NextMarker"] = place_token(engine, call, 0, name(following))
    return answer


def _opened(engine: Engine, call: Call, marker: str) -> str:
    try:
        return open_place(engine, call, marker)[1]
    except InvalidPageTokenError:
        raise InvalidMarkerError from None
