"""Who may do what with whose snapshot: one table, worked by hand.

Sources: docs/aws-behaviour/sharing-and-public-access.md, SHARE; docs/aws-behaviour/encryption-and-kms.md, ENC-KEY;
docs/aws-behaviour/iam-and-sts.md, PERM.

Every cell is a whole call (permission, then the operation) on a completed snapshot of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from snapstone.core.errors import (
    AccessDeniedError,
    KeyHiddenError,
    PublicSnapshotError,
    SnapshotAlreadyCompletedError,
    SnapshotLockedError,
    SnapshotNotFoundError,
    SnapshotNotLockedError,
    SnapshotStateError,
    SnapstoneError,
)
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller
from snapstone.service.identities.identity import credentials_of
from tests.installation import Installation, SentBlock, aggregate, block, checksum
from tests.unit.service.callers import EVERYTHING, OTHER, OTHER_ID, OWNER, perform, policy, statement, user

STRANGER_ID: Final = AccountId("777788889999")
STRANGER: Final = Caller(STRANGER_ID, OWNER.region, "AKIASTRANGER", root_principal(STRANGER_ID))

Error = type[SnapstoneError]
Outcome = Error | None
"""What a call raises; None if it does what was asked."""

DONE: Final = None
ABSENT: Final = SnapshotNotFoundError
DENIED: Final = AccessDeniedError
PUBLIC: Final = PublicSnapshotError
HIDDEN: Final = KeyHiddenError

KINDS: Final = ("private", "shared", "public", "with consent", "without consent", "locked")
"""Shared: with OTHER. With consent: encrypted, shared with OTHER, whose account the key's policy admits."""


@dataclass(frozen=True)
class Row:
    """One operation: outcomes in the order of KINDS, by who calls. Who has no policy is denied, whatever it names."""

    service: str
    operation: str
    owner: tuple[Outcome, ...]
    sharer: tuple[Outcome, ...]
    """A user, allowed everything, of the account that snapshots are shared with."""
    stranger: tuple[Outcome, ...]
    """The root of a third account."""


ALL: Final = (DONE,) * 6
NOBODY: Final = (ABSENT,) * 6
PUBLIC_ONLY: Final = (ABSENT, ABSENT, DONE, ABSENT, ABSENT, ABSENT)
NOT_EVEN_PUBLIC: Final = (ABSENT, ABSENT, PUBLIC, ABSENT, ABSENT, ABSENT)
READ_BY_SHARER: Final = (ABSENT, DONE, PUBLIC, DONE, HIDDEN, ABSENT)
SEEN_BY_SHARER: Final = (ABSENT, DONE, DONE, DONE, DONE, ABSENT)
UNLESS_LOCKED: Final = (DONE, DONE, DONE, DONE, DONE, SnapshotLockedError)
IF_LOCKED: Final = (*(SnapshotNotLockedError,) * 5, DONE)

TABLE: Final = (
    Row("ebs", "ListSnapshotBlocks", ALL, READ_BY_SHARER, NOT_EVEN_PUBLIC),
    Row("ebs", "ListChangedBlocks", ALL, READ_BY_SHARER, NOT_EVEN_PUBLIC),
    Row("ebs", "GetSnapshotBlock", ALL, READ_BY_SHARER, NOT_EVEN_PUBLIC),
    Row("ebs", "PutSnapshotBlock", (SnapshotAlreadyCompletedError,) * 6, NOBODY, NOBODY),
    Row("ebs", "CompleteSnapshot", ALL, NOBODY, NOBODY),
    Row("ebs", "StartSnapshot", ALL, NOBODY, NOBODY),
    Row("ec2", "DescribeSnapshots", ALL, SEEN_BY_SHARER, PUBLIC_ONLY),
    Row("ec2", "CopySnapshot", ALL, SEEN_BY_SHARER, PUBLIC_ONLY),  # a key that refuses: accepted, then in error
    Row("ec2", "DescribeSnapshotAttribute", ALL, NOBODY, NOBODY),
    Row("ec2", "ModifySnapshotAttribute", ALL, NOBODY, NOBODY),
    Row("ec2", "ResetSnapshotAttribute", ALL, NOBODY, NOBODY),
    Row("ec2", "DeleteSnapshot", UNLESS_LOCKED, NOBODY, NOBODY),
    Row("ec2", "CreateTags", ALL, NOBODY, NOBODY),
    Row("ec2", "DeleteTags", ALL, NOBODY, NOBODY),
    Row("ec2", "LockSnapshot", ALL, NOBODY, NOBODY),
    Row("ec2", "UnlockSnapshot", IF_LOCKED, NOBODY, NOBODY),
    Row("ec2", "ModifySnapshotTier", ALL, NOBODY, NOBODY),
    Row("ec2", "RestoreSnapshotTier", (SnapshotStateError,) * 6, NOBODY, NOBODY),
    Row("ec2", "RestoreSnapshotFromRecycleBin", NOBODY, NOBODY, NOBODY),
)

