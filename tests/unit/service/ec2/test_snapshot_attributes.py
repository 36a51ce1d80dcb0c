"""Sharing: both spellings, what may be shared with whom, and what a share lets its reader do."""

from __future__ import annotations

from typing import Any

import pytest

from snapstone.catalog.contract.keys import KeyManager, KeyState, KmsKey
from snapstone.catalog.contract.snapshots import PublicAccess
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedAccountIdError,
    MalformedSnapshotIdError,
    NotShareableError,
    PublicAccessBlockedError,
    PublicSnapshotError,
    ShareLimitError,
    SnapshotNotFoundError,
)
from snapstone.service.ec2.snapshot_attributes import (
    describe_snapshot_attribute,
    modify_snapshot_attribute,
    reset_snapshot_attribute,
)
from snapstone.service.ec2.snapshots import delete_snapshot
from snapstone.service.engine import Caller
from snapstone.service.keys.kms_keys import managed_ebs_key, new_key_id
from snapstone.service.snapshots.read import get_snapshot_block, list_changed_blocks, list_snapshot_blocks
from snapstone.service.snapshots.start import start_snapshot
from snapstone.service.snapshots.write import complete_snapshot
from tests.installation import Installation, block
from tests.unit.service.ec2.two_accounts import OTHER, OWNER, STRANGER, elsewhere, share, start, start_encrypted

NO_SNAPSHOT = "snap-0123456789abcdef0"
ADD_OTHER: dict[str, Any] = {"create_volume_permission": {"Add": [{"UserId": OTHER.account_id}]}}


def readers(installation: Installation, snapshot_id: str, caller: Caller = OWNER) -> list[dict[str, str]]:
    answer: dict[str, Any] = describe_snapshot_attribute(
        installation.engine, caller, snapshot_id=snapshot_id, attribute="createVolumePermission"
    )
    assert answer["SnapshotId"] == snapshot_id
    return list(answer["CreateVolumePermissions"])


def modify(installation: Installation, snapshot_id: str, caller: Caller = OWNER, **members: Any) -> None:
    assert modify_snapshot_attribute(installation.engine, caller, snapshot_id=snapshot_id, **members) == {}


def customer_key(installation: Installation) -> KmsKey:
    key_id = new_key_id(installation.engine)
    key = KmsKey(key_id, OWNER.account_id, OWNER.region, KeyManager.CUSTOMER, KeyState.ENABLED, "", "{}", 0)
    installation.catalog.insert_kms_key(key, installation.engine.keys.new_material(key_id, 1), None)
    return key


