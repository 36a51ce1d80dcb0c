"""Who else may read a snapshot: Describe-, Modify-, ResetSnapshotAttribute, and block public access.

Source: docs/aws-behaviour/sharing-and-public-access.md, SHARE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from snapstone.catalog.contract.keys import KeyManager
from snapstone.catalog.contract.snapshots import PublicAccess, Snapshot
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    NotShareableError,
    PublicAccessBlockedError,
    PublicAccessRequestError,
    ShareLimitError,
    SnapshotNotFoundError,
)
from snapstone.service.ec2.filters import require_account_ids, require_ids
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import key_by_arn
from snapstone.service.visibility import EVERYBODY, owned

PERMISSION: Final = "createVolumePermission"
PRODUCT_CODES: Final = "productCodes"

MAX_MODIFICATIONS: Final = 500
"""Readers in one request; AWS's limit."""

MAX_READERS: Final = 1_000
"""Readers of one snapshot: they are part of its row, which every request reads."""

Answer = dict[str, object]
Permission = Mapping[str, str]
"""`UserId` or `Group`."""


@dataclass(frozen=True, slots=True)
class _Change:
    """The accounts to add and to remove; one of the two is empty."""

    added: frozenset[str]
    removed: frozenset[str]


def describe_snapshot_attribute(
    engine: Engine, caller: Caller, *, snapshot_id: str, attribute: str, dry_run: bool = False
) -> Answer:
    """The readers of a snapshot, or its product codes, of which there are none; for its owner only."""
    require_ids((snapshot_id,))
    if attribute not in (PERMISSION, PRODUCT_CODES):
        raise _invalid_attribute(attribute)
    if dry_run:
        raise DryRunPassedError
    snapshot = _owned(engine, caller, snapshot_id)
    if attribute == PRODUCT_CODES:
        return {"SnapshotId": snapshot_id, "ProductCodes": []}
    readers = [
        {"Group": reader} if reader == EVERYBODY else {"UserId": reader} for reader in sorted(snapshot.shared_with)
    ]
    return {"SnapshotId": snapshot_id, "CreateVolumePermissions": readers}


