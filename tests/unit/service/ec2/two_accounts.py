"""Two accounts in one installation: who owns what is one's own affair, until it is shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from snapstone.core.ids import AccountId, Region, SnapshotId, mint_snapshot_id
from snapstone.core.policy.principals import root_principal
from snapstone.service.ec2.snapshot_attributes import modify_snapshot_attribute
from snapstone.service.ec2.snapshots import describe_snapshots
from snapstone.service.engine import Caller
from tests.installation import CALLER, Installation
from tests.suites.catalog_rows import pending

OWNER: Final = CALLER
OTHER: Final = Caller(AccountId("444455556666"), CALLER.region, "AKIAOTHER", root_principal(AccountId("444455556666")))
STRANGER: Final = Caller(
    AccountId("777788889999"), CALLER.region, "AKIASTRANGER", root_principal(AccountId("777788889999"))
)

DATA_KEY_ID: Final = UUID("0f5a1c9e-2b7d-4e63-8a10-9c3d5e7f1b24")


def elsewhere(caller: Caller) -> Caller:
    """The same account in another region."""
    return replace(caller, region=Region("us-west-2"))


def described(installation: Installation, caller: Caller, **members: Any) -> list[dict[str, Any]]:
    """The snapshots that DescribeSnapshots answers."""
    answer: dict[str, Any] = describe_snapshots(installation.engine, caller, **members)
    return list(answer["Snapshots"])


def ids(installation: Installation, caller: Caller, **members: Any) -> set[str]:
    """Their ids, each once."""
    found = [snapshot["SnapshotId"] for snapshot in described(installation, caller, **members)]
    assert len(found) == len(set(found))
    return set(found)


def start(installation: Installation, caller: Caller, **members: Any) -> SnapshotId:
    """A pending snapshot of an account."""
    installation.caller, before = caller, installation.caller
    try:
        return installation.start(**members)
    finally:
        installation.caller = before


def start_encrypted(installation: Installation, key_arn: str) -> SnapshotId:
    """A pending snapshot of the owner's, as it stands in the catalog if it is encrypted under a key."""
    snapshot_id = mint_snapshot_id(installation.engine.random_bytes(9))
    row = pending(
        snapshot_id=snapshot_id,
        account_id=OWNER.account_id,
        region=OWNER.region,
        lineage_id=snapshot_id,
        started_at_ms=installation.clock.now_ms,
        kms_key_arn=key_arn,
        data_key_id=DATA_KEY_ID.bytes,
    )
    assert installation.catalog.insert_snapshot(row, None) is None
    return snapshot_id


def share(installation: Installation, caller: Caller, snapshot_id: str, *readers: str) -> None:
    """Add readers: account ids, or `all`."""
    permissions = [{"Group": each} if each == "all" else {"UserId": each} for each in readers]
    modify_snapshot_attribute(
        installation.engine, caller, snapshot_id=snapshot_id, create_volume_permission={"Add": permissions}
    )
