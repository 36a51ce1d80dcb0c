"""CopySnapshot: a new snapshot with the content of another, in the same or another region.

Without a change of key nothing is copied: the copy has the source's root, and only its manifest is written. Under
another key every block is re-encrypted, in the background (`service/snapshots/copy.py`). A key's refusal is reported
as by EC2: the call succeeds, and the copy ends in error. Source: docs/aws-behaviour/snapshots.md, COPY.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from snapstone.catalog.contract.keys import KmsKey
from snapstone.catalog.contract.protection import CopiesLimitError, SourceGoneError
from snapstone.catalog.contract.snapshots import CopyWork, Snapshot, SnapshotState
from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.errors import (
    CopyLimitError,
    DryRunPassedError,
    InvalidParameterError,
    KeyHiddenError,
    KeyServiceError,
    ParameterDependencyError,
    SnapshotNotFoundError,
    SourceNotCompleteError,
    UnknownKeyError,
    UnknownSourceRegionError,
)
from snapstone.core.ids import SNAPSHOT_ID_RANDOM_SIZE, Region, mint_snapshot_id
from snapstone.service.ec2.filters import require_ids
from snapstone.service.ec2.tags import TAG_RULE
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import default_key_arn, is_encrypted_by_default, key_named
from snapstone.service.manifests import hold_against_manifest
from snapstone.service.sealing import KEY_NOT_ACCESSIBLE
from snapstone.service.snapshots.deletion import follow_up
from snapstone.service.snapshots.encryption import key_for_new, keys_for_reading
from snapstone.service.visibility import require_standard_tier, visible

COPY_LIMIT: Final = 20
"""Copies under way to one region (AWS: "Amazon EBS quotas")."""

PATIENCE_MINUTES: Final = 30 * 24 * 60
"""How long a copy that makes no progress stays pending before it times out."""

MAX_COMPLETION_MINUTES: Final = 2_880

Answer = dict[str, object]
TagSpecifications = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The copy's encryption: none, a usable key, or a key that refuses."""

    key: KmsKey | None = None
    refused: bool = False
    refused_arn: str | None = None
    """ARN of the copy's key if it or the source's key refuses; None if there is no such key."""


