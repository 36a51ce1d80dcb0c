"""Permission tables: every operation has its row, no row comes to nothing, and each asks for members that there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from snapstone.core.errors import AccessDeniedError
from snapstone.service.access.authorization import PERMISSIONS, authorize_call
from snapstone.service.access.permission import SentMembers, nothing_needed
from snapstone.service.operations import OPERATIONS
from snapstone.wire.endpoints import keywords_taken
from tests.installation import Installation
from tests.unit.service.callers import EVERYTHING, OWNER, user


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    offered = {(service, name) for service, operations in OPERATIONS.items() for name in operations}
    assert {(service, name) for service, rows in PERMISSIONS.items() for name in rows} == offered


EVERY_ROW = [(service, name) for service, operations in OPERATIONS.items() for name in operations]


@pytest.mark.parametrize(("service", "name"), EVERY_ROW)
def test_a_row_asks_for_members_that_its_operation_takes(installation: Installation, service: str, name: str) -> None:
    """By reading every member: RuntimeError if one is misspelt."""
    taken = keywords_taken(OPERATIONS[service][name])
    assert taken is not None
    list(PERMISSIONS[service][name](installation.engine, OWNER, SentMembers({}, taken)))


def test_what_rows_share_is_taken_by_some_operation() -> None:
    """Members that a row looks for only if they were sent, so that several operations can share it."""
    taken = {service: set[str]() for service in OPERATIONS}
    for service, name in EVERY_ROW:
        taken[service] |= keywords_taken(OPERATIONS[service][name]) or set()
    assert {"tags", "tag_keys", "policy_arn", "permissions_boundary"} <= taken["iam"]
    assert {"tags", "tag_keys"} <= taken["rbin"]
    assert {"target_key_id"} <= taken["kms"]


@pytest.mark.parametrize("name", ["snapshot_ids", "SnapshotId", ""])
def test_a_member_that_there_is_not_cannot_be_asked_for(name: str) -> None:
    members = SentMembers({"snapshot_id": "snap-1"}, {"snapshot_id", "block_index"})
    assert (members.get("snapshot_id"), members.get("block_index")) == ("snap-1", None)
    with pytest.raises(RuntimeError, match=f"`{name}`"):
        members.get(name)


def test_a_call_that_comes_to_no_permission_is_denied(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for who calls, which anybody may ask."""
    caller = user(installation, OWNER, "ann", EVERYTHING)
    authorize_call(installation.engine, caller, "sts", "GetCallerIdentity", {})
    monkeypatch.setitem(cast(dict[str, Any], PERMISSIONS["sts"]), "GetCallerIdentity", lambda *_: ())
    with pytest.raises(AccessDeniedError, match="GetCallerIdentity"):
        authorize_call(installation.engine, caller, "sts", "GetCallerIdentity", {})


def test_only_what_anybody_may_ask_needs_nothing() -> None:
    """AWS: "No permissions are required to perform this operation" (GetCallerIdentity, GetSessionToken)."""
    free = {(service, name) for service, name in EVERY_ROW if PERMISSIONS[service][name] is nothing_needed}
    assert free == {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}
