"""DescribeTags: the tags of the caller's snapshots in a region, one entry for each.

Source: docs/aws-behaviour/snapshots.md, TAG-7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from snapstone.catalog.sharing_rows import OwnTag, Place
from snapstone.core.errors import DryRunPassedError
from snapstone.core.ids import SnapshotId
from snapstone.service.ec2.filters import Facts, Filter, matcher
from snapstone.service.ec2.pages import MAX_RESULTS, check_page_size
from snapstone.service.engine import Caller, Engine
from snapstone.service.page_tokens import open_place, place_token

UNPAGED_LIMIT: Final = 100_000
"""Tags in the answer to a call without MaxResults, which is to have all; past it there is a token."""

ROWS_AT_ONCE: Final = 1_000
"""Rows that one statement reads."""

RESOURCE_TYPE: Final = "snapshot"

Answer = dict[str, object]
Start = tuple[Place, str]


def describe_tags(
    engine: Engine,
    caller: Caller,
    *,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """Ordered by the snapshots' start time and id, then by key; without MaxResults all of them."""
    check_page_size(max_results)
    matches = _matcher(filters or ())
    if dry_run:
        raise DryRunPassedError
    call = ("DescribeTags", caller.account_id, caller.region, repr(filters))
    start = None if next_token is None else _start(open_place(engine, call, next_token))
    size = UNPAGED_LIMIT if max_results is None else min(max_results, MAX_RESULTS)
    page = list(islice(filter(matches, _tags(engine, caller, start)), size + 1))
    answer: Answer = {"Tags": [_item(tag) for tag in page[:size]]}
    if len(page) > size:
        place = page[size].place
        answer["NextToken"] = place_token(engine, call, place.started_at_ms, f"{place.snapshot_id} {page[size].key}")
    return answer


def _matcher(filters: Sequence[Filter]) -> Callable[[OwnTag], bool]:
    """Here `tag:KEY` lets one entry through, not all of those that its snapshot has."""
    named: Facts[OwnTag] = {
        each["Name"]: _value_under(each["Name"].removeprefix("tag:"))
        for each in filters
        if each.get("Name", "").startswith("tag:")
    }
    return matcher(filters, {**_FACTS, **named})


def _value_under(key: str) -> Callable[[OwnTag], Iterable[str]]:
    return lambda tag: (tag.value,) if tag.key == key else ()


def _tags(engine: Engine, caller: Caller, start: Start | None) -> Iterator[OwnTag]:
    """Every tag from a place on, read as far as the iteration goes."""
    while True:
        rows = engine.catalog.tags(caller.account_id, caller.region, start, ROWS_AT_ONCE + 1)
        yield from rows[:ROWS_AT_ONCE]
        if len(rows) <= ROWS_AT_ONCE:
            return
        start = (rows[ROWS_AT_ONCE].place, rows[ROWS_AT_ONCE].key)


def _start(place: tuple[int, str]) -> Start:
    snapshot_id, _, key = place[1].partition(" ")
    return Place(place[0], SnapshotId(snapshot_id)), key


def _item(tag: OwnTag) -> Answer:
    return {
        "ResourceId": tag.place.snapshot_id,
        "ResourceType": RESOURCE_TYPE,
        "Key": tag.key,
        "Value": tag.value,
    }


_FACTS: Final[Facts[OwnTag]] = {
    "key": lambda tag: (tag.key,),
    "resource-id": lambda tag: (tag.place.snapshot_id,),
    "resource-type": lambda tag: (RESOURCE_TYPE,),
    "value": lambda tag: (tag.value,),
}