def copy_snapshot(
    engine: Engine,
    caller: Caller,
    *,
    source_region: str,
    source_snapshot_id: str,
    description: str | None = None,
    encrypted: bool | None = None,
    kms_key_id: str | None = None,
    tag_specifications: TagSpecifications | None = None,
    completion_duration_minutes: int | None = None,
    destination_region: str | None = None,
    presigned_url: str | None = None,
    destination_outpost_arn: str | None = None,
    destination_availability_zone: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """Copy a completed snapshot that the caller sees in the source region to the region that was called.

    The destination is where the request was signed for: `destination_region` and `presigned_url`, which SDKs add, say
    nothing more. Tags of the source are not copied.
    """
    require_ids((source_snapshot_id,))
    if source_region not in engine.settings.regions:
        raise UnknownSourceRegionError(source_region)
    if destination_outpost_arn is not None or destination_availability_zone is not None:
        raise InvalidParameterError("Snapshots can be copied only to regions, not to Outposts or Local Zones.")
    _check_encryption(encrypted, kms_key_id)
    _check_completion(completion_duration_minutes)
    tags = _tags(tag_specifications or ())
    if dry_run:
        raise DryRunPassedError
    source_caller = replace(caller, region=Region(source_region))
    while True:
        source = _require_source(engine, source_caller, source_snapshot_id)
        plan = _plan(engine, caller, source_caller, source, encrypted, kms_key_id)
        copy, work = _row(engine, caller, source, plan)
        copy = replace(copy, description=description, tags=tags)
        try:
            engine.catalog.insert_copy(copy, work, COPY_LIMIT)
        except SourceGoneError:
            continue  # the next look-up shows what became of the source
        except CopiesLimitError:
            raise CopyLimitError(COPY_LIMIT) from None
        if copy.state is SnapshotState.SEALING:
            with follow_up("seal the copy", copy.snapshot_id):
                engine.sealer.start(copy.snapshot_id)
        shown = [{"Key": key, "Value": value} for key, value in tags]
        return {"SnapshotId": copy.snapshot_id, "Tags": shown or None}


def _check_encryption(encrypted: bool | None, kms_key_id: str | None) -> None:
    if kms_key_id is not None and not encrypted:
        raise ParameterDependencyError("The parameter KmsKeyId requires the parameter Encrypted to be set.")
    if encrypted is False:
        raise InvalidParameterError("Value (false) for parameter Encrypted is invalid: omit it to copy unencrypted.")


def _check_completion(minutes: int | None) -> None:
    if minutes is not None and not 1 <= minutes <= MAX_COMPLETION_MINUTES:
        raise InvalidParameterError(
            f"Value ({minutes}) for parameter CompletionDurationMinutes is invalid. "
            f"Expecting 1 to {MAX_COMPLETION_MINUTES}."
        )


def _tags(specifications: TagSpecifications) -> tuple[tuple[str, str], ...]:
    """The tags for the copy. Raises what CreateTags raises."""
    given: list[Mapping[str, str]] = []
    for specification in specifications:
        if specification.get("ResourceType") != "snapshot":
            raise InvalidParameterError("TagSpecification of CopySnapshot takes the resource type snapshot.")
        tags = specification.get("Tags") or ()
        assert isinstance(tags, Sequence)
        given += tags
    return TAG_RULE.sent(given)


def _require_source(engine: Engine, source_caller: Caller, snapshot_id: str) -> Snapshot:
    """The source as it is now. Raises SnapshotNotFoundError, SourceNotCompleteError and SnapshotArchivedError."""
    source = visible(engine, source_caller, snapshot_id)
    if source is None:
        raise SnapshotNotFoundError((snapshot_id,))
    if source.state is not SnapshotState.COMPLETED:
        if source.account_id != source_caller.account_id:
            raise SnapshotNotFoundError((snapshot_id,))
        raise SourceNotCompleteError(snapshot_id)
    require_standard_tier(source)
    hold_against_manifest(engine, source)
    return source


def _plan(
    engine: Engine,
    caller: Caller,
    source_caller: Caller,
    source: Snapshot,
    encrypted: bool | None,
    kms_key_id: str | None,
) -> _Plan:
    """The key of the copy, by the table in docs/aws-behaviour/encryption-and-kms.md, ENC-COPY."""
    by_default = is_encrypted_by_default(engine, caller.account_id, caller.region)
    if not encrypted and not by_default and source.kms_key_arn is None:
        return _Plan()
    if kms_key_id is None:
        key_arn = default_key_arn(engine, caller.account_id, caller.region)
    else:
        named = key_named(engine, caller, kms_key_id)
        if named is None:
            return _Plan(refused=True)
        key_arn = named.arn
    try:
        keys_for_reading(engine, source_caller, source)
        return _Plan(key_for_new(engine, caller, None, True, key_arn))
    except (KeyServiceError, KeyHiddenError, UnknownKeyError):
        return _Plan(refused=True, refused_arn=key_arn)


def _row(engine: Engine, caller: Caller, source: Snapshot, plan: _Plan) -> tuple[Snapshot, CopyWork | None]:
    """The copy's first row and the remaining work: to seal at once, to re-encrypt, or in error."""
    now_ms = engine.now_ms()
    copy_id = mint_snapshot_id(engine.random_bytes(SNAPSHOT_ID_RANDOM_SIZE))
    shared = replace(
        source,
        snapshot_id=copy_id,
        account_id=caller.account_id,
        region=caller.region,
        parent_id=None,
        state=SnapshotState.SEALING,
        started_at_ms=now_ms,
        completed_at_ms=None,
        timeout_minutes=PATIENCE_MINUTES,
        deadline_at_ms=engine.timekeeper.running_ms() + PATIENCE_MINUTES * 60_000,
        progress=0,
        expected_count=0,
        expected_checksum=None,
        seal_begun_at_ms=now_ms,
        shared_with=frozenset(),
        copied_from=source.snapshot_id,
    )
    if not plan.refused and source.kms_key_arn == (None if plan.key is None else plan.key.arn):
        return shared, None
    encrypted = replace(
        shared,
        lineage_id=copy_id,
        root=EMPTY_ROOT,
        block_count=0,
        expected_count=None,
        seal_begun_at_ms=None,
        kms_key_arn=plan.refused_arn if plan.key is None else plan.key.arn,
        data_key_id=None,
    )
    if plan.key is None:
        return replace(encrypted, state=SnapshotState.ERROR, state_message=KEY_NOT_ACCESSIBLE), None
    copy = replace(encrypted, state=SnapshotState.PENDING, data_key_id=engine.keys.make_data_key(plan.key))
    return copy, CopyWork(copy_id, source.root, source.kms_key_arn)