def modify_snapshot_attribute(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_id: str,
    attribute: str | None = None,
    create_volume_permission: Mapping[str, Sequence[Permission]] | None = None,
    group_names: Sequence[str] | None = None,
    operation_type: str | None = None,
    user_ids: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Answer:
    """Add or remove readers, in either of EC2's spellings. Adding one twice or removing an absent one is no error.

    Raises NotShareableError if the snapshot's encryption forbids it.
    """
    require_ids((snapshot_id,))
    if attribute not in (None, PERMISSION):
        raise _invalid_attribute(attribute)
    change = _change(create_volume_permission, operation_type, group_names or (), user_ids or ())
    if dry_run:
        raise DryRunPassedError

    def changed(snapshot: Snapshot) -> frozenset[str]:
        _check_shareable(engine, caller, snapshot, change.added)
        readers = (snapshot.shared_with | change.added) - change.removed
        if change.added and len(readers) > MAX_READERS:
            raise ShareLimitError(MAX_READERS)
        return readers

    if not engine.catalog.change_shares(_owned(engine, caller, snapshot_id).snapshot_id, changed):
        raise SnapshotNotFoundError((snapshot_id,))
    return {}


def reset_snapshot_attribute(
    engine: Engine, caller: Caller, *, snapshot_id: str, attribute: str, dry_run: bool = False
) -> Answer:
    """Make a snapshot its owner's alone."""
    require_ids((snapshot_id,))
    if attribute != PERMISSION:
        raise _invalid_attribute(attribute)
    if dry_run:
        raise DryRunPassedError
    snapshot = _owned(engine, caller, snapshot_id)
    if not engine.catalog.change_shares(snapshot.snapshot_id, lambda _: frozenset()):
        raise SnapshotNotFoundError((snapshot_id,))
    return {}


def _owned(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot:
    """The caller's own snapshot: only the owner may see or change who reads it. Raises SnapshotNotFoundError."""
    snapshot = owned(engine, caller, snapshot_id)
    if snapshot is None:
        raise SnapshotNotFoundError((snapshot_id,))
    return snapshot


def _change(
    permission: Mapping[str, Sequence[Permission]] | None,
    operation_type: str | None,
    group_names: Sequence[str],
    user_ids: Sequence[str],
) -> _Change:
    """The change. Raises InvalidParameterCombinationError, InvalidParameterError and MalformedAccountIdError."""
    if permission and (operation_type is not None or group_names or user_ids):
        raise InvalidParameterCombinationError(
            "CreateVolumePermission cannot be used with OperationType, UserId and UserGroup"
        )
    if permission:
        added, removed = (_readers(permission.get(name, ())) for name in ("Add", "Remove"))
    else:
        added, removed = _by_operation(operation_type, [*group_names, *_accounts(user_ids)])
    if added and removed:
        raise InvalidParameterCombinationError("Permissions cannot be added and removed in the same request")
    if not added and not removed:
        raise InvalidParameterCombinationError("No permissions to add or to remove were specified")
    if len(added) + len(removed) > MAX_MODIFICATIONS:
        raise InvalidParameterError(f"A request can make at most {MAX_MODIFICATIONS} modifications")
    _check_groups(group_names)
    return _Change(frozenset(added), frozenset(removed))


def _by_operation(operation_type: str | None, readers: list[str]) -> tuple[list[str], list[str]]:
    if operation_type == "add":
        return readers, []
    if operation_type == "remove":
        return [], readers
    if operation_type is None:
        raise InvalidParameterCombinationError("OperationType must be given with UserId or UserGroup")
    raise InvalidParameterError(f"Value ({operation_type}) for parameter OperationType is invalid")


def _readers(permissions: Sequence[Permission]) -> list[str]:
    for each in permissions:
        if len(each) != 1:
            raise InvalidParameterCombinationError("A permission names either a UserId or a Group")
    _check_groups([each["Group"] for each in permissions if "Group" in each])
    _accounts([each["UserId"] for each in permissions if "UserId" in each])
    return [reader for each in permissions for reader in each.values()]


def _accounts(user_ids: Sequence[str]) -> Sequence[str]:
    require_account_ids(user_ids)
    return user_ids


def _check_groups(names: Sequence[str]) -> None:
    for name in names:
        if name != EVERYBODY:
            raise InvalidParameterError(f"Value ({name}) for parameter Group is invalid. The only group is all.")


def _check_shareable(engine: Engine, caller: Caller, snapshot: Snapshot, added: frozenset[str]) -> None:
    """Raises NotShareableError and PublicAccessBlockedError; to remove readers is always possible."""
    if not added:
        return
    if snapshot.kms_key_arn is not None and EVERYBODY in added:
        raise NotShareableError("Encrypted snapshots cannot be made public")
    key = None if snapshot.kms_key_arn is None else key_by_arn(engine, snapshot.kms_key_arn)
    if key is not None and key.manager is KeyManager.AWS:
        raise NotShareableError("Encrypted snapshots with EBS default key cannot be shared")
    if EVERYBODY in added:
        require_public_sharing(engine, caller)


def _invalid_attribute(attribute: str | None) -> InvalidParameterError:
    return InvalidParameterError(f"Value ({attribute}) for parameter Attribute is invalid")


def enable_snapshot_block_public_access(
    engine: Engine, caller: Caller, *, state: str, dry_run: bool = False
) -> dict[str, object]:
    """Block sharing with everybody; `block-all-sharing` also hides what is public already, as long as it holds."""
    try:
        wanted = PublicAccess(state)
    except ValueError:
        raise InvalidParameterError(f"Value ({state}) for parameter State is invalid.") from None
    if wanted is PublicAccess.UNBLOCKED:
        raise PublicAccessRequestError(state)
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_public_access(caller.account_id, caller.region, wanted)
    return {"State": wanted.value}


def disable_snapshot_block_public_access(engine: Engine, caller: Caller, *, dry_run: bool = False) -> dict[str, object]:
    """Allow sharing with everybody again; what was hidden is public again."""
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_public_access(caller.account_id, caller.region, PublicAccess.UNBLOCKED)
    return {"State": PublicAccess.UNBLOCKED.value}


def get_snapshot_block_public_access_state(
    engine: Engine, caller: Caller, *, dry_run: bool = False
) -> dict[str, object]:
    """What is blocked; always set by the account itself."""
    if dry_run:
        raise DryRunPassedError
    state = engine.catalog.public_access(caller.account_id, caller.region)
    return {"State": state.value, "ManagedBy": "account"}


def require_public_sharing(engine: Engine, caller: Caller) -> None:
    """Raises PublicAccessBlockedError if nothing new may be shared with everybody."""
    if engine.catalog.public_access(caller.account_id, caller.region) is not PublicAccess.UNBLOCKED:
        raise PublicAccessBlockedError(caller.region)
