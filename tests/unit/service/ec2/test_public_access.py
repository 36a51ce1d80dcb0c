"""Block public access for snapshots, by account and region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.catalog.sqlite import SqliteCatalog
from snapstone.core.errors import DryRunPassedError, InvalidParameterError
from snapstone.core.ids import AccountId, Region
from snapstone.core.protection_errors import PublicAccessBlockedError, PublicAccessRequestError
from snapstone.service.ec2.public_access import (
    disable_snapshot_block_public_access,
    enable_snapshot_block_public_access,
    get_snapshot_block_public_access_state,
    public_access_blocked,
    require_public_sharing,
)
from tests.installation import ACCOUNT, Installation

FRANKFURT = Region("eu-central-1")


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
