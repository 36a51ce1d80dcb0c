"""Tokens of lists that are resumed at a place, and pages of KMS's lists (Limit, Marker, NextMarker, Truncated).

A token stands for the name of the next entry, not for a count: entries that come and go between two pages cause no
other to be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

from snapstone.core.errors import InvalidMarkerError, InvalidPageTokenError
from snapstone.core.tokens import PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import Caller, Engine

Call = tuple[str, ...]
"""The operation, and all arguments that say what is listed: a token of another call is none of this one's."""


def place_token(engine: Engine, call: Call, moment_ms: int, text: str) -> str:
    """The token to go on with at a place. Letters and digits only."""
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


DEFAULT_LIMIT: Final = 100

Entry = TypeVar("Entry")


def one_page(
    engine: Engine,
    caller: Caller,
    operation: str,
    member: str,
    entries: Iterable[Entry],
    name: Callable[[Entry], str],
    shown: Callable[[Entry], object],
    limit: int | None,
    marker: str | None,
) -> dict[str, object]:
    """The answer with one page of `entries`, in order of their names. Raises InvalidMarkerError."""
    call = (operation, caller.account_id, caller.region)
    start = "" if marker is None else _opened(engine, call, marker)
    left = iter(sorted((entry for entry in entries if name(entry) >= start), key=name))
    page, following = list(islice(left, limit or DEFAULT_LIMIT)), next(left, None)
    answer: dict[str, object] = {member: [shown(entry) for entry in page], "Truncated": following is not None}
    if following is not None:
        answer["NextMarker"] = place_token(engine, call, 0, name(following))
    return answer


def _opened(engine: Engine, call: tuple[str, ...], marker: str) -> str:
    try:
        return open_place(engine, call, marker)[1]
    except InvalidPageTokenError:
        raise InvalidMarkerError from None
