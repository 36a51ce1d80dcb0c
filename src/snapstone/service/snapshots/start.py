"""StartSnapshot: one row in the catalog, and with a client token the answer that every repetition gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from snapstone.catalog.contract.catalog import ParentGoneError, PendingLimitError
from snapstone.catalog.contract.snapshots import Snapshot, SnapshotState, StoredAnswer
from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.blocks import BLOCK_SIZE, MAX_VOLUME_SIZE_GIB
from snapstone.core.errors import (
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidTagError,
    InvalidVolumeSizeError,
    PendingSnapshotLimitError,
)
from snapstone.core.ids import SNAPSHOT_ID_RANDOM_SIZE, mint_snapshot_id
from snapstone.core.tags import MAX_TAGS, Pair, SentTags, TagProblem, TagRule
from snapstone.service.engine import Caller, Engine
from snapstone.service.snapshots.encryption import data_key_for_new, key_for_new
from snapstone.service.visibility import require_parent

DEFAULT_TIMEOUT_MINUTES: Final = 60

Answer = dict[str, object]


def _tag_error(problem: TagProblem, key: str) -> InvalidTagError:
    match problem:
        case TagProblem.RESERVED:
            return InvalidTagError(f"Tag keys starting with 'aws:' are reserved: {key}")
        case TagProblem.DUPLICATE:
            return InvalidTagError(f"Duplicate tag key: {key}")
        case TagProblem.TOO_MANY_SENT | TagProblem.TOO_MANY_KEPT:
            return InvalidTagError(f"A snapshot takes at most {MAX_TAGS} tags")
        case _:
            return InvalidTagError(f"Tag keys have 1 to 127 characters and values at most 255: {key}")


TAG_RULE: Final = TagRule(_tag_error, max_key_length=127, max_value_length=255)
"""The lengths are the model's: one less than other services take."""


def start_snapshot(
    engine: Engine,
    caller: Caller,
    *,
    volume_size: int,
    parent_snapshot_id: str | None = None,
    tags: SentTags | None = None,
    description: str | None = None,
    client_token: str | None = None,
    encrypted: bool | None = None,
    kms_key_arn: str | None = None,
    timeout: int = DEFAULT_TIMEOUT_MINUTES,
) -> Answer:
    """Start a snapshot of `volume_size` GiB, on top of a parent or from nothing; `timeout` is in minutes.

    Raises InvalidParameterError (members that do not go together; a plain snapshot although encryption is the default),
    InvalidVolumeSizeError (too large, or smaller than the parent), InvalidTagError; SnapshotNotFoundError,
    ParentNotCompleteError, SnapshotArchivedError and DamageError (the parent); UnknownKeyError, KeyServiceError and
    KeyHiddenError (the key); IdempotencyConflictError (the client token came with another request); and
    PendingSnapshotLimitError.
    Source: docs/aws-behaviour/ebs-direct.md, EBS-START.
    """
    _check_members(volume_size, parent_snapshot_id, encrypted, kms_key_arn)
    pairs = TAG_RULE.sent(tags or ())
    fingerprint = _fingerprint(
        {
            "VolumeSize": volume_size,
            "ParentSnapshotId": parent_snapshot_id,
            "Tags": sorted(pairs),
            "Description": description,
            "Encrypted": encrypted,
            "KmsKeyArn": kms_key_arn,
            "Timeout": timeout,
        }
    )
    if client_token is not None:
        stored = engine.catalog.stored_answer(caller.account_id, caller.region, client_token)
        if stored is not None:
            return _replay(stored, fingerprint)
    while True:
        parent = None if parent_snapshot_id is None else require_parent(engine, caller, parent_snapshot_id)
        snapshot = _new_snapshot(engine, caller, volume_size, parent, pairs, description, timeout)
        key = key_for_new(engine, caller, parent, encrypted, kms_key_arn)
        if key is not None:
            snapshot = replace(snapshot, kms_key_arn=key.arn, data_key_id=data_key_for_new(engine, key, parent))
        answer = _answer(snapshot)
        fresh = None if client_token is None else StoredAnswer(client_token, fingerprint, json.dumps(answer))
        limit = engine.settings.pending_snapshots
        try:
            stored = engine.catalog.insert_snapshot(snapshot, fresh, limit)
        except ParentGoneError:
            continue  # looking for the parent again says what became of it
        except PendingLimitError:
            assert limit is not None
            raise PendingSnapshotLimitError(limit) from None
        return answer if stored is None else _replay(stored, fingerprint)


