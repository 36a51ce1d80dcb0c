"""Policies: inside users and roles, managed with versions, attached, and as boundaries."""

from __future__ import annotations

import json
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
from tests.installation import ACCOUNT, START_MS, Installation
from tests.unit.service.iam.calls import ANYTHING, OTHER_ACCOUNT, TRUST, Calls

READ_ONLY = "arn:aws:iam::aws:policy/SnapstoneReadOnly"
SOME = f"arn:aws:iam::{ACCOUNT}:policy/some"


def sized(characters: int) -> str:
    """A policy of so many characters, and white space that does not count."""
    document = json.dumps(
        {"Version": "2012-10-17", "Id": "", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}},
        separators=(",", ":"),
    )
    padding = "x" * (characters - len(document))
    return document.replace('"Id":""', f'"Id":  \n"{padding}"')


@pytest.fixture
def anna(root: Calls) -> Calls:
    """Root, in an account with a user anna and a role writer."""
    root("CreateUser", UserName="anna")
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    return root


# -- inline --


def test_an_inline_policy_is_put_read_replaced_and_deleted(anna: Calls) -> None:
    for document in (ANYTHING, sized(300)):
        anna("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=document)
        found = anna("GetUserPolicy", UserName="anna", PolicyName="p")
        assert (found["UserName"], found["PolicyName"]) == ("anna", "p")
        assert unquote(found["PolicyDocument"]) == document
    anna("DeleteUserPolicy", UserName="anna", PolicyName="p")
    assert anna("ListUserPolicies", UserName="anna")["PolicyNames"] == []
    for operation in ("GetUserPolicy", "DeleteUserPolicy"):
        with pytest.raises(NoSuchEntityError):
            anna(operation, UserName="anna", PolicyName="p")


def test_inline_policies_of_a_user_and_a_role_are_apart(anna: Calls) -> None:
    anna("PutRolePolicy", RoleName="writer", PolicyName="r", PolicyDocument=ANYTHING)
    anna("PutUserPolicy", UserName="anna", PolicyName="u", PolicyDocument=ANYTHING)
    assert anna("ListRolePolicies", RoleName="writer")["PolicyNames"] == ["r"]
    assert anna("ListUserPolicies", UserName="anna")["PolicyNames"] == ["u"]


def test_the_inline_policies_of_a_user_have_one_size_together(anna: Calls) -> None:
    anna("PutUserPolicy", UserName="anna", PolicyName="a", PolicyDocument=sized(1_024))
    anna("PutUserPolicy", UserName="anna", PolicyName="b", PolicyDocument=sized(1_024))
    for name in ("b", "c"):
        with pytest.raises(IdentityLimitError) as caught:
            anna("PutUserPolicy", UserName="anna", PolicyName=name, PolicyDocument=sized(1_025))
        assert caught.value.message == "Maximum policy size of 2048 bytes exceeded for user anna"
    anna("PutRolePolicy", RoleName="writer", PolicyName="a", PolicyDocument=sized(10_240))
    with pytest.raises(IdentityLimitError):
        anna("PutRolePolicy", RoleName="writer", PolicyName="a", PolicyDocument=sized(10_241))


def test_a_document_that_is_none_changes_nothing(anna: Calls) -> None:
    for document in ("{", "[]", " " * 131_073):
        with pytest.raises(MalformedPolicyDocumentError):
            anna("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=document)
    assert anna("ListUserPolicies", UserName="anna")["PolicyNames"] == []


def test_a_policy_for_nobody_is_refused(root: Calls) -> None:
    with pytest.raises(NoSuchEntityError) as caught:
        root("PutUserPolicy", UserName="nobody", PolicyName="p", PolicyDocument=ANYTHING)
    assert caught.value.message == "The user with name nobody cannot be found."


# -- managed --


def test_a_managed_policy_is_described_as_it_was_made(root: Calls) -> None:
    made = root("CreatePolicy", PolicyName="some", Path="/p/", Description="d", PolicyDocument=ANYTHING)["Policy"]
    arn = f"arn:aws:iam::{ACCOUNT}:policy/p/some"
    assert made == {
        "PolicyName": "some",
        "PolicyId": made["PolicyId"],
        "Arn": arn,
        "Path": "/p/",
        "DefaultVersionId": "v1",
        "AttachmentCount": 0,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": "d",
        "CreateDate": START_MS,
        "UpdateDate": START_MS,
        "Tags": [],
    }
    assert made["PolicyId"].startswith("ANPA")
    assert root("GetPolicy", PolicyArn=arn)["Policy"] == made
    with pytest.raises(EntityAlreadyExistsError):
        root("CreatePolicy", PolicyName="SOME", PolicyDocument=ANYTHING)


def test_a_managed_policy_has_its_size(root: Calls) -> None:
    root("CreatePolicy", PolicyName="some", PolicyDocument=sized(6_144))
    with pytest.raises(IdentityLimitError):
        root("CreatePolicy", PolicyName="other", PolicyDocument=sized(6_145))
    with pytest.raises(IdentityLimitError):
        root("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=sized(6_145))


def test_versions_come_and_go_and_their_numbers_are_not_given_again(root: Calls) -> None:
    root("CreatePolicy", PolicyName="some", PolicyDocument=sized(200))
    for number in range(2, 6):
        root("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=sized(200 + number))
    with pytest.raises(IdentityLimitError):
        root("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=ANYTHING)
    root("DeletePolicyVersion", PolicyArn=SOME, VersionId="v5")
    made = root("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=ANYTHING, SetAsDefault=True)["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v6", True)
    versions = root("ListPolicyVersions", PolicyArn=SOME)["Versions"]
    assert [(each["VersionId"], each["IsDefaultVersion"]) for each in versions] == [
        ("v1", False),
        ("v2", False),
        ("v3", False),
        ("v4", False),
        ("v6", True),
    ]
    found = root("GetPolicyVersion", PolicyArn=SOME, VersionId="v2")["PolicyVersion"]
    assert unquote(found["Document"]) == sized(202)


def test_the_default_version_stays_until_another_one_is_it(root: Calls) -> None:
    root("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)
    root("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=sized(200))
    with pytest.raises(DeleteConflictError):
        root("DeletePolicyVersion", PolicyArn=SOME, VersionId="v1")
    root("SetDefaultPolicyVersion", PolicyArn=SOME, VersionId="v2")
    root("DeletePolicyVersion", PolicyArn=SOME, VersionId="v1")
    assert root("GetPolicy", PolicyArn=SOME)["Policy"]["DefaultVersionId"] == "v2"
    for operation in ("SetDefaultPolicyVersion", "GetPolicyVersion", "DeletePolicyVersion"):
        with pytest.raises(NoSuchEntityError):
            root(operation, PolicyArn=SOME, VersionId="v1")


def test_a_policy_in_use_or_with_versions_is_not_deleted(anna: Calls) -> None:
    anna("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)
    anna("AttachUserPolicy", UserName="anna", PolicyArn=SOME)
    anna("PutRolePermissionsBoundary", RoleName="writer", PermissionsBoundary=SOME)
    policy = anna("GetPolicy", PolicyArn=SOME)["Policy"]
    assert (policy["AttachmentCount"], policy["PermissionsBoundaryUsageCount"]) == (1, 1)
    anna("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=ANYTHING)
    for operation, members in (
        ("DetachUserPolicy", {"UserName": "anna", "PolicyArn": SOME}),
        ("DeleteRolePermissionsBoundary", {"RoleName": "writer"}),
        ("DeletePolicyVersion", {"PolicyArn": SOME, "VersionId": "v2"}),
    ):
        with pytest.raises(DeleteConflictError):
            anna("DeletePolicy", PolicyArn=SOME)
        anna(operation, **members)
    anna("DeletePolicy", PolicyArn=SOME)
    with pytest.raises(NoSuchEntityError):
        anna("GetPolicy", PolicyArn=SOME)


def test_policies_are_listed_by_scope_and_use(anna: Calls) -> None:
    anna("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)
    anna("CreatePolicy", PolicyName="bound", PolicyDocument=ANYTHING)
    anna("AttachUserPolicy", UserName="anna", PolicyArn=SOME)
    anna("PutUserPermissionsBoundary", UserName="anna", PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/bound")

    def names(**members: object) -> list[str]:
        return [policy["PolicyName"] for policy in anna("ListPolicies", **members)["Policies"]]

    assert names(Scope="Local") == ["bound", "some"]
    assert "SnapstoneReadOnly" in names(Scope="AWS")
    assert "some" not in names(Scope="AWS")
    assert {"some", "SnapstoneReadOnly"} < set(names())
    assert names(OnlyAttached=True) == ["bound", "some"]
    assert names(PolicyUsageFilter="PermissionsPolicy") == ["some"]
    assert names(PolicyUsageFilter="PermissionsBoundary") == ["bound"]


def test_policies_of_others_are_not_there(anna: Calls) -> None:
    anna("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)
    other = anna.of_account(OTHER_ACCOUNT)
    other("CreateUser", UserName="carl")
    for operation, members in (
        ("GetPolicy", {"PolicyArn": SOME}),
        ("DeletePolicy", {"PolicyArn": SOME}),
        ("CreatePolicyVersion", {"PolicyArn": SOME, "PolicyDocument": ANYTHING}),
        ("AttachUserPolicy", {"UserName": "carl", "PolicyArn": SOME}),
        ("PutUserPermissionsBoundary", {"UserName": "carl", "PermissionsBoundary": SOME}),
        ("CreateUser", {"UserName": "dora", "PermissionsBoundary": SOME}),
    ):
        with pytest.raises(NoSuchEntityError):
            other(operation, **members)


def test_policies_that_come_with_snapstone_cannot_be_changed(root: Calls) -> None:
    for operation, members in (
        ("DeletePolicy", {}),
        ("CreatePolicyVersion", {"PolicyDocument": ANYTHING}),
        ("SetDefaultPolicyVersion", {"VersionId": "v1"}),
    ):
        with pytest.raises(NoSuchEntityError):
            root(operation, PolicyArn=READ_ONLY, **members)
    assert root("GetPolicy", PolicyArn=READ_ONLY)["Policy"]["Arn"] == READ_ONLY


# -- attached --


def test_policies_are_attached_once_and_detached(anna: Calls) -> None:
    anna("AttachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)
    anna("AttachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)
    assert anna("ListAttachedUserPolicies", UserName="anna") == {
        "AttachedPolicies": [{"PolicyName": "SnapstoneReadOnly", "PolicyArn": READ_ONLY}],
        "IsTruncated": False,
    }
    assert anna("ListAttachedRolePolicies", RoleName="writer")["AttachedPolicies"] == []
    anna("DetachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)
    with pytest.raises(NoSuchEntityError):
        anna("DetachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)


def test_ten_policies_are_attached_at_most(anna: Calls) -> None:
    arns = [
        anna("CreatePolicy", PolicyName=f"p{number}", PolicyDocument=ANYTHING)["Policy"]["Arn"] for number in range(11)
    ]
    for arn in arns[:10]:
        anna("AttachRolePolicy", RoleName="writer", PolicyArn=arn)
    with pytest.raises(IdentityLimitError) as caught:
        anna("AttachRolePolicy", RoleName="writer", PolicyArn=arns[10])
    assert caught.value.message == "Cannot exceed quota for PoliciesPerRole: 10"


def test_attached_policies_are_listed_by_path(anna: Calls) -> None:
    deep = anna("CreatePolicy", PolicyName="deep", Path="/a/", PolicyDocument=ANYTHING)["Policy"]["Arn"]
    anna("AttachUserPolicy", UserName="anna", PolicyArn=deep)
    anna("AttachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)
    listed = anna("ListAttachedUserPolicies", UserName="anna", PathPrefix="/a/")["AttachedPolicies"]
    assert [policy["PolicyName"] for policy in listed] == ["deep"]


def test_a_boundary_is_shown_until_it_is_deleted(anna: Calls) -> None:
    anna("PutUserPermissionsBoundary", UserName="anna", PermissionsBoundary=READ_ONLY)
    assert anna("GetUser", UserName="anna")["User"]["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
        "PermissionsBoundaryArn": READ_ONLY,
    }
    anna("DeleteUserPermissionsBoundary", UserName="anna")
    assert "PermissionsBoundary" not in anna("GetUser", UserName="anna")["User"]


def test_a_policy_name_is_checked(root: Calls) -> None:
    with pytest.raises(IdentityValidationError):
        root("CreatePolicy", PolicyName="a/b", PolicyDocument=ANYTHING)
    root("CreatePolicy", PolicyName="p" * 128, PolicyDocument=ANYTHING)


def test_everything_outlives_a_restart(anna: Calls, installation: Installation) -> None:
    anna("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)
    anna("AttachUserPolicy", UserName="anna", PolicyArn=SOME)
    anna("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=ANYTHING)
    before = anna("GetUser", UserName="anna"), anna("ListAttachedUserPolicies", UserName="anna")
    installation.reopen()
    assert (anna("GetUser", UserName="anna"), anna("ListAttachedUserPolicies", UserName="anna")) == before
    assert anna("ListUserPolicies", UserName="anna")["PolicyNames"] == ["p"]
