"""Block public access for snapshots, by account and region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidParameterError,
    PublicAccessBlockedError,
    PublicAccessRequestError,
)
from snapstone.core.ids import AccountId, Region
from snapstone.core.policy.principals import root_principal
from snapstone.service.ec2.snapshot_attributes import (
    disable_snapshot_block_public_access,
    enable_snapshot_block_public_access,
    get_snapshot_block_public_access_state,
    modify_snapshot_attribute,
    require_public_sharing,
)
from snapstone.service.ec2.snapshots import describe_snapshots
from snapstone.service.engine import Caller
from snapstone.service.visibility import public_access_blocked, readable, visible
from tests.installation import ACCOUNT, CALLER, Installation, block

FRANKFURT = Region("eu-central-1")

BOB_ID = AccountId("444455556666")
BOB = Caller(BOB_ID, FRANKFURT, "AKIABOB", root_principal(BOB_ID))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def state(installation: Installation) -> object:
    answer = get_snapshot_block_public_access_state(installation.engine, installation.caller)
    assert answer["ManagedBy"] == "account"
    return answer["State"]


def enable(installation: Installation, state: str) -> object:
    return enable_snapshot_block_public_access(installation.engine, installation.caller, state=state)["State"]


def test_nothing_is_blocked_at_first(installation: Installation) -> None:
    assert state(installation) == "unblocked"
    require_public_sharing(installation.engine, installation.caller)
    assert not public_access_blocked(installation.engine, ACCOUNT, FRANKFURT)


@pytest.mark.parametrize(("asked", "hides"), [("block-all-sharing", True), ("block-new-sharing", False)])
def test_both_modes_refuse_new_sharing_and_one_hides_what_is_shared(
    installation: Installation, asked: str, hides: bool
) -> None:
    assert enable(installation, asked) == asked
    assert state(installation) == asked
    with pytest.raises(PublicAccessBlockedError):
        require_public_sharing(installation.engine, installation.caller)
    assert public_access_blocked(installation.engine, ACCOUNT, FRANKFURT) is hides


def test_it_can_be_turned_into_the_other_mode_and_off(installation: Installation) -> None:
    enable(installation, "block-all-sharing")
    enable(installation, "block-new-sharing")
    assert state(installation) == "block-new-sharing"
    answer = disable_snapshot_block_public_access(installation.engine, installation.caller)
    assert answer == {"State": "unblocked"}
    assert state(installation) == "unblocked"
    require_public_sharing(installation.engine, installation.caller)


def test_accounts_and_regions_are_apart(installation: Installation) -> None:
    enable(installation, "block-all-sharing")
    assert not public_access_blocked(installation.engine, AccountId("444455556666"), FRANKFURT)
    assert not public_access_blocked(installation.engine, ACCOUNT, Region("us-west-2"))
    require_public_sharing(installation.engine, replace(installation.caller, region=Region("us-west-2")))


def test_unblocked_is_an_answer_and_cannot_be_asked_for(installation: Installation) -> None:
    with pytest.raises(PublicAccessRequestError):
        enable(installation, "unblocked")
    with pytest.raises(InvalidParameterError):
        enable(installation, "block-some")


def test_a_dry_run_changes_nothing(installation: Installation) -> None:
    with pytest.raises(DryRunPassedError):
        enable_snapshot_block_public_access(
            installation.engine, installation.caller, state="block-all-sharing", dry_run=True
        )
    assert state(installation) == "unblocked"
    enable(installation, "block-all-sharing")
    with pytest.raises(DryRunPassedError):
        disable_snapshot_block_public_access(installation.engine, installation.caller, dry_run=True)
    assert state(installation) == "block-all-sharing"


def test_another_process_sees_it_at_once(installation: Installation, tmp_path: Path) -> None:
    other = SqliteCatalog(tmp_path / "data" / "catalog.db")
    elsewhere = replace(installation.engine, catalog=other)
    assert not public_access_blocked(elsewhere, ACCOUNT, FRANKFURT)
    enable(installation, "block-all-sharing")
    assert public_access_blocked(elsewhere, ACCOUNT, FRANKFURT)
    other.close()


def share(installation: Installation, snapshot_id: str, **members: Any) -> None:
    modify_snapshot_attribute(
        installation.engine,
        CALLER,
        snapshot_id=snapshot_id,
        attribute="createVolumePermission",
        operation_type="add",
        **members,
    )


def seen_by_bob(installation: Installation) -> object:
    answer = describe_snapshots(installation.engine, BOB)
    assert isinstance(answer["Snapshots"], list)
    return [snapshot["SnapshotId"] for snapshot in answer["Snapshots"]]


def test_what_is_public_is_hidden_as_long_as_all_is_blocked(installation: Installation) -> None:
    public = installation.sealed({0: block("a")})
    share(installation, public, group_names=["all"])
    for asked, seen in (("block-new-sharing", [public]), ("block-all-sharing", []), ("block-new-sharing", [public])):
        enable(installation, asked)
        assert seen_by_bob(installation) == seen
        assert (visible(installation.engine, BOB, public) is not None) is bool(seen)
        assert readable(installation.engine, CALLER, public) is not None
    disable_snapshot_block_public_access(installation.engine, CALLER)
    assert seen_by_bob(installation) == [public]


def test_what_is_shared_with_an_account_is_not_hidden(installation: Installation) -> None:
    shared = installation.sealed({0: block("a")})
    share(installation, shared, user_ids=[BOB_ID])
    share(installation, shared, group_names=["all"])
    enable(installation, "block-all-sharing")
    assert seen_by_bob(installation) == [shared]
    assert readable(installation.engine, BOB, shared) is not None


def test_new_sharing_with_all_is_refused_and_with_an_account_is_not(installation: Installation) -> None:
    snapshot_id = installation.sealed({})
    enable(installation, "block-new-sharing")
    with pytest.raises(PublicAccessBlockedError):
        share(installation, snapshot_id, group_names=["all"])
    share(installation, snapshot_id, user_ids=[BOB_ID])
    assert installation.row(snapshot_id).shared_with == {BOB_ID}
