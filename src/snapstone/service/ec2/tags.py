"""CreateTags and DeleteTags, on snapshots: of all resources named or of none (docs/aws-behaviour/snapshots.md, TAG)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from snapstone.catalog.rows import Snapshot
from snapstone.catalog.sharing_contract import Tags
from snapstone.core.errors import DryRunPassedError, InvalidParameterError, SnapshotNotFoundError
from snapstone.core.ids import SnapshotId
from snapstone.core.sharing_errors import InvalidTagKeyError, TagLimitError, UnknownResourceError
from snapstone.service.ec2.pages import require_ids
from snapstone.service.engine import Caller, Engine
from snapstone.service.visibility import owned

MAX_TAGS: Final = 50
"""Tags of one resource."""

MAX_RESOURCES: Final = 1_000
MAX_REMOVALS: Final = 1_000
"""Resources, and tags to delete, in one request."""

MAX_KEY_LENGTH: Final = 128
MAX_VALUE_LENGTH: Final = 256
"""In characters."""

RESERVED_PREFIX: Final = "aws:"

Answer = dict[str, object]
SentTags = Sequence[Mapping[str, str]]
"""`Key`, and `Value` where one was sent."""


def create_tags(
    engine: Engine, caller: Caller, *, resources: Sequence[str], tags: SentTags, dry_run: bool = False
) -> Answer:
    """Give snapshots tags; a key that is there already gets the new value, a missing value is the empty text."""
    wanted = _require_resources(resources)
    given = check_tags(tags)
    if not given:
        raise InvalidParameterError("The request must contain at least one tag")
    if dry_run:
        raise DryRunPassedError

    def add(present: Tags) -> Tags:
        merged = dict(present) | dict(given)
        if len(merged) > MAX_TAGS:
            raise TagLimitError(MAX_TAGS)
        return tuple(merged.items())

    _change(engine, caller, wanted, add)
    return {}


def delete_tags(
    engine: Engine, caller: Caller, *, resources: Sequence[str], tags: SentTags | None = None, dry_run: bool = False
) -> Answer:
    """Take tags from snapshots: by key, by key and value where a value is sent (it may be empty), or all of them."""
    wanted = _require_resources(resources)
    if len(tags or ()) > MAX_REMOVALS:
        raise InvalidParameterError(f"A request can delete at most {MAX_REMOVALS} tags")
    removed = [(_require_key(tag.get("Key", "")), tag.get("Value")) for tag in tags or ()]
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
    """Change the tags of the caller's snapshots. Raises SnapshotNotFoundError, and changes none, where one is not."""

    def changed(snapshot_id: SnapshotId, snapshot: Snapshot | None) -> Tags:
        if snapshot is None:
            raise SnapshotNotFoundError((snapshot_id,))
        return change(snapshot.tags)

    for snapshot_id in snapshot_ids:
        if owned(engine, caller, snapshot_id) is None:
            raise SnapshotNotFoundError((snapshot_id,))
    engine.catalog.change_tags(snapshot_ids, changed)


def check_tags(tags: SentTags) -> Tags:
    """The tags of a request, for one resource.

    Raises InvalidTagKeyError, InvalidParameterError, and TagLimitError where they are too many by themselves.
    """
    if len(tags) > MAX_TAGS:
        raise TagLimitError(MAX_TAGS)
    given = [(_require_key(tag.get("Key", "")), _require_value(tag.get("Value", ""))) for tag in tags]
    keys = [key for key, _ in given]
    for key in keys:
        if keys.count(key) > 1:
            raise InvalidParameterError(f"Duplicate tag key '{key}' specified.")
    return tuple(given)


def _require_key(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise InvalidTagKeyError(f"Tag keys have 1 to {MAX_KEY_LENGTH} characters")
    if key.lower().startswith(RESERVED_PREFIX):
        raise InvalidTagKeyError("Tag keys starting with 'aws:' are reserved for internal use")
    return key


def _require_value(value: str) -> str:
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidParameterError(f"Tag value exceeds the maximum length of {MAX_VALUE_LENGTH} characters")
    return value


def _require_resources(resources: Sequence[str]) -> Collection[SnapshotId]:
    """Snapshot ids, each once. Raises UnknownResourceError, MalformedSnapshotIdError and InvalidParameterError."""
    for resource in resources:
        if not resource.startswith("snap-"):
            raise UnknownResourceError(resource)
    wanted = require_ids(resources)
    if wanted is None or len(wanted) > MAX_RESOURCES:
        raise InvalidParameterError(f"A request names 1 to {MAX_RESOURCES} resources")
    return sorted(wanted)
