"""CopySnapshot: what is shared, what is encrypted anew, and what becomes of a copy that is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import (
    CopyLimitError,
    DryRunPassedError,
    InvalidParameterError,
    InvalidTagKeyError,
    ParameterDependencyError,
    SnapshotArchivedError,
    SnapshotNotFoundError,
    SourceNotCompleteError,
    UnknownSourceRegionError,
)
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.policy.principals import root_principal
from snapstone.service.ec2 import copies
from snapstone.service.ec2.copies import copy_snapshot
from snapstone.service.ec2.locks import lock_snapshot
from snapstone.service.ec2.tiers import modify_snapshot_tier
from snapstone.service.engine import Caller
from snapstone.service.operations import OPERATIONS
from snapstone.service.snapshots import copy as copying
from tests.installation import CALLER, ZERO, Installation, block

A, B, C = block("a"), block("b"), block("c")
Answer = dict[str, Any]

OREGON = replace(CALLER, region=Region("us-west-2"))
BOB_ID = AccountId("444455556666")
BOB = Caller(BOB_ID, CALLER.region, "AKIABOB", root_principal(BOB_ID))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def called(installation: Installation, service: str, operation: str, caller: Caller = CALLER, **members: Any) -> Answer:
    return OPERATIONS[service][operation](installation.engine, caller, **members)


def new_key(installation: Installation, caller: Caller = CALLER) -> str:
    """The ARN of a new customer key."""
    return str(called(installation, "kms", "CreateKey", caller)["KeyMetadata"]["Arn"])


def copy(
    installation: Installation, source: str, caller: Caller = CALLER, region: str = "eu-central-1", **members: Any
) -> SnapshotId:
    answer = copy_snapshot(installation.engine, caller, source_region=region, source_snapshot_id=source, **members)
    assert installation.sealer.wait_until_idle(30)
    return SnapshotId(str(answer["SnapshotId"]))


def content(installation: Installation, snapshot_id: str, caller: Caller = CALLER) -> dict[int, bytes]:
    installation.caller = caller
    try:
        return installation.content(snapshot_id)
    finally:
        installation.caller = CALLER


def share(installation: Installation, snapshot_id: str, **members: Any) -> None:
    called(
        installation,
        "ec2",
        "ModifySnapshotAttribute",
        snapshot_id=snapshot_id,
        attribute="createVolumePermission",
        operation_type="add",
        **members,
    )


def object_count(installation: Installation) -> int:
    return sum(1 for _ in installation.store.walk())


class TestUnencrypted:
    def test_a_copy_shares_every_block_and_page(self, installation: Installation) -> None:
        source = installation.sealed({0: A, 5: B})
        before = object_count(installation)
        snapshot_id = copy(installation, source)
        assert snapshot_id != source
        assert object_count(installation) == before + 1  # its manifest
        assert installation.content(snapshot_id) == {0: A, 5: B}
        row, source_row = installation.row(snapshot_id), installation.row(source)
        assert row.root == source_row.root
        assert row.block_count == 2
        assert row.lineage_id == source_row.lineage_id
        assert row.parent_id is None
        assert row.copied_from == source

    def test_a_copy_of_a_child_has_no_parent_and_is_no_less(self, installation: Installation) -> None:
        parent = installation.sealed({0: A, 1: A})
        source = installation.sealed({1: B}, parent_snapshot_id=parent)
        snapshot_id = copy(installation, source)
        assert installation.row(snapshot_id).parent_id is None
        assert installation.content(snapshot_id) == {0: A, 1: B}

    def test_a_copy_is_not_shared_with_whom_its_source_is(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        share(installation, source, user_ids=[BOB_ID])
        assert installation.row(copy(installation, source)).shared_with == frozenset()

    def test_a_copy_of_a_locked_snapshot_is_not_locked(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        lock_snapshot(installation.engine, CALLER, snapshot_id=source, lock_mode="compliance", lock_duration=1)
        snapshot_id = copy(installation, source)
        installation.delete(snapshot_id)
        assert installation.catalog.snapshot(snapshot_id) is None

    def test_a_copy_outlives_its_source(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(installation, source)
        installation.delete(source)
        installation.reopen()
        assert installation.content(snapshot_id) == {0: A}

    def test_changes_between_source_and_copy_are_found(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        child = installation.sealed({0: B}, parent_snapshot_id=copy(installation, source))
        assert [entry["BlockIndex"] for entry in installation.changes(source, child)] == [0]

    def test_description_and_tags_are_its_own(self, installation: Installation) -> None:
        source = installation.sealed({}, description="mine", tags=[{"Key": "a", "Value": "b"}])
        assert installation.row(copy(installation, source)).tags == ()
        assert installation.row(copy(installation, source)).description is None
        specification = {"ResourceType": "snapshot", "Tags": [{"Key": "k", "Value": "v"}, {"Key": "e"}]}
        answer = copy_snapshot(
            installation.engine,
            CALLER,
            source_region="eu-central-1",
            source_snapshot_id=source,
            description="yours",
            tag_specifications=[specification],
        )
        assert answer["Tags"] == [{"Key": "k", "Value": "v"}, {"Key": "e", "Value": ""}]
        row = installation.row(SnapshotId(str(answer["SnapshotId"])))
        assert (row.description, row.tags) == ("yours", (("k", "v"), ("e", "")))

    def test_to_another_region(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(
            installation, source, OREGON, destination_region="us-west-2", presigned_url="https://example.com/?sign"
        )
        assert installation.row(snapshot_id).region == "us-west-2"
        assert content(installation, snapshot_id, OREGON) == {0: A}
        with pytest.raises(SnapshotNotFoundError):
            installation.content(snapshot_id)

    def test_a_seal_that_was_cut_off_is_resumed(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = installation.sealed({0: A})
        monkeypatch.setattr(installation.sealer, "start", lambda snapshot_id: None)
        snapshot_id = copy(installation, source)
        assert installation.row(snapshot_id).state is SnapshotState.SEALING
        monkeypatch.undo()
        installation.reopen()
        installation.tick()
        assert installation.content(snapshot_id) == {0: A}


class TestSources:
    def test_what_the_caller_does_not_see_does_not_exist(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        with pytest.raises(SnapshotNotFoundError):
            copy(installation, source, BOB)
        with pytest.raises(SnapshotNotFoundError):
            copy(installation, source, region="us-west-2")

    def test_a_shared_snapshot_becomes_the_readers_own(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        share(installation, source, user_ids=[BOB_ID])
        snapshot_id = copy(installation, source, BOB)
        installation.delete(source)
        assert installation.row(snapshot_id).account_id == BOB_ID
        assert installation.row(snapshot_id).shared_with == frozenset()
        assert content(installation, snapshot_id, BOB) == {0: A}

    def test_a_public_snapshot_can_be_copied(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        share(installation, source, group_names=["all"])
        assert content(installation, copy(installation, source, BOB), BOB) == {0: A}

    def test_it_must_be_completed_and_in_the_standard_tier(self, installation: Installation) -> None:
        pending, archived = installation.start(), installation.sealed({})
        with pytest.raises(SourceNotCompleteError):
            copy(installation, pending)
        modify_snapshot_tier(installation.engine, CALLER, snapshot_id=archived)
        with pytest.raises(SnapshotArchivedError):
            copy(installation, archived)

    def test_its_region_must_exist(self, installation: Installation) -> None:
        with pytest.raises(UnknownSourceRegionError):
            copy(installation, installation.sealed({}), region="mars-north-1")


class TestMembers:
    @pytest.mark.parametrize(
        ("members", "error"),
        [
            ({"encrypted": False}, InvalidParameterError),
            ({"kms_key_id": "alias/mine"}, ParameterDependencyError),
            ({"kms_key_id": "alias/mine", "encrypted": False}, ParameterDependencyError),
            ({"completion_duration_minutes": 0}, InvalidParameterError),
            ({"completion_duration_minutes": 2_881}, InvalidParameterError),
            ({"destination_outpost_arn": "arn:aws:outposts:x"}, InvalidParameterError),
            ({"tag_specifications": [{"ResourceType": "volume", "Tags": []}]}, InvalidParameterError),
            (
                {"tag_specifications": [{"ResourceType": "snapshot", "Tags": [{"Key": "aws:a", "Value": ""}]}]},
                InvalidTagKeyError,
            ),
            ({"dry_run": True}, DryRunPassedError),
        ],
    )
    def test_what_is_wrong_makes_no_copy(
        self, installation: Installation, members: Answer, error: type[Exception]
    ) -> None:
        source = installation.sealed({})
        with pytest.raises(error):
            copy(installation, source, **members)
        assert len(installation.catalog.snapshots(CALLER.account_id, CALLER.region)) == 1


class TestEncryption:
    def test_blocks_are_encrypted_anew_in_the_background(self, installation: Installation) -> None:
        source = installation.sealed({0: A, 1: ZERO, 9: B})
        key_arn = new_key(installation)
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=key_arn)
        row = installation.row(snapshot_id)
        assert row.state is SnapshotState.PENDING
        assert (row.kms_key_arn, row.copied_from) == (key_arn, source)
        installation.tick()
        row = installation.row(snapshot_id)
        assert row.state is SnapshotState.COMPLETED
        assert row.block_count == 3
        assert row.root != installation.row(source).root
        assert row.lineage_id == snapshot_id
        assert installation.content(snapshot_id) == {0: A, 1: ZERO, 9: B}

    def test_from_key_to_key_and_region_to_region(self, installation: Installation) -> None:
        one, two = new_key(installation), new_key(installation, OREGON)
        source = installation.sealed({0: A, 3: ZERO}, encrypted=True, kms_key_arn=one)
        snapshot_id = copy(installation, source, OREGON, encrypted=True, kms_key_id=two)
        installation.tick()
        row = installation.row(snapshot_id)
        assert row.kms_key_arn == two
        assert row.data_key_id != installation.row(source).data_key_id
        assert content(installation, snapshot_id, OREGON) == {0: A, 3: ZERO}
        called(installation, "kms", "ScheduleKeyDeletion", key_id=one, pending_window_in_days=7)
        assert content(installation, snapshot_id, OREGON) == {0: A, 3: ZERO}

    def test_under_the_same_key_everything_is_shared(self, installation: Installation) -> None:
        key_arn = new_key(installation)
        source = installation.sealed({0: A}, encrypted=True, kms_key_arn=key_arn)
        before = object_count(installation)
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=key_arn)
        assert object_count(installation) == before + 1
        assert installation.row(snapshot_id).data_key_id == installation.row(source).data_key_id
        assert installation.row(snapshot_id).lineage_id == installation.row(source).lineage_id
        assert installation.content(snapshot_id) == {0: A}

    def test_encrypted_stays_encrypted_and_the_default_key_is_used(self, installation: Installation) -> None:
        source = installation.sealed({0: A}, encrypted=True, kms_key_arn=new_key(installation))
        snapshot_id = copy(installation, source)
        installation.tick()
        default = called(installation, "ec2", "GetEbsDefaultKmsKeyId")["KmsKeyId"]
        assert installation.row(snapshot_id).kms_key_arn is not None
        assert installation.row(snapshot_id).kms_key_arn != installation.row(source).kms_key_arn
        assert installation.content(snapshot_id) == {0: A}
        explicit = copy(installation, source, encrypted=True, kms_key_id=default)
        installation.tick()
        assert installation.row(explicit).kms_key_arn == installation.row(snapshot_id).kms_key_arn

    def test_encryption_by_default_encrypts_copies(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        called(installation, "ec2", "EnableEbsEncryptionByDefault")
        snapshot_id = copy(installation, source)
        installation.tick()
        assert installation.row(snapshot_id).kms_key_arn is not None
        assert installation.content(snapshot_id) == {0: A}

    def test_a_key_that_does_not_exist_is_told_by_the_copy(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id="alias/nobodys")
        row = installation.row(snapshot_id)
        assert row.kms_key_arn is None
        assert (row.state, row.state_message) == (SnapshotState.ERROR, "Given key ID is not accessible")

    def test_a_disabled_key_is_told_by_the_copy(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        key_arn = new_key(installation)
        called(installation, "kms", "DisableKey", key_id=key_arn)
        row = installation.row(copy(installation, source, encrypted=True, kms_key_id=key_arn))
        assert row.kms_key_arn == key_arn
        assert (row.state, row.state_message) == (SnapshotState.ERROR, "Given key ID is not accessible")

    def test_a_key_that_is_disabled_before_the_work_ends_it(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        key_arn = new_key(installation)
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=key_arn)
        called(installation, "kms", "DisableKey", key_id=key_arn)
        installation.tick()
        row = installation.row(snapshot_id)
        assert (row.state, row.state_message) == (SnapshotState.ERROR, "Given key ID is not accessible")
        assert list(installation.catalog.pending_writes(snapshot_id)) == []

    def test_a_shared_snapshot_whose_key_is_not_shared_makes_a_copy_in_error(self, installation: Installation) -> None:
        source = installation.sealed({0: A}, encrypted=True, kms_key_arn=new_key(installation))
        share(installation, source, user_ids=[BOB_ID])
        row = installation.row(copy(installation, source, BOB))
        assert (row.state, row.state_message) == (SnapshotState.ERROR, "Given key ID is not accessible")


class TestWork:
    def test_a_copy_that_was_cut_off_goes_on_where_it_was(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blocks = {index: block(f"n{index}") for index in range(7)}
        source = installation.sealed(blocks)
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=new_key(installation))
        monkeypatch.setattr(copying, "BATCH_SIZE", 3)
        put_block, put_count = installation.store.put_block, 0

        def failing_put(*arguments: Any) -> bool:
            nonlocal put_count
            put_count += 1
            if put_count > 4:
                raise OSError("the power went out")
            return put_block(*arguments)

        monkeypatch.setattr(installation.store, "put_block", failing_put)
        installation.tick()
        assert installation.row(snapshot_id).state is SnapshotState.PENDING
        written = len(list(installation.catalog.pending_writes(snapshot_id)))
        assert 3 <= written <= 4
        installation.reopen()
        counted = installation.store.put_block
        put_count = 0

        def counting_put(*arguments: Any) -> bool:
            nonlocal put_count
            put_count += 1
            return counted(*arguments)

        monkeypatch.setattr(installation.store, "put_block", counting_put)
        installation.catalog.release_leases()
        installation.tick()
        assert put_count == 7 - written
        assert installation.content(snapshot_id) == blocks

    def test_nobody_else_works_on_it_while_its_lease_holds(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=new_key(installation))
        now = installation.clock()
        assert installation.catalog.claim_copy(snapshot_id, now, now + 1_000) is not None
        installation.tick()
        assert installation.row(snapshot_id).state is SnapshotState.PENDING
        installation.clock.now_ms += 1_000
        installation.tick()
        assert installation.content(snapshot_id) == {0: A}

    def test_nobody_but_the_server_writes_to_it(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=new_key(installation))
        with pytest.raises(SnapshotNotFoundError):
            installation.put(snapshot_id, 0, B)
        with pytest.raises(SnapshotNotFoundError):
            installation.complete(snapshot_id, 0)
        installation.tick()
        assert installation.content(snapshot_id) == {0: A}

    def test_the_source_may_be_deleted_meanwhile(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=new_key(installation))
        installation.delete(source)
        installation.tick()
        assert installation.content(snapshot_id) == {0: A}

    def test_a_copy_that_is_deleted_meanwhile_is_gone(self, installation: Installation) -> None:
        source = installation.sealed({0: A})
        snapshot_id = copy(installation, source, encrypted=True, kms_key_id=new_key(installation))
        installation.delete(snapshot_id)
        installation.tick()
        assert installation.catalog.snapshot(snapshot_id) is None

    def test_there_is_a_limit_to_copies_under_way(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copies, "COPY_LIMIT", 2)
        source, key_arn = installation.sealed({0: A}), new_key(installation)
        for _ in range(2):
            copy(installation, source, encrypted=True, kms_key_id=key_arn)
        with pytest.raises(CopyLimitError):
            copy(installation, source, encrypted=True, kms_key_id=key_arn)
        installation.tick()
        assert copy(installation, source, encrypted=True, kms_key_id=key_arn)
