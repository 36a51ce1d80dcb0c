"""Permissions of the EBS direct APIs (docs/aws-behaviour/iam-and-sts.md, PERM)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from snapstone.service.access.permission import (
    Keys,
    Members,
    Permission,
    Permissions,
    new_snapshot_arn,
    owner_keys,
    policy_account,
    region_keys,
    request_keys,
    resource_keys,
    sent_tags,
    snapshot_arn,
    text_of,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.visibility import owned, visible


def _on_snapshots(action: str, *names: str) -> Permissions:
    """An action on each snapshot that these members name."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        for name in names:
            snapshot_id = text_of(members, name)
            if snapshot_id:
                snapshot = visible(engine, caller, snapshot_id)
                arn = snapshot_arn(caller.region, snapshot_id)
                yield Permission(action, arn, owner_keys(caller, snapshot), policy_account(caller, snapshot))

    return needs


def _start(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    """The new snapshot; its parent, with the parent's own tags; and ec2:CreateTags if tags are sent."""
    tags = sent_tags(members)
    parent_id = text_of(members, "parent_snapshot_id")
    asked = _asked(caller, members, parent_id) | request_keys(tags)
    yield Permission("ebs:StartSnapshot", new_snapshot_arn(caller), asked | resource_keys(tags), caller.account_id)
    if parent_id:
        parent = owner_keys(caller, owned(engine, caller, parent_id))
        yield Permission("ebs:StartSnapshot", snapshot_arn(caller.region, parent_id), asked | parent, caller.account_id)
    if tags:
        # ec2:CreateAction has no value here: AWS's does not match StartSnapshot
        keys = region_keys(caller) | request_keys(tags) | resource_keys(tags, "ec2")
        yield Permission("ec2:CreateTags", new_snapshot_arn(caller), keys, caller.account_id)


def _asked(caller: Caller, members: Members, parent_id: str) -> Keys:
    keys: Keys = {"ebs:volumesize": str(members.get("volume_size", ""))}
    if members.get("description") is not None:
        keys["ebs:description"] = text_of(members, "description")
    if parent_id:
        keys["ebs:parentsnapshot"] = snapshot_arn(caller.region, parent_id)
    return keys


EBS_PERMISSIONS: Final[Mapping[str, Permissions]] = {
    "StartSnapshot": _start,
    "PutSnapshotBlock": _on_snapshots("ebs:PutSnapshotBlock", "snapshot_id"),
    "CompleteSnapshot": _on_snapshots("ebs:CompleteSnapshot", "snapshot_id"),
    "ListSnapshotBlocks": _on_snapshots("ebs:ListSnapshotBlocks", "snapshot_id"),
    "ListChangedBlocks": _on_snapshots("ebs:ListChangedBlocks", "first_snapshot_id", "second_snapshot_id"),
    "GetSnapshotBlock": _on_snapshots("ebs:GetSnapshotBlock", "snapshot_id"),
}
