"""Users: made, found, renamed and deleted, each inside its account."""

from __future__ import annotations

import re
from typing import Any

import pytest

from snapstone.core.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    IdentityValidationError,
    InvalidIdentityInputError,
    NoSuchEntityError,
)
from tests.installation import ACCOUNT, START_MS
from tests.unit.service.iam.calls import ANYTHING, OTHER_ACCOUNT, Calls

BUILT_IN = "arn:aws:iam::aws:policy/SnapstoneReadOnly"


def test_a_user_is_described_as_it_was_made(root: Calls) -> None:
    made = root("CreateUser", UserName="anna", Path="/backup/", Tags=[{"Key": "team", "Value": "blue"}])["User"]
    assert re.fullmatch(r"AIDA[A-Z2-7]{16}", made["UserId"])
    assert made == {
        "Path": "/backup/",
        "UserName": "anna",
        "UserId": made["UserId"],
        "Arn": f"arn:aws:iam::{ACCOUNT}:user/backup/anna",
        "CreateDate": START_MS,
        "Tags": [{"Key": "team", "Value": "blue"}],
    }
    assert root("GetUser", UserName="anna")["User"] == made


def test_names_that_differ_in_case_only_are_the_same(root: Calls) -> None:
    root("CreateUser", UserName="anna")
    with pytest.raises(EntityAlreadyExistsError) as caught:
        root("CreateUser", UserName="Anna")
    assert caught.value.message == "User with name Anna already exists."


def test_two_accounts_have_users_of_the_same_name(root: Calls) -> None:
    other = root.of_account(OTHER_ACCOUNT)
    root("CreateUser", UserName="anna")
    with pytest.raises(NoSuchEntityError):
        other("GetUser", UserName="anna")
    other("CreateUser", UserName="anna")
    other("DeleteUser", UserName="anna")
    assert [user["UserName"] for user in root("ListUsers")["Users"]] == ["anna"]


