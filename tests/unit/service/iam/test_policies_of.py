"""The policies that are requested a principal: all that it has, as they stand at that moment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snapstone.core.errors import MalformedPolicyError
from snapstone.core.policy.evaluation import Decision, Policies, Question, decide
from snapstone.service.identities.identity import policies_of
from tests.installation import ACCOUNT, Installation
from tests.unit.service.iam.calls import ANYTHING, TRUST, Calls

READ_ONLY = "arn:aws:iam::aws:policy/SnapstoneReadOnly"
SOME = f"arn:aws:iam::{ACCOUNT}:policy/some"
READ = "ebs:GetSnapshotBlock"
WRITE = "ebs:PutSnapshotBlock"


def policy(effect: str, action: str) -> str:
    statement = {"Effect": effect, "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def anna(root: Calls) -> Calls:
    """A user without policies, in an account with a role writer."""
    root("CreateUser", UserName="anna")
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    return root.signed_by(root("CreateAccessKey", UserName="anna")["AccessKey"])


def may(caller: Calls, action: str) -> bool:
    """Whether the caller's own policies allow an action on a snapshot of its account."""
    principal = caller.caller.principal
    question = Question(principal, action, "arn:aws:ec2:eu-central-1::snapshot/snap-1", {}, ACCOUNT)
    return decide(question, policies_of(caller.installation.engine, principal)) is Decision.ALLOWED


def session(caller: Calls, **members: Any) -> Calls:
    role = f"arn:aws:iam::{ACCOUNT}:role/writer"
    return caller.signed_by(caller("AssumeRole", RoleArn=role, RoleSessionName="nightly", **members)["Credentials"])


def test_who_has_no_policy_may_do_nothing(anna: Calls) -> None:
    assert not may(anna, READ)


def test_root_has_no_policies_and_needs_none(root: Calls) -> None:
    assert policies_of(root.installation.engine, root.caller.principal) == Policies()
    assert may(root, WRITE)


def test_inline_and_attached_policies_count_at_once(anna: Calls, root: Calls) -> None:
    root("AttachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)
    assert (may(anna, READ), may(anna, WRITE)) == (True, False)
    root("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=policy("Allow", WRITE))
    assert (may(anna, READ), may(anna, WRITE)) == (True, True)
    root("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=policy("Deny", READ))
    assert (may(anna, READ), may(anna, WRITE)) == (False, False)
    root("DeleteUserPolicy", UserName="anna", PolicyName="p")
    root("DetachUserPolicy", UserName="anna", PolicyArn=READ_ONLY)
    assert (may(anna, READ), may(anna, WRITE)) == (False, False)


def test_the_default_version_of_a_policy_counts(anna: Calls, root: Calls) -> None:
    root("CreatePolicy", PolicyName="some", PolicyDocument=policy("Allow", READ))
    root("AttachUserPolicy", UserName="anna", PolicyArn=SOME)
    root("CreatePolicyVersion", PolicyArn=SOME, PolicyDocument=policy("Allow", WRITE))
    assert (may(anna, READ), may(anna, WRITE)) == (True, False)
    root("SetDefaultPolicyVersion", PolicyArn=SOME, VersionId="v2")
    assert (may(anna, READ), may(anna, WRITE)) == (False, True)


def test_a_boundary_allows_nothing_by_itself(anna: Calls, root: Calls) -> None:
    root("PutUserPermissionsBoundary", UserName="anna", PermissionsBoundary=READ_ONLY)
    assert not may(anna, READ)
    root("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=ANYTHING)
    assert (may(anna, READ), may(anna, WRITE)) == (True, False)
    root("DeleteUserPermissionsBoundary", UserName="anna")
    assert may(anna, WRITE)


def test_a_change_by_another_process_counts_at_once(anna: Calls, root: Calls, installation: Installation) -> None:
    assert not may(anna, READ)
    other = Installation(installation.folder)
    Calls(other, root.caller)("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=policy("Allow", READ))
    assert may(anna, READ)
    other.close()


def test_a_session_has_its_roles_policies_and_not_its_callers(anna: Calls, root: Calls) -> None:
    root("PutUserPolicy", UserName="anna", PolicyName="p", PolicyDocument=policy("Allow", READ))
    root("PutRolePolicy", RoleName="writer", PolicyName="p", PolicyDocument=policy("Allow", WRITE))
    running = session(anna)
    assert (may(running, READ), may(running, WRITE)) == (False, True)


def test_a_session_that_is_narrowed_may_do_what_both_allow(anna: Calls, root: Calls) -> None:
    root("PutRolePolicy", RoleName="writer", PolicyName="p", PolicyDocument=ANYTHING)
    running = session(anna, Policy=policy("Allow", READ))
    assert (may(running, READ), may(running, WRITE)) == (True, False)
    running = session(anna, PolicyArns=[{"arn": READ_ONLY}])
    assert (may(running, READ), may(running, WRITE)) == (True, False)


def test_a_session_may_do_nothing_once_the_policy_that_narrows_it_is_gone(anna: Calls, root: Calls) -> None:
    root("PutRolePolicy", RoleName="writer", PolicyName="p", PolicyDocument=ANYTHING)
    root("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)
    key = anna(
        "AssumeRole",
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/writer",
        RoleSessionName="nightly",
        PolicyArns=[{"arn": SOME}],
    )["Credentials"]
    assert may(anna.signed_by(key), READ)
    root("DeletePolicy", PolicyArn=SOME)
    assert not may(anna.signed_by(key), READ)


def test_who_is_gone_may_do_nothing(anna: Calls, root: Calls) -> None:
    root("PutRolePolicy", RoleName="writer", PolicyName="p", PolicyDocument=ANYTHING)
    running = session(anna)
    assert may(running, READ)
    root("DeleteRolePolicy", RoleName="writer", PolicyName="p")
    root("DeleteRole", RoleName="writer")
    assert not may(running, READ)


@pytest.mark.parametrize(
    "document",
    [
        policy("Permit", READ),
        json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": READ}}),
        TRUST,
    ],
)
def test_what_could_never_be_asked_is_not_stored(root: Calls, anna: Calls, document: str) -> None:
    for operation, members in (
        ("PutUserPolicy", {"UserName": "anna", "PolicyName": "p"}),
        ("CreatePolicy", {"PolicyName": "p"}),
    ):
        with pytest.raises(MalformedPolicyError):
            root(operation, PolicyDocument=document, **members)
    with pytest.raises(MalformedPolicyError):
        root("CreateRole", RoleName="other", AssumeRolePolicyDocument=ANYTHING)
