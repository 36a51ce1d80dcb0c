"""Pages of KMS's lists: Limit and Marker in, NextMarker and Truncated out.

A marker stands for the name of the entry to go on with, not for a count: what comes and goes between two pages makes
none of the others be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

from snapstone.core.errors import InvalidPageTokenError
from snapstone.core.key_errors import InvalidMarkerError
from snapstone.service.engine import Caller, Engine
from snapstone.service.page_tokens import open_place, place_token

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