LOCK: Final = {"lock_mode": "governance", "lock_duration": 7}
BLOCKS: Final = {0: block("a")}


class World:
    """Three accounts, their users, and two keys of the owner's: one admits OTHER, one does not."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.full = user(installation, OWNER, "full", EVERYTHING)
        self.bare = user(installation, OWNER, "bare")
        self.sharer = user(installation, OTHER, "sharer", EVERYTHING)
        own = statement("Allow", "kms:*", Principal={"AWS": f"arn:aws:iam::{OWNER.account_id}:root"})
        other = statement("Allow", "kms:*", Principal={"AWS": f"arn:aws:iam::{OTHER_ID}:root"})
        self.keys = {
            "with consent": self._key(policy(own, other)),
            "without consent": self._key(policy(own)),
        }

    def _key(self, document: str) -> str:
        return str(perform(self.installation, OWNER, "kms", "CreateKey", policy=document)["KeyMetadata"]["Arn"])

    def snapshot(self, kind: str) -> SnapshotId:
        """A new completed snapshot of the owner's."""
        key = {"kms_key_arn": self.keys[kind], "encrypted": True} if kind in self.keys else {}
        snapshot_id = self.installation.sealed(BLOCKS, **key)
        if kind == "public":
            self.share(snapshot_id, {"Group": "all"})
        elif kind not in ("private", "locked"):
            self.share(snapshot_id, {"UserId": OTHER_ID})
        if kind == "locked":
            perform(self.installation, OWNER, "ec2", "LockSnapshot", snapshot_id=snapshot_id, **LOCK)
        return snapshot_id

    def share(self, snapshot_id: str, reader: dict[str, str]) -> None:
        perform(
            self.installation,
            OWNER,
            "ec2",
            "ModifySnapshotAttribute",
            snapshot_id=snapshot_id,
            create_volume_permission={"Add": [reader]},
        )

    def members(self, operation: str, snapshot_id: SnapshotId) -> dict[str, Any]:
        """A request that the owner of a completed snapshot may make."""
        one: dict[str, Any] = {"snapshot_id": snapshot_id}
        requests: dict[str, dict[str, Any]] = {
            "ListChangedBlocks": {"first_snapshot_id": snapshot_id, "second_snapshot_id": snapshot_id},
            "GetSnapshotBlock": one | {"block_index": 0, "block_token": self._token(snapshot_id)},
            "PutSnapshotBlock": one | _put(block("b")),
            "CompleteSnapshot": one | {"changed_blocks_count": 1} | _declared(),
            "StartSnapshot": {"volume_size": 1, "parent_snapshot_id": snapshot_id},
            "DescribeSnapshots": {"snapshot_ids": [snapshot_id]},
            "CopySnapshot": {"source_region": OWNER.region, "source_snapshot_id": snapshot_id},
            "DescribeSnapshotAttribute": one | {"attribute": "createVolumePermission"},
            "ModifySnapshotAttribute": one | {"create_volume_permission": {"Add": [{"UserId": "123456789012"}]}},
            "ResetSnapshotAttribute": one | {"attribute": "createVolumePermission"},
            "CreateTags": {"resources": [snapshot_id], "tags": [{"Key": "a", "Value": "1"}]},
            "DeleteTags": {"resources": [snapshot_id]},
            "LockSnapshot": one | LOCK,
            "RestoreSnapshotTier": one | {"permanent_restore": True},
        }
        return requests.get(operation, one)

    def _token(self, snapshot_id: SnapshotId) -> str:
        """The owner's: block tokens are nobody's in particular."""
        return str(self.installation.list_page(snapshot_id)["Blocks"][0]["BlockToken"])

    def outcome(self, caller: Caller, row: Row, members: dict[str, Any]) -> Outcome:
        try:
            answer = perform(self.installation, caller, row.service, row.operation, **members)
        except SnapstoneError as error:
            return type(error)
        if "BlockData" in answer:
            answer["BlockData"].release()
        return None


def _put(content: bytes) -> dict[str, Any]:
    return {
        "block_index": 0,
        "block_data": SentBlock(content, len(content)),
        "data_length": len(content),
        "checksum": checksum(content),
        "checksum_algorithm": "SHA256",
    }


def _declared() -> dict[str, str]:
    return {
        "checksum": aggregate(BLOCKS),
        "checksum_algorithm": "SHA256",
        "checksum_aggregation_method": "LINEAR",
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    installation = Installation(tmp_path)
    yield World(installation)
    installation.close()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.operation)
