"""DescribeSnapshots and DeleteSnapshot, and how EC2 shows a snapshot.

Described is what the caller owns, what is shared with it, and what is public.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID

from snapstone.catalog.contract.sharing import ListPosition, SnapshotScope
from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState
from snapstone.core.blocks import BLOCK_SIZE
from snapstone.core.errors import DryRunPassedError, SnapshotNotFoundError
from snapstone.core.ids import DIRECT_VOLUME_ID, AccountId, SnapshotId
from snapstone.service.ec2.filters import Facts, Filter, check_page_size, matcher, require_account_ids, require_ids
from snapstone.service.engine import Caller, Engine
from snapstone.service.paging import MAX_RESULTS, open_place, place_token
from snapstone.service.snapshots.deletion import delete
from snapstone.service.visibility import EVERYBODY, is_public, owned, visible


def delete_snapshot(engine: Engine, caller: Caller, *, snapshot_id: str, dry_run: bool = False) -> dict[str, object]:
    """Delete a snapshot in any state. Its children keep every block."""
    require_ids((snapshot_id,))
    if dry_run:
        raise DryRunPassedError
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is None or not delete(engine, snapshot.snapshot_id):
        raise SnapshotNotFoundError((snapshot_id,))
    return {}


def snapshot_item(snapshot: Snapshot, reader: AccountId) -> dict[str, object]:
    """One snapshot as an account sees it (docs/aws-behaviour/snapshots.md, DESC)."""
    completed = snapshot.state is SnapshotState.COMPLETED
    return {
        "SnapshotId": snapshot.snapshot_id,
        "VolumeId": DIRECT_VOLUME_ID,
        "State": shown_state(snapshot),
        "StateMessage": snapshot.state_message,
        "StartTime": snapshot.started_at_ms,
        "CompletionTime": snapshot.completed_at_ms,
        "Progress": _progress(snapshot),
        "OwnerId": snapshot.account_id,
        "Description": snapshot.description or "",
        "VolumeSize": snapshot.volume_size_gib,
        "Encrypted": snapshot.kms_key_arn is not None,
        "KmsKeyId": snapshot.kms_key_arn,
        "DataEncryptionKeyId": None if snapshot.data_key_id is None else str(UUID(bytes=snapshot.data_key_id)),
        "StorageTier": snapshot.tiering.tier.value,
        "RestoreExpiryTime": snapshot.tiering.restore_expires_at_ms,
        "FullSnapshotSizeInBytes": snapshot.block_count * BLOCK_SIZE if completed else None,
        "TransferType": _transfer_type(snapshot),
        "Tags": [{"Key": key, "Value": value} for key, value in shown_tags(snapshot, reader)] or None,
    }


def shown_tags(snapshot: Snapshot, reader: AccountId) -> tuple[tuple[str, str], ...]:
    """Tags are the owner's alone: those with whom a snapshot is shared do not see them."""
    return snapshot.tags if snapshot.account_id == reader else ()


def shown_state(snapshot: Snapshot) -> str:
    """A sealing snapshot is shown as pending."""
    return "pending" if snapshot.state is SnapshotState.SEALING else snapshot.state.value


def _progress(snapshot: Snapshot) -> str:
    """`0%` until completed, whatever x-amz-Progress said."""
    return "100%" if snapshot.state is SnapshotState.COMPLETED else "0%"


def _transfer_type(snapshot: Snapshot) -> str | None:
    return None if snapshot.copied_from is None else "standard"


