"""Calls at the same time: each name is given once, and no change is lost."""

from __future__ import annotations

from contextlib import suppress

import pytest

from snapstone.core.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    IdentityLimitError,
    NoSuchEntityError,
)
from tests.installation import ACCOUNT
from tests.suites.races import racing
from tests.unit.service.iam.calls import ANYTHING, Calls

SOME = f"arn:aws:iam::{ACCOUNT}:policy/some"


def test_a_name_is_given_once(root: Calls) -> None:
    def make(number: int) -> bool:
        try:
            root("CreateUser", UserName="anna" if number % 2 else "Anna")
        except EntityAlreadyExistsError:
            return False
        return True

    assert sum(racing(8, make)) == 1
    assert len(root("ListUsers")["Users"]) == 1


def test_no_change_of_one_user_is_lost(root: Calls) -> None:
    root("CreateUser", UserName="anna")

    def change(number: int) -> None:
        root("TagUser", UserName="anna", Tags=[{"Key": f"tag{number}", "Value": ""}])
        root("PutUserPolicy", UserName="anna", PolicyName=f"p{number}", PolicyDocument=ANYTHING)

    racing(8, change)
    assert len(root("ListUserTags", UserName="anna")["Tags"]) == 8
    assert len(root("ListUserPolicies", UserName="anna")["PolicyNames"]) == 8


def test_a_policy_that_is_being_deleted_is_attached_to_nobody(root: Calls) -> None:
    for number in range(6):
        root("CreateUser", UserName=f"user{number}")
    root("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)

    def race(number: int) -> None:
        with suppress(NoSuchEntityError, DeleteConflictError):
            if number < 6:
                root("AttachUserPolicy", UserName=f"user{number}", PolicyArn=SOME)
            else:
                root("DeletePolicy", PolicyArn=SOME)

    racing(8, race)
    attached = sum(
        len(root("ListAttachedUserPolicies", UserName=f"user{number}")["AttachedPolicies"]) for number in range(6)
    )
    if attached:
        assert root("GetPolicy", PolicyArn=SOME)["Policy"]["AttachmentCount"] == attached
    else:
        with pytest.raises(NoSuchEntityError):
            root("GetPolicy", PolicyArn=SOME)


def test_a_user_who_is_being_deleted_gets_no_key(root: Calls) -> None:
    root("CreateUser", UserName="anna")
    keys = []

    def race(number: int) -> None:
        with suppress(NoSuchEntityError, DeleteConflictError, IdentityLimitError):
            if number % 2:
                keys.append(root("CreateAccessKey", UserName="anna")["AccessKey"])
            else:
                root("DeleteUser", UserName="anna")

    racing(6, race)
    known = [key for key in keys if root.credentials(key) is not None]
    assert known == keys
    assert bool(keys) == bool(root("ListUsers")["Users"])