def test_everybody_may_do_what_the_table_says(world: World, row: Row) -> None:
    callers = {
        "owner": (OWNER, row.owner),
        "owner's user": (world.full, row.owner),
        "owner's user without a policy": (world.bare, (DENIED,) * 6),
        "sharer": (world.sharer, row.sharer),
        "stranger": (STRANGER, row.stranger),
    }
    found, expected = {}, {}
    for name, (caller, outcomes) in callers.items():
        for kind, outcome in zip(KINDS, outcomes, strict=True):
            members = world.members(row.operation, world.snapshot(kind))
            found[name, kind] = world.outcome(caller, row, members)
            expected[name, kind] = outcome
    assert found == expected


def test_an_unknown_key_is_nobodys(world: World) -> None:
    assert credentials_of(world.installation.engine, "AKIAUNKNOWNUNKNOWN00", None) is None


def said(world: World, caller: Caller, row: Row, members: dict[str, Any], snapshot_id: str) -> tuple[Any, ...]:
    """The error, with all of its facts; the id that was named is written as ID."""
    with pytest.raises(SnapstoneError) as raised:
        perform(world.installation, caller, row.service, row.operation, **members)
    facts = repr(sorted(vars(raised.value).items())).replace(snapshot_id, "ID")
    return type(raised.value), facts


BY_REGION: Final = tuple(row for row in TABLE if row.operation != "CopySnapshot")
"""CopySnapshot names the region of its source."""


class TestNothingIsToldApart:
    """An id that nobody has and one that is not the caller's give the same error, with the same facts."""

    @pytest.mark.parametrize("row", TABLE, ids=lambda row: row.operation)
    def test_to_another_account(self, world: World, row: Row) -> None:
        snapshot_id = world.snapshot("private")
        guessed = SnapshotId("snap-" + "0123456789abcdef0")
        members = world.members(row.operation, snapshot_id)
        for caller in (STRANGER, world.sharer):
            mine = said(world, caller, row, members, snapshot_id)
            assert mine == said(world, caller, row, _renamed(members, snapshot_id, guessed), guessed)

    @pytest.mark.parametrize("row", BY_REGION, ids=lambda row: row.operation)
    def test_in_another_region(self, world: World, row: Row) -> None:
        snapshot_id = world.snapshot("private")
        guessed = SnapshotId("snap-" + "0123456789abcdef0")
        members = world.members(row.operation, snapshot_id)
        elsewhere = replace(OWNER, region=Region("us-west-2"))
        mine = said(world, elsewhere, row, members, snapshot_id)
        assert mine == said(world, elsewhere, row, _renamed(members, snapshot_id, guessed), guessed)

    @pytest.mark.parametrize("row", TABLE, ids=lambda row: row.operation)
    def test_to_users_who_may_not(self, world: World, row: Row) -> None:
        snapshot_id = world.snapshot("private")
        guessed = SnapshotId("snap-" + "0123456789abcdef0")
        members = world.members(row.operation, snapshot_id)
        denied = user(world.installation, OWNER, "denied", policy(statement("Deny", "*")))
        for caller in (world.bare, denied, user(world.installation, STRANGER, "bare")):
            mine = said(world, caller, row, members, snapshot_id)
            assert mine == said(world, caller, row, _renamed(members, snapshot_id, guessed), guessed)
            assert mine[0] is DENIED


def _renamed(members: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The same request for another snapshot; a block token stays, which is then another snapshot's."""
    return {name: new if each == old else [new] if each == [old] else each for name, each in members.items()}


def test_tags_of_a_snapshot_that_is_not_visible_say_nothing(world: World) -> None:
    """Otherwise a policy on tags would tell by its denials which ids exist, and what tags they have."""
    hidden = world.installation.sealed(BLOCKS, tags=[{"Key": "team", "Value": "red"}])
    condition = {"StringEquals": {"aws:ResourceTag/team": "red"}}
    reader = user(
        world.installation, OTHER, "reader", policy(statement("Allow", "ebs:ListSnapshotBlocks", Condition=condition))
    )
    row = TABLE[0]
    assert world.outcome(reader, row, {"snapshot_id": hidden}) is DENIED
    world.share(hidden, {"UserId": OTHER_ID})
    assert world.outcome(reader, row, {"snapshot_id": hidden}) is DENIED  # tags are the owner's affair


def test_a_block_token_opens_no_other_snapshot_and_no_refused_one(world: World) -> None:
    get = next(row for row in TABLE if row.operation == "GetSnapshotBlock")
    shared = world.snapshot("shared")
    members = world.members("GetSnapshotBlock", shared)
    assert world.outcome(world.sharer, get, members) is DONE
    perform(
        world.installation,
        OWNER,
        "ec2",
        "ResetSnapshotAttribute",
        snapshot_id=shared,
        attribute="createVolumePermission",
    )
    assert world.outcome(world.sharer, get, members) is ABSENT
    world.share(shared, {"UserId": OTHER_ID})
    assert world.outcome(world.sharer, get, members) is DONE