def _check_members(
    volume_size: int, parent_snapshot_id: str | None, encrypted: bool | None, kms_key_arn: str | None
) -> None:
    """The rules across members, and those the model does not carry."""
    if parent_snapshot_id is not None and kms_key_arn is not None:
        raise InvalidParameterError("ParentSnapshotId and KmsKeyArn cannot be specified together")
    if parent_snapshot_id is not None and encrypted is not None:
        raise InvalidParameterError("ParentSnapshotId and Encrypt cannot be specified together")
    if encrypted is False and kms_key_arn is not None:
        raise InvalidParameterError("Encrypt cannot be false when KmsKeyArn is specified")
    if volume_size > MAX_VOLUME_SIZE_GIB:
        raise InvalidVolumeSizeError(f"Invalid volume size: {volume_size}")


def _new_snapshot(
    engine: Engine,
    caller: Caller,
    volume_size: int,
    parent: Snapshot | None,
    tags: tuple[Pair, ...],
    description: str | None,
    timeout: int,
) -> Snapshot:
    """The row of a snapshot that starts now."""
    now_ms = engine.now_ms()
    if parent is not None and volume_size < parent.volume_size_gib:
        raise InvalidVolumeSizeError(
            f"Invalid volume size: {volume_size} is smaller than the parent's {parent.volume_size_gib}"
        )
    snapshot_id = mint_snapshot_id(engine.random_bytes(SNAPSHOT_ID_RANDOM_SIZE))
    return Snapshot(
        snapshot_id=snapshot_id,
        account_id=caller.account_id,
        region=caller.region,
        volume_size_gib=volume_size,
        parent_id=None if parent is None else parent.snapshot_id,
        lineage_id=snapshot_id if parent is None else parent.lineage_id,
        description=description,
        tags=tags,
        state=SnapshotState.PENDING,
        state_message=None,
        started_at_ms=now_ms,
        completed_at_ms=None,
        timeout_minutes=timeout,
        deadline_at_ms=engine.timekeeper.running_ms() + timeout * 60_000,
        progress=0,
        root=EMPTY_ROOT if parent is None else parent.root,
        block_count=0 if parent is None else parent.block_count,
        expected_count=None,
        expected_checksum=None,
        seal_begun_at_ms=None,
    )


def _answer(snapshot: Snapshot) -> Answer:
    return {
        "BlockSize": BLOCK_SIZE,
        "Description": snapshot.description,
        "KmsKeyArn": snapshot.kms_key_arn,
        "OwnerId": snapshot.account_id,
        "ParentSnapshotId": snapshot.parent_id,
        "SnapshotId": snapshot.snapshot_id,
        "SseType": None,
        "StartTime": snapshot.started_at_ms,
        "Status": "pending",
        "Tags": [{"Key": key, "Value": value} for key, value in snapshot.tags] or None,
        "VolumeSize": snapshot.volume_size_gib,
    }


def _fingerprint(members: Mapping[str, object]) -> bytes:
    """A digest of all that a request asks, apart from its client token."""
    return sha256(json.dumps(members, sort_keys=True).encode()).digest()


def _replay(stored: StoredAnswer, fingerprint: bytes) -> Answer:
    """The first answer again. Raises IdempotencyConflictError if the request is another one."""
    if stored.fingerprint != fingerprint:
        raise IdempotencyConflictError
    answer: Answer = json.loads(stored.answer)
    return answer
