"""CreateTags and DeleteTags, on all snapshots named or on none, and DescribeTags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from snapstone.catalog.contract.sharing import ListPosition, OwnTag, Tags
from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterError,
    InvalidTagKeyError,
    SnapshotNotFoundError,
    SnapstoneError,
    TagLimitError,
    UnknownResourceError,
)
from snapstone.core.ids import SnapshotId
from snapstone.core.tags import MAX_KEY_LENGTH, MAX_TAGS, MAX_VALUE_LENGTH, SentTags, TagProblem, TagRule
from snapstone.service.ec2.filters import Facts, Filter, check_page_size, matcher, require_ids
from snapstone.service.engine import Caller, Engine
from snapstone.service.paging import MAX_RESULTS, open_place, place_token
from snapstone.service.visibility import owned

MAX_RESOURCES: Final = 1_000
MAX_REMOVALS: Final = 1_000
"""Resources, and tags to delete, in one request."""

Answer = dict[str, object]


def _tag_error(problem: TagProblem, key: str) -> SnapstoneError:
    match problem:
        case TagProblem.KEY_EMPTY | TagProblem.KEY_TOO_LONG | TagProblem.CHARACTER:
            return InvalidTagKeyError(f"Tag keys have 1 to {MAX_KEY_LENGTH} characters")
        case TagProblem.RESERVED:
            return InvalidTagKeyError("Tag keys starting with 'aws:' are reserved for internal use")
        case TagProblem.VALUE_TOO_LONG:
            return InvalidParameterError(f"Tag value exceeds the maximum length of {MAX_VALUE_LENGTH} characters")
        case TagProblem.DUPLICATE:
            return InvalidParameterError(f"Duplicate tag key '{key}' specified.")
        case TagProblem.TOO_MANY_SENT | TagProblem.TOO_MANY_KEPT:
            return TagLimitError(MAX_TAGS)


TAG_RULE: Final = TagRule(_tag_error)


def create_tags(
    engine: Engine, caller: Caller, *, resources: Sequence[str], tags: SentTags, dry_run: bool = False
) -> Answer:
    """Give snapshots tags; a key that is there already gets the new value, a missing value is the empty text."""
    wanted = _require_resources(resources)
    given = TAG_RULE.sent(tags)
    if not given:
        raise InvalidParameterError("The request must contain at least one tag")
    if dry_run:
        raise DryRunPassedError

    _change(engine, caller, wanted, lambda present: TAG_RULE.added(present, given))
    return {}


def delete_tags(
    engine: Engine, caller: Caller, *, resources: Sequence[str], tags: SentTags | None = None, dry_run: bool = False
) -> Answer:
    """Take tags from snapshots: by key, by key and value if a value is sent (it may be empty), or all of them.

    Raises InvalidTagKeyError for AWS's own, `aws:`. A key that has that prefix in another case is a user's.
    """
    wanted = _require_resources(resources)
    if len(tags or ()) > MAX_REMOVALS:
        raise InvalidParameterError(f"A request can delete at most {MAX_REMOVALS} tags")
    removed = [(tag.get("Key", ""), tag.get("Value")) for tag in tags or ()]
    for key, _ in removed:
        TAG_RULE.require_key(key)
    whatever_value = {key for key, value in removed if value is None}
    exactly = {(key, value) for key, value in removed if value is not None}
    if dry_run:
        raise DryRunPassedError

    def remove(present: Tags) -> Tags:
        if not removed:
            return ()
        return tuple(tag for tag in present if tag[0] not in whatever_value and tag not in exactly)

    _change(engine, caller, wanted, remove)
    return {}


def _change(
    engine: Engine, caller: Caller, snapshot_ids: Collection[SnapshotId], change: Callable[[Tags], Tags]
) -> None:
    """Change the tags of the caller's snapshots. Raises SnapshotNotFoundError, and changes none, if one is not."""

    def changed(snapshot_id: SnapshotId, snapshot: Snapshot | None) -> Tags:
        if snapshot is None:
            raise SnapshotNotFoundError((snapshot_id,))
        return change(snapshot.tags)

    for snapshot_id in snapshot_ids:
        if owned(engine, caller, snapshot_id) is None:
            raise SnapshotNotFoundError((snapshot_id,))
    engine.catalog.change_tags(snapshot_ids, changed)


def _require_resources(resources: Sequence[str]) -> Collection[SnapshotId]:
    """Snapshot ids, each once. Raises UnknownResourceError, MalformedSnapshotIdError and InvalidParameterError."""
    for resource in resources:
        if not resource.startswith("snap-"):
            raise UnknownResourceError(resource)
    wanted = require_ids(resources)
    if wanted is None or len(wanted) > MAX_RESOURCES:
        raise InvalidParameterError(f"A request names 1 to {MAX_RESOURCES} resources")
    return sorted(wanted)


UNPAGED_LIMIT: Final = 100_000
"""Tags in the answer to a call without MaxResults, which is to have all; past it there is a token."""

ROWS_AT_ONCE: Final = 1_000
"""Rows that one statement reads."""

RESOURCE_TYPE: Final = "snapshot"

Start = tuple[ListPosition, str]


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
    """Every tag from a place on, read lazily."""
    while True:
        rows = engine.catalog.tags(caller.account_id, caller.region, start, ROWS_AT_ONCE + 1)
        yield from rows[:ROWS_AT_ONCE]
        if len(rows) <= ROWS_AT_ONCE:
            return
        start = (rows[ROWS_AT_ONCE].place, rows[ROWS_AT_ONCE].key)


def _start(place: tuple[int, str]) -> Start:
    snapshot_id, _, key = place[1].partition(" ")
    return ListPosition(place[0], SnapshotId(snapshot_id)), key


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
