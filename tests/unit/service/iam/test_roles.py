"""Roles: who may assume them is a policy of their own."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from snapstone.core.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    IdentityLimitError,
    IdentityValidationError,
    MalformedPolicyDocumentError,
    NoSuchEntityError,
)
from tests.installation import ACCOUNT, START_MS
from tests.unit.service.iam.calls import ANYTHING, OTHER_ACCOUNT, TRUST, Calls


def test_a_role_is_described_as_it_was_made(root: Calls) -> None:
    made = root(
        "CreateRole",
        RoleName="writer",
        Path="/backup/",
        AssumeRolePolicyDocument=TRUST,
        Description="writes",
        MaxSessionDuration=7_200,
    )["Role"]
    assert re.fullmatch(r"AROA[A-Z2-7]{16}", made["RoleId"])
    assert unquote(made.pop("AssumeRolePolicyDocument")) == TRUST
    assert made == {
        "Path": "/backup/",
        "RoleName": "writer",
        "RoleId": made["RoleId"],
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/backup/writer",
        "CreateDate": START_MS,
        "Description": "writes",
        "MaxSessionDuration": 7_200,
    }
    found = root("GetRole", RoleName="writer")["Role"]
    assert (found["RoleId"], found["MaxSessionDuration"]) == (made["RoleId"], 7_200)


def test_a_user_and_a_role_may_have_one_name(root: Calls) -> None:
    root("CreateUser", UserName="writer")
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    with pytest.raises(EntityAlreadyExistsError):
        root("CreateRole", RoleName="WRITER", AssumeRolePolicyDocument=TRUST)


def test_a_role_is_updated_in_the_parts_that_are_named(root: Calls) -> None:
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST, Description="old")
    root("UpdateRole", RoleName="writer", MaxSessionDuration=43_200)
    root("UpdateRole", RoleName="writer", Description="")
    role = root("GetRole", RoleName="writer")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("", 43_200)


def test_another_trust_policy_takes_the_place_of_the_old_one(root: Calls) -> None:
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    other = TRUST.replace(ACCOUNT, OTHER_ACCOUNT)
    root("UpdateAssumeRolePolicy", RoleName="writer", PolicyDocument=other)
    assert unquote(root("GetRole", RoleName="writer")["Role"]["AssumeRolePolicyDocument"]) == other


def test_roles_are_listed_by_name(root: Calls) -> None:
    for name in ("b", "a"):
        root("CreateRole", RoleName=name, AssumeRolePolicyDocument=TRUST)
    assert [role["RoleName"] for role in root("ListRoles")["Roles"]] == ["a", "b"]
    assert root.of_account(OTHER_ACCOUNT)("ListRoles")["Roles"] == []


def test_a_role_with_policies_is_not_deleted(root: Calls) -> None:
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    root("PutRolePolicy", RoleName="writer", PolicyName="all", PolicyDocument=ANYTHING)
    with pytest.raises(DeleteConflictError):
        root("DeleteRole", RoleName="writer")
    root("DeleteRolePolicy", RoleName="writer", PolicyName="all")
    root("DeleteRole", RoleName="writer")
    with pytest.raises(NoSuchEntityError):
        root("GetRole", RoleName="writer")


@pytest.mark.parametrize("document", ["", "{", "[]", '"text"', "1"])
def test_what_is_no_policy_is_refused(root: Calls, document: str) -> None:
    with pytest.raises(MalformedPolicyDocumentError):
        root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=document)


def test_a_trust_policy_has_its_size(root: Calls) -> None:
    long = json.loads(TRUST)
    long["Statement"] = long["Statement"] * 30
    with pytest.raises(IdentityLimitError):
        root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=json.dumps(long))


@pytest.mark.parametrize(
    "members", [{"MaxSessionDuration": 3_599}, {"MaxSessionDuration": 43_201}, {"Description": "d" * 1_001}]
)
def test_members_beyond_their_limits_are_refused(root: Calls, members: dict[str, Any]) -> None:
    with pytest.raises(IdentityValidationError):
        root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST, **members)
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    with pytest.raises(IdentityValidationError):
        root("UpdateRole", RoleName="writer", **members)