def test_a_user_without_a_name_is_the_caller(root: Calls) -> None:
    root("CreateUser", UserName="anna")
    key = root("CreateAccessKey", UserName="anna")["AccessKey"]
    assert root.signed_by(key)("GetUser")["User"]["UserName"] == "anna"
    assert root("GetUser")["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


def test_users_are_listed_by_name_in_pages(root: Calls) -> None:
    for name in ("carl", "Berta", "anna"):
        root("CreateUser", UserName=name)
    first = root("ListUsers", MaxItems=2)
    assert [user["UserName"] for user in first["Users"]] == ["anna", "Berta"]
    assert first["IsTruncated"] is True
    second = root("ListUsers", MaxItems=2, Marker=first["Marker"])
    assert [user["UserName"] for user in second["Users"]] == ["carl"]
    assert second["IsTruncated"] is False
    assert "Marker" not in second


def test_a_page_goes_on_behind_a_user_who_was_deleted_meanwhile(root: Calls) -> None:
    for name in ("anna", "berta", "carl"):
        root("CreateUser", UserName=name)
    first = root("ListUsers", MaxItems=2)
    root("DeleteUser", UserName="berta")
    assert [user["UserName"] for user in root("ListUsers", Marker=first["Marker"])["Users"]] == ["carl"]


@pytest.mark.parametrize(
    "members",
    [{"MaxItems": 0}, {"MaxItems": 1001}, {"Marker": "ä"}, {"Marker": "x"}, {"Marker": "?"}, {"Marker": "_w=="}],
)
def test_bad_paging_is_refused(root: Calls, members: dict[str, Any]) -> None:
    with pytest.raises(IdentityValidationError):
        root("ListUsers", **members)


def test_only_users_under_the_path_are_listed(root: Calls) -> None:
    root("CreateUser", UserName="anna", Path="/backup/")
    root("CreateUser", UserName="berta")
    assert [user["UserName"] for user in root("ListUsers", PathPrefix="/backup/")["Users"]] == ["anna"]


def test_a_renamed_user_keeps_keys_and_policies(root: Calls) -> None:
    root("CreateUser", UserName="anna")
    root("PutUserPolicy", UserName="anna", PolicyName="all", PolicyDocument=ANYTHING)
    key = root("CreateAccessKey", UserName="anna")["AccessKey"]
    root("UpdateUser", UserName="anna", NewUserName="hanna", NewPath="/new/")
    credentials = root.credentials(key)
    assert credentials is not None
    assert credentials.principal.arn == f"arn:aws:iam::{ACCOUNT}:user/new/hanna"
    assert root("ListUserPolicies", UserName="hanna")["PolicyNames"] == ["all"]
    with pytest.raises(NoSuchEntityError):
        root("GetUser", UserName="anna")


def test_a_user_cannot_take_anothers_name(root: Calls) -> None:
    root("CreateUser", UserName="anna")
    root("CreateUser", UserName="berta")
    with pytest.raises(EntityAlreadyExistsError):
        root("UpdateUser", UserName="berta", NewUserName="ANNA")
    root("UpdateUser", UserName="berta", NewUserName="Berta")


def test_a_user_who_has_something_is_not_deleted(root: Calls) -> None:
    root("CreateUser", UserName="anna")
    key = root("CreateAccessKey", UserName="anna")["AccessKey"]
    root("PutUserPolicy", UserName="anna", PolicyName="all", PolicyDocument=ANYTHING)
    root("AttachUserPolicy", UserName="anna", PolicyArn=BUILT_IN)
    messages = []
    for operation, members in (
        ("DeleteUserPolicy", {"PolicyName": "all"}),
        ("DetachUserPolicy", {"PolicyArn": BUILT_IN}),
        ("DeleteAccessKey", {"AccessKeyId": key["AccessKeyId"]}),
    ):
        with pytest.raises(DeleteConflictError) as caught:
            root("DeleteUser", UserName="anna")
        messages.append(caught.value.message)
        root(operation, UserName="anna", **members)
    assert messages == [
        "Cannot delete entity, must delete policies first.",
        "Cannot delete entity, must detach all policies first.",
        "Cannot delete entity, must delete access keys first.",
    ]
    root("DeleteUser", UserName="anna")
    with pytest.raises(NoSuchEntityError):
        root("DeleteUser", UserName="anna")


@pytest.mark.parametrize("name", ["", "a" * 65, "with space", "a/b", "ä", "a:b"])
def test_a_bad_name_is_refused(root: Calls, name: str) -> None:
    with pytest.raises(IdentityValidationError):
        root("CreateUser", UserName=name)


@pytest.mark.parametrize("path", ["", "backup", "/backup", "backup/", "/a b/", "/a//b/", "/" + "a" * 511 + "/"])
def test_a_bad_path_is_refused(root: Calls, path: str) -> None:
    with pytest.raises(IdentityValidationError):
        root("CreateUser", UserName="anna", Path=path)


def test_tags_are_added_replaced_and_removed(root: Calls) -> None:
    root("CreateUser", UserName="anna", Tags=[{"Key": "team", "Value": "blue"}, {"Key": "cost", "Value": "1"}])
    root("TagUser", UserName="anna", Tags=[{"Key": "Team", "Value": "red"}, {"Key": "new", "Value": ""}])
    root("UntagUser", UserName="anna", TagKeys=["COST", "none"])
    assert root("ListUserTags", UserName="anna")["Tags"] == [
        {"Key": "Team", "Value": "red"},
        {"Key": "new", "Value": ""},
    ]


def _numbered(count: int) -> list[dict[str, str]]:
    return [{"Key": f"k{number}", "Value": ""} for number in range(count)]


@pytest.mark.parametrize(
    "tags",
    [
        _numbered(51),
        [{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}],
        [{"Key": "aws:x", "Value": ""}],
        [{"Key": "AWS:x", "Value": ""}],
        [{"Key": "a", "Value": "a\0b"}],
    ],
)
def test_bad_tags_are_refused(root: Calls, tags: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidIdentityInputError):
        root("CreateUser", UserName="anna", Tags=tags)


def test_fifty_tags_are_taken(root: Calls) -> None:
    root("CreateUser", UserName="anna", Tags=_numbered(50))
    assert len(root("ListUserTags", UserName="anna")["Tags"]) == 50
