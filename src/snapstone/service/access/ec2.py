"""Permissions of EC2's operations (docs/aws-behaviour/iam-and-sts.md, PERM)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.ids import SnapshotId
from snapstone.service.access.permission import (
    Keys,
    Members,
    Permission,
    Permissions,
    ec2_keys,
    new_snapshot_arn,
    on_everything,
    region_keys,
    request_keys,
    resource_keys,
    sent_tags,
    snapshot_arn,
    text_of,
    texts_of,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.visibility import owned

MemberKeys = Callable[[Members], Keys]


def _no_keys(members: Members) -> Keys:
    return {}


def _on_snapshot(
    action: str,
    keys_of: MemberKeys = _no_keys,
    find: Callable[[Engine, Caller, str], Snapshot | None] = owned,
) -> Permissions:
    """An action on the caller's snapshot that `snapshot_id` names."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        snapshot_id = text_of(members, "snapshot_id")
        keys = region_keys(caller) | ec2_keys(caller, find(engine, caller, snapshot_id)) | keys_of(members)
        yield Permission(action, snapshot_arn(caller.region, snapshot_id), keys, caller.account_id)

    return needs


def _recycled(engine: Engine, caller: Caller, snapshot_id: str) -> Snapshot | None:
    """The caller's snapshot in the recycle bin, which is nowhere else."""
    snapshot = engine.catalog.remembered_snapshot(SnapshotId(snapshot_id))
    if snapshot is None or (snapshot.account_id, snapshot.region) != (caller.account_id, caller.region):
        return None
    return None if snapshot.recycled_until_ms is None else snapshot


def _sharing_keys(members: Members) -> Keys:
    """ec2:Attribute, and who is added and removed, in either of EC2's spellings."""
    keys: Keys = {"ec2:attribute": text_of(members, "attribute") or "createVolumePermission"}
    for verb in ("add", "remove"):
        readers = _permissions(members, verb.capitalize())
        users = [*(each["UserId"] for each in readers if "UserId" in each)]
        groups = [*(each["Group"] for each in readers if "Group" in each)]
        if text_of(members, "operation_type") == verb:
            users += texts_of(members, "user_ids")
            groups += texts_of(members, "group_names")
        if users:
            keys[f"ec2:{verb}/userid"] = tuple(users)
        if groups:
            keys[f"ec2:{verb}/group"] = tuple(groups)
    return keys


def _permissions(members: Members, name: str) -> list[Mapping[str, str]]:
    permission = members.get("create_volume_permission")
    sent = permission.get(name) if isinstance(permission, Mapping) else None
    return [each for each in sent if isinstance(each, Mapping)] if isinstance(sent, list | tuple) else []


def _attribute_keys(members: Members) -> Keys:
    return {"ec2:attribute": text_of(members, "attribute")}


def _lock_keys(members: Members) -> Keys:
    names = {"cool_off_period": "ec2:snapshotcooloffperiod", "lock_duration": "ec2:snapshotlockduration"}
    return {key: str(members[name]) for name, key in names.items() if members.get(name) is not None}


def _copy(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    """The copy; EC2 does not ask about the source (its owner shares it, or the caller owns it)."""
    tags = _specified_tags(members)
    asked = region_keys(caller) | request_keys(tags)
    copy: Keys = {
        "ec2:owner": caller.account_id,
        "ec2:encrypted": "true" if members.get("encrypted") else "false",
        "ec2:parentsnapshot": snapshot_arn(text_of(members, "source_region"), text_of(members, "source_snapshot_id")),
    }
    yield Permission("ec2:CopySnapshot", new_snapshot_arn(caller), asked | copy, caller.account_id)
    if tags:
        created: Keys = {"ec2:createaction": "CopySnapshot"}
        keys = asked | created | resource_keys(tags, "ec2")
        yield Permission("ec2:CreateTags", new_snapshot_arn(caller), keys, caller.account_id)


def _specified_tags(members: Members) -> list[tuple[str, str]]:
    specifications = members.get("tag_specifications")
    if not isinstance(specifications, list | tuple):
        return []
    return [tag for each in specifications if isinstance(each, Mapping) for tag in sent_tags(each, "Tags")]


def _on_resources(action: str) -> Permissions:
    """An action on each resource named; all of its tags are asked about at once."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        asked = region_keys(caller) | request_keys(sent_tags(members))
        for resource in dict.fromkeys(texts_of(members, "resources")):
            keys = ec2_keys(caller, owned(engine, caller, resource))
            yield Permission(action, snapshot_arn(caller.region, resource), asked | keys, caller.account_id)

    return needs


_WITHOUT_RESOURCE: Final = (
    "DescribeSnapshots", "DescribeVolumes", "DescribeInstances", "DescribeTags", "DescribeRegions",
    "DescribeAvailabilityZones",
    "GetEbsEncryptionByDefault", "EnableEbsEncryptionByDefault", "DisableEbsEncryptionByDefault",
    "GetEbsDefaultKmsKeyId", "ModifyEbsDefaultKmsKeyId", "ResetEbsDefaultKmsKeyId",
    "DescribeLockedSnapshots", "ListSnapshotsInRecycleBin", "DescribeSnapshotTierStatus",
    "EnableSnapshotBlockPublicAccess", "DisableSnapshotBlockPublicAccess", "GetSnapshotBlockPublicAccessState",
)  # fmt: skip

EC2_PERMISSIONS: Final[Mapping[str, Permissions]] = {
    **{name: on_everything(f"ec2:{name}") for name in _WITHOUT_RESOURCE},
    "DeleteSnapshot": _on_snapshot("ec2:DeleteSnapshot"),
    "DescribeSnapshotAttribute": _on_snapshot("ec2:DescribeSnapshotAttribute", _attribute_keys),
    "ModifySnapshotAttribute": _on_snapshot("ec2:ModifySnapshotAttribute", _sharing_keys),
    "ResetSnapshotAttribute": _on_snapshot("ec2:ResetSnapshotAttribute", _attribute_keys),
    "CopySnapshot": _copy,
    "CreateTags": _on_resources("ec2:CreateTags"),
    "DeleteTags": _on_resources("ec2:DeleteTags"),
    "LockSnapshot": _on_snapshot("ec2:LockSnapshot", _lock_keys),
    "UnlockSnapshot": _on_snapshot("ec2:UnlockSnapshot"),
    "RestoreSnapshotFromRecycleBin": _on_snapshot("ec2:RestoreSnapshotFromRecycleBin", find=_recycled),
    "ModifySnapshotTier": _on_snapshot("ec2:ModifySnapshotTier"),
    "RestoreSnapshotTier": _on_snapshot("ec2:RestoreSnapshotTier"),
}
