"""Pages of KMS's lists: Limit and Marker in, NextMarker and Truncated out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from snapstone.core.errors import InvalidPageTokenError
from snapstone.core.key_errors import InvalidMarkerError
from snapstone.core.tokens import PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import Caller, Engine

DEFAULT_LIMIT: Final = 100

Entry = TypeVar("Entry")


def one_page(
    engine: Engine,
    caller: Caller,
    operation: str,
    member: str,
    entries: Sequence[Entry],
    shown: Callable[[Entry], object],
    limit: int | None,
    marker: str | None,
) -> dict[str, object]:
    """The answer with one page of `entries`, which stand in a lasting order. Raises InvalidMarkerError."""
    call = (operation, caller.account_id, caller.region)
    now_seconds = engine.now_ms() // 1000
    start = 0
    if marker is not None:
        try:
            start = engine.tokens.open_page_token(marker, call, now_seconds)
        except InvalidPageTokenError:
            raise InvalidMarkerError from None
    end = start + (limit or DEFAULT_LIMIT)
    answer: dict[str, object] = {
        member: [shown(entry) for entry in entries[start:end]],
        "Truncated": end < len(entries),
    }
    if end < len(entries):
        answer["NextMarker"] = engine.tokens.page_token(call, end, now_seconds + PAGE_TOKEN_LIFE_SECONDS)
    return answer
