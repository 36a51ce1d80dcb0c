"""Snapshots as policies see them: their ARNs, and the condition keys of those that the caller may know of."""

from __future__ import annotations

from snapstone.catalog.rows import Snapshot
from snapstone.core.ids import AccountId
from snapstone.service.ec2.snapshots import DIRECT_VOLUME_ID
from snapstone.service.engine import Caller
from snapstone.service.permissions.need import Keys, iso_time
from snapstone.service.permissions.tag_keys import resource_keys


def snapshot_arn(region: str, snapshot_id: str) -> str:
    """The account field is empty, whoever's the snapshot is (docs/aws-behaviour/iam-and-sts.md, PERM-1)."""
    return f"arn:aws:ec2:{region}::snapshot/{snapshot_id}"


def new_snapshot_arn(caller: Caller) -> str:
    """Of a snapshot that has no id yet."""
    return snapshot_arn(caller.region, "*")


def owner_keys(caller: Caller, snapshot: Snapshot | None, *services: str) -> Keys:
    """The tags of the caller's own snapshot, and of a shared one its owner: tags are the owner's affair.

    None for what does not exist for the caller: then the keys are those of any other id.
    """
    if snapshot is None:
        return {}
    if snapshot.account_id != caller.account_id:
        return {"aws:resourceaccount": snapshot.account_id}
    return resource_keys(snapshot.tags, *services)


def policy_account(caller: Caller, snapshot: Snapshot | None) -> AccountId | None:
    """The account that statements may name in a snapshot's ARN: the caller's, unless the snapshot is another's."""
    return caller.account_id if snapshot is None or snapshot.account_id == caller.account_id else None


def ec2_keys(caller: Caller, snapshot: Snapshot | None) -> Keys:
    """What EC2's actions on a snapshot know of it (docs/aws-behaviour/iam-and-sts.md, PERM-7)."""
    if snapshot is None:
        return {}
    keys: Keys = {
        "ec2:owner": snapshot.account_id,
        "ec2:parentvolume": f"arn:aws:ec2:{snapshot.region}:{snapshot.account_id}:volume/{DIRECT_VOLUME_ID}",
        "ec2:snapshotid": snapshot.snapshot_id,
        "ec2:snapshottime": iso_time(snapshot.started_at_ms),
        "ec2:volumesize": str(snapshot.volume_size_gib),
    }
    return owner_keys(caller, snapshot, "ec2") | keys