def _start_time(snapshot: Snapshot) -> str:
    moment = datetime.fromtimestamp(snapshot.started_at_ms // 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{snapshot.started_at_ms % 1000:03d}Z"


def _only(text: Callable[[Snapshot], str | None]) -> Callable[[Snapshot], Sequence[str]]:
    """The one text of a fact, or none."""

    def texts(snapshot: Snapshot) -> Sequence[str]:
        value = text(snapshot)
        return () if value is None else (value,)

    return texts


SNAPSHOT_FACTS: Final[Facts[Snapshot]] = {
    "description": _only(lambda snapshot: snapshot.description or ""),
    "encrypted": _only(lambda snapshot: "false" if snapshot.kms_key_arn is None else "true"),
    "owner-alias": _only(lambda snapshot: None),
    "owner-id": _only(lambda snapshot: snapshot.account_id),
    "progress": _only(_progress),
    "snapshot-id": _only(lambda snapshot: snapshot.snapshot_id),
    "start-time": _only(_start_time),
    "status": _only(shown_state),
    "storage-tier": _only(lambda snapshot: snapshot.tiering.tier.value),
    "transfer-type": _only(_transfer_type),
    "volume-id": _only(lambda snapshot: DIRECT_VOLUME_ID),
    "volume-size": _only(lambda snapshot: str(snapshot.volume_size_gib)),
}
"""The filters of DescribeSnapshots, but for those on tags."""


UNPAGED_LIMIT: Final = 100_000
"""Snapshots in the answer to a call without MaxResults, which is to have all; past it there is a token."""

ROWS_AT_ONCE: Final = 1_000
"""Rows that one statement reads at most."""

Answer = dict[str, object]
Test = Callable[[Snapshot], bool]


def describe_snapshots(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_ids: Sequence[str] | None = None,
    owner_ids: Sequence[str] | None = None,
    restorable_by_user_ids: Sequence[str] | None = None,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """The snapshots that the caller sees in a region, ordered by start time, then id; without MaxResults all of them.

    An id that does not exist and one that the caller does not see are the same error. Tests of owner, reader and
    filters leave out; that is not an error.
    """
    wanted = require_ids(snapshot_ids)
    check_page_size(max_results, snapshot_ids)
    require_account_ids(owner_ids or (), ("self", "amazon", "aws-marketplace"))
    require_account_ids(restorable_by_user_ids or (), ("self", EVERYBODY))
    owners = _resolved(caller, owner_ids)
    readers = _resolved(caller, restorable_by_user_ids)
    tests = _tests(engine, caller, owners, readers, filters or ())
    if dry_run:
        raise DryRunPassedError
    if wanted is not None:
        found = sorted((_require_visible(engine, caller, each) for each in sorted(wanted)), key=_place)
        return {"Snapshots": _items(caller, [each for each in found if all(test(each) for test in tests)])}
    call = (
        "DescribeSnapshots",
        caller.account_id,
        caller.region,
        repr((owner_ids, restorable_by_user_ids, filters)),
    )
    start = None if next_token is None else _start(open_place(engine, call, next_token))
    size = UNPAGED_LIMIT if max_results is None else min(max_results, MAX_RESULTS)
    reaches = _reaches(caller, owners, readers)
    candidates = _candidates(engine, caller, reaches, start, min(size + 1, ROWS_AT_ONCE))
    page = list(islice((each for each in candidates if all(test(each) for test in tests)), size + 1))
    answer: Answer = {"Snapshots": _items(caller, page[:size])}
    if len(page) > size:
        answer["NextToken"] = place_token(engine, call, page[size].started_at_ms, page[size].snapshot_id)
    return answer


def _require_visible(engine: Engine, caller: Caller, snapshot_id: SnapshotId) -> Snapshot:
    snapshot = visible(engine, caller, snapshot_id)
    if snapshot is None:
        raise SnapshotNotFoundError((snapshot_id,))
    return snapshot


def _resolved(caller: Caller, account_ids: Sequence[str] | None) -> frozenset[str]:
    """With the caller's account id in place of `self`."""
    return frozenset(caller.account_id if each == "self" else each for each in account_ids or ())


def _reaches(caller: Caller, owners: frozenset[str], readers: frozenset[str]) -> list[SnapshotScope]:
    """Where to look: no more than the tests of owner and reader could let through."""
    of_others = not owners or owners != {caller.account_id}
    places = {
        SnapshotScope.OWN: not owners or caller.account_id in owners,
        SnapshotScope.SHARED: of_others and (not readers or caller.account_id in readers),
        SnapshotScope.PUBLIC: of_others and (not readers or EVERYBODY in readers),
    }
    return [reach for reach, is_needed in places.items() if is_needed]


def _tests(
    engine: Engine, caller: Caller, owners: frozenset[str], readers: frozenset[str], filters: Sequence[Filter]
) -> list[Test]:
    """The conditions for a snapshot that the caller can see. Raises InvalidParameterError and FilterLimitError."""
    tests: list[Test] = []
    if owners:
        tests.append(lambda snapshot: snapshot.account_id in owners)
    if readers:
        tests.append(lambda snapshot: any(_is_restorable(engine, caller, snapshot, each) for each in readers))
    if filters:
        tests.append(matcher(filters, SNAPSHOT_FACTS, lambda snapshot: shown_tags(snapshot, caller.account_id)))
    return tests


def _is_restorable(engine: Engine, caller: Caller, snapshot: Snapshot, reader: str) -> bool:
    """By everybody: if public. By the caller: if owned, or shared explicitly. By others: shown only to the owner."""
    if reader == EVERYBODY:
        return is_public(engine, snapshot)
    if snapshot.account_id == caller.account_id:
        return reader == caller.account_id or reader in snapshot.shared_with
    return reader == caller.account_id and reader in snapshot.shared_with


def _candidates(
    engine: Engine, caller: Caller, reaches: Sequence[SnapshotScope], start: ListPosition | None, count: int
) -> Iterator[Snapshot]:
    """Every snapshot within reach from a place on, read lazily: `count` at first, then more."""
    while True:
        rows = engine.catalog.visible_snapshots(caller.account_id, caller.region, reaches, start, count + 1)
        yield from rows[:count]
        if len(rows) <= count:
            return
        start, count = _place(rows[count]), min(2 * count, ROWS_AT_ONCE)


def _place(snapshot: Snapshot) -> ListPosition:
    return ListPosition(snapshot.started_at_ms, snapshot.snapshot_id)


def _start(place: tuple[int, str]) -> ListPosition:
    return ListPosition(place[0], SnapshotId(place[1]))


def _items(caller: Caller, snapshots: Sequence[Snapshot]) -> list[Answer]:
    reader: AccountId = caller.account_id
    return [snapshot_item(snapshot, reader) for snapshot in snapshots]