class TestSpellings:
    def test_permissions_are_added_and_removed_as_a_structure(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        assert readers(installation, snapshot_id) == []
        added = [{"UserId": OTHER.account_id}, {"Group": "all"}]
        modify(installation, snapshot_id, create_volume_permission={"Add": added})
        assert readers(installation, snapshot_id) == added
        modify(installation, snapshot_id, create_volume_permission={"Remove": [{"Group": "all"}]})
        assert readers(installation, snapshot_id) == [{"UserId": OTHER.account_id}]

    def test_permissions_are_added_and_removed_as_lists(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        asked: dict[str, Any] = {"attribute": "createVolumePermission", "operation_type": "add"}
        modify(installation, snapshot_id, **asked, user_ids=[OTHER.account_id], group_names=["all"])
        assert readers(installation, snapshot_id) == [{"UserId": OTHER.account_id}, {"Group": "all"}]
        modify(installation, snapshot_id, operation_type="remove", user_ids=[OTHER.account_id])
        assert readers(installation, snapshot_id) == [{"Group": "all"}]

    def test_to_add_twice_and_to_remove_who_is_none_is_no_error(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        for _ in range(2):
            modify(installation, snapshot_id, **ADD_OTHER)
        assert readers(installation, snapshot_id) == [{"UserId": OTHER.account_id}]
        modify(installation, snapshot_id, operation_type="remove", user_ids=[STRANGER.account_id])
        assert readers(installation, snapshot_id) == [{"UserId": OTHER.account_id}]

    @pytest.mark.parametrize(
        "members",
        [
            {"create_volume_permission": {"Add": [{"Group": "all"}], "Remove": [{"UserId": OTHER.account_id}]}},
            {"create_volume_permission": {"Add": [{"Group": "all", "UserId": OTHER.account_id}]}},
            {"create_volume_permission": {"Add": [{}]}},
            {"create_volume_permission": {"Add": [{"Group": "all"}]}, "operation_type": "add"},
            {"create_volume_permission": {"Add": [{"Group": "all"}]}, "user_ids": [OTHER.account_id]},
            {"attribute": "createVolumePermission"},
            {"user_ids": [OTHER.account_id]},
            {"operation_type": "add"},
        ],
    )
    def test_what_does_not_go_together_is_refused(self, installation: Installation, members: dict[str, Any]) -> None:
        snapshot_id = start(installation, OWNER)
        with pytest.raises(InvalidParameterCombinationError):
            modify(installation, snapshot_id, **members)
        assert readers(installation, snapshot_id) == []

    @pytest.mark.parametrize(
        "members",
        [
            {"operation_type": "add", "group_names": ["everybody"]},
            {"create_volume_permission": {"Add": [{"Group": "everybody"}]}},
            {"create_volume_permission": {"Remove": [{"Group": "ALL"}]}},
            {"operation_type": "replace", "group_names": ["all"]},
            {"attribute": "productCodes", "operation_type": "add", "group_names": ["all"]},
        ],
    )
    def test_a_value_that_there_is_not_is_refused(self, installation: Installation, members: dict[str, Any]) -> None:
        with pytest.raises(InvalidParameterError):
            modify(installation, start(installation, OWNER), **members)

    @pytest.mark.parametrize("account_id", ["all", "12345678901", "1234-5678-9012", ""])
    def test_who_is_named_must_look_like_an_account(self, installation: Installation, account_id: str) -> None:
        snapshot_id = start(installation, OWNER)
        for members in (
            {"operation_type": "add", "user_ids": [account_id]},
            {"create_volume_permission": {"Add": [{"UserId": account_id}]}},
        ):
            with pytest.raises(MalformedAccountIdError):
                modify(installation, snapshot_id, **members)

    def test_500_modifications_are_one_request_and_501_too_many(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        accounts = [f"{number:012d}" for number in range(501)]
        with pytest.raises(InvalidParameterError):
            modify(installation, snapshot_id, operation_type="add", user_ids=accounts)
        modify(installation, snapshot_id, operation_type="add", user_ids=accounts[:500])
        assert len(readers(installation, snapshot_id)) == 500

    def test_a_snapshot_has_1000_readers_at_most(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        accounts = [f"{number:012d}" for number in range(1_001)]
        for first in (0, 500):
            modify(installation, snapshot_id, operation_type="add", user_ids=accounts[first : first + 500])
        with pytest.raises(ShareLimitError):
            modify(installation, snapshot_id, operation_type="add", user_ids=accounts[1_000:])
        modify(installation, snapshot_id, operation_type="remove", user_ids=accounts[:1])
        modify(installation, snapshot_id, operation_type="add", user_ids=accounts[1_000:])
        assert len(readers(installation, snapshot_id)) == 1_000


class TestOthers:
    def test_a_reset_leaves_no_reader(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        share(installation, OWNER, snapshot_id, "all", OTHER.account_id)
        reset_snapshot_attribute(
            installation.engine, OWNER, snapshot_id=snapshot_id, attribute="createVolumePermission"
        )
        assert readers(installation, snapshot_id) == []

    def test_there_are_no_product_codes(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        answer = describe_snapshot_attribute(
            installation.engine, OWNER, snapshot_id=snapshot_id, attribute="productCodes"
        )
        assert answer == {"SnapshotId": snapshot_id, "ProductCodes": []}

    def test_an_attribute_that_there_is_not_is_refused(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        with pytest.raises(InvalidParameterError):
            describe_snapshot_attribute(installation.engine, OWNER, snapshot_id=snapshot_id, attribute="description")
        with pytest.raises(InvalidParameterError):
            reset_snapshot_attribute(installation.engine, OWNER, snapshot_id=snapshot_id, attribute="productCodes")

    def test_a_dry_run_comes_after_syntax_and_before_existence(self, installation: Installation) -> None:
        engine = installation.engine
        attribute = "createVolumePermission"
        for snapshot_id, error in ((NO_SNAPSHOT, DryRunPassedError), ("snap-xyz", MalformedSnapshotIdError)):
            with pytest.raises(error):
                modify(installation, snapshot_id, **ADD_OTHER, dry_run=True)
            with pytest.raises(error):
                describe_snapshot_attribute(engine, OWNER, snapshot_id=snapshot_id, attribute=attribute, dry_run=True)
            with pytest.raises(error):
                reset_snapshot_attribute(engine, OWNER, snapshot_id=snapshot_id, attribute=attribute, dry_run=True)

    def test_who_reads_and_who_may_is_the_owners_affair(self, installation: Installation) -> None:
        """Even for a public snapshot: to a reader the answer is that of a snapshot that does not exist."""
        engine = installation.engine
        snapshot_id = start(installation, OWNER)
        share(installation, OWNER, snapshot_id, "all", OTHER.account_id)
        attribute = "createVolumePermission"
        for caller, named in ((OTHER, snapshot_id), (elsewhere(OWNER), snapshot_id), (OWNER, NO_SNAPSHOT)):
            with pytest.raises(SnapshotNotFoundError):
                readers(installation, named, caller)
            with pytest.raises(SnapshotNotFoundError):
                modify(installation, named, caller, **ADD_OTHER)
            with pytest.raises(SnapshotNotFoundError):
                reset_snapshot_attribute(engine, caller, snapshot_id=named, attribute=attribute)
        assert len(readers(installation, snapshot_id)) == 2

    def test_a_deleted_snapshot_has_no_attribute(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        installation.delete(snapshot_id)
        with pytest.raises(SnapshotNotFoundError):
            modify(installation, snapshot_id, **ADD_OTHER)


class TestWhatMayBeShared:
    def test_an_encrypted_snapshot_is_never_public(self, installation: Installation) -> None:
        snapshot_id = start_encrypted(installation, customer_key(installation).arn)
        with pytest.raises(NotShareableError) as refusal:
            share(installation, OWNER, snapshot_id, "all", OTHER.account_id)
        assert refusal.value.message == "Encrypted snapshots cannot be made public"
        assert readers(installation, snapshot_id) == []

    def test_under_a_customers_key_it_is_shared_with_accounts(self, installation: Installation) -> None:
        snapshot_id = start_encrypted(installation, customer_key(installation).arn)
        share(installation, OWNER, snapshot_id, OTHER.account_id)
        assert readers(installation, snapshot_id) == [{"UserId": OTHER.account_id}]

    def test_under_the_managed_key_it_is_not_shared_at_all(self, installation: Installation) -> None:
        key = managed_ebs_key(installation.engine, OWNER.account_id, OWNER.region)
        snapshot_id = start_encrypted(installation, key.arn)
        with pytest.raises(NotShareableError) as refusal:
            share(installation, OWNER, snapshot_id, OTHER.account_id)
        assert refusal.value.message == "Encrypted snapshots with EBS default key cannot be shared"
        modify(installation, snapshot_id, operation_type="remove", group_names=["all"])
        assert readers(installation, snapshot_id) == []

    @pytest.mark.parametrize("blocked", [PublicAccess.BLOCK_ALL, PublicAccess.BLOCK_NEW])
    def test_where_public_access_is_blocked_accounts_may_still_be_added(
        self, installation: Installation, blocked: PublicAccess
    ) -> None:
        snapshot_id = start(installation, OWNER)
        installation.catalog.set_public_access(OWNER.account_id, OWNER.region, blocked)
        with pytest.raises(PublicAccessBlockedError):
            share(installation, OWNER, snapshot_id, "all")
        share(installation, OWNER, snapshot_id, OTHER.account_id)
        assert readers(installation, snapshot_id) == [{"UserId": OTHER.account_id}]


class TestWhatAReaderMay:
    """Recorded answers of AWS: docs/aws-behaviour/sharing-and-public-access.md, SHARE-6 to SHARE-9."""

    @pytest.fixture
    def pair(self, installation: Installation) -> tuple[str, str]:
        """Two completed snapshots of one lineage, not shared."""
        first = installation.sealed({0: block("a")})
        return first, installation.sealed({0: block("b")}, parent_snapshot_id=first)

    def test_a_reader_lists_gets_and_compares(self, installation: Installation, pair: tuple[str, str]) -> None:
        engine = installation.engine
        token = installation.list_page(pair[0])["Blocks"][0]["BlockToken"]
        for snapshot_id in pair:
            with pytest.raises(SnapshotNotFoundError):
                list_snapshot_blocks(engine, OTHER, snapshot_id=snapshot_id)
            share(installation, OWNER, snapshot_id, OTHER.account_id)
            assert len(_blocks(list_snapshot_blocks(engine, OTHER, snapshot_id=snapshot_id), "Blocks")) == 1
        changed = list_changed_blocks(engine, OTHER, first_snapshot_id=pair[0], second_snapshot_id=pair[1])
        assert len(_blocks(changed, "ChangedBlocks")) == 1
        installation.caller = OTHER
        assert installation.get(pair[0], 0, token) == block("a")
        installation.caller = OWNER

    def test_what_is_shared_no_more_is_read_no_more_until_it_is_again(
        self, installation: Installation, pair: tuple[str, str]
    ) -> None:
        share(installation, OWNER, pair[0], OTHER.account_id)
        members: dict[str, Any] = {
            "snapshot_id": pair[0],
            "block_index": 0,
            "block_token": installation.list_page(pair[0])["Blocks"][0]["BlockToken"],
        }
        modify(installation, pair[0], operation_type="remove", user_ids=[OTHER.account_id])
        with pytest.raises(SnapshotNotFoundError):
            get_snapshot_block(installation.engine, OTHER, **members)
        share(installation, OWNER, pair[0], OTHER.account_id)
        answer: dict[str, Any] = get_snapshot_block(installation.engine, OTHER, **members)
        assert bytes(answer["BlockData"].payload) == block("a")
        answer["BlockData"].release()

    def test_a_public_snapshot_is_read_by_its_owner_alone(
        self, installation: Installation, pair: tuple[str, str]
    ) -> None:
        share(installation, OWNER, pair[0], "all", OTHER.account_id)
        for caller in (OTHER, STRANGER):
            with pytest.raises(PublicSnapshotError):
                list_snapshot_blocks(installation.engine, caller, snapshot_id=pair[0])
        assert installation.content(pair[0]) == {0: block("a")}

    def test_a_reader_builds_nothing_on_it_and_changes_nothing(
        self, installation: Installation, pair: tuple[str, str]
    ) -> None:
        engine = installation.engine
        open_one = start(installation, OWNER)
        for snapshot_id in (*pair, open_one):
            share(installation, OWNER, snapshot_id, OTHER.account_id)
        with pytest.raises(SnapshotNotFoundError):
            start_snapshot(engine, OTHER, volume_size=1, parent_snapshot_id=pair[0])
        with pytest.raises(SnapshotNotFoundError):
            complete_snapshot(engine, OTHER, snapshot_id=open_one, changed_blocks_count=0)
        with pytest.raises(SnapshotNotFoundError):
            delete_snapshot(engine, OTHER, snapshot_id=pair[1])
        installation.caller = OTHER
        with pytest.raises(SnapshotNotFoundError):
            installation.put(open_one, 0, block("a"))
        installation.caller = OWNER
        assert installation.content(pair[1]) == {0: block("b")}

    def test_a_pending_snapshot_is_read_by_nobody(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        share(installation, OWNER, snapshot_id, OTHER.account_id)
        with pytest.raises(SnapshotNotFoundError):
            list_snapshot_blocks(installation.engine, OTHER, snapshot_id=snapshot_id)


def _blocks(answer: dict[str, Any], member: str) -> list[Any]:
    return list(answer[member])
