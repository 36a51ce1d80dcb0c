"""Access keys: sealed in the catalog, at most two for each owner, and switched for the next request."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from snapstone.core.errors import DamageError, IdentityLimitError, IdentityValidationError, NoSuchEntityError
from snapstone.core.policy.principals import PrincipalKind, root_principal
from snapstone.service.identities.identity import credentials_of
from tests.installation import ACCOUNT, START_MS, Installation
from tests.suites.races import racing
from tests.unit.service.iam.calls import OTHER_ACCOUNT, Calls


@pytest.fixture
def anna(root: Calls) -> Calls:
    """Root, in an account that has a user anna."""
    root("CreateUser", UserName="anna", Path="/backup/", Tags=[{"Key": "team", "Value": "blue"}])
    return root


def test_a_users_key_stands_for_the_user(anna: Calls) -> None:
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", key["AccessKeyId"])
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", key["SecretAccessKey"])
    assert (key["UserName"], key["Status"], key["CreateDate"]) == ("anna", "Active", START_MS)
    credentials = anna.credentials(key)
    assert credentials is not None
    assert (credentials.secret, credentials.account_id) == (key["SecretAccessKey"], ACCOUNT)
    assert (credentials.active, credentials.expires_at_ms, credentials.session_token_ok) == (True, None, True)
    principal = credentials.principal
    assert (principal.kind, principal.name, dict(principal.tags)) == (PrincipalKind.USER, "anna", {"team": "blue"})
    assert principal.arn == f"arn:aws:iam::{ACCOUNT}:user/backup/anna"
    assert principal.user_id == anna("GetUser", UserName="anna")["User"]["UserId"]


def test_a_key_of_root_stands_for_the_account(root: Calls) -> None:
    key = root("CreateAccessKey")["AccessKey"]
    credentials = root.credentials(key)
    assert credentials is not None
    assert credentials.principal == root_principal(ACCOUNT)


def test_a_long_term_key_comes_with_no_session_token(root: Calls, installation: Installation) -> None:
    key = root("CreateAccessKey")["AccessKey"]
    credentials = credentials_of(installation.engine, key["AccessKeyId"], "token")
    assert credentials is not None
    assert not credentials.session_token_ok


def test_an_unknown_key_is_nobodys(root: Calls, installation: Installation) -> None:
    assert credentials_of(installation.engine, "AKIANOBODY", None) is None


def test_a_secret_is_printed_nowhere_and_stored_sealed(root: Calls, installation: Installation, tmp_path: Path) -> None:
    key = root("CreateAccessKey")["AccessKey"]
    secret = key["SecretAccessKey"]
    assert secret not in repr(root.credentials(key))
    installation.catalog.check()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.db*"))
    assert key["AccessKeyId"].encode() in stored
    assert secret.encode() not in stored


def test_two_keys_are_the_most(anna: Calls) -> None:
    first = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    anna("CreateAccessKey", UserName="anna")
    with pytest.raises(IdentityLimitError) as caught:
        anna("CreateAccessKey", UserName="anna")
    assert caught.value.message == "Cannot exceed quota for AccessKeysPerUser: 2"
    anna("DeleteAccessKey", UserName="anna", AccessKeyId=first["AccessKeyId"])
    anna("CreateAccessKey", UserName="anna")
    anna("CreateAccessKey")


def test_racing_callers_make_no_third_key(anna: Calls) -> None:
    def make(_: int) -> bool:
        try:
            anna("CreateAccessKey", UserName="anna")
        except IdentityLimitError:
            return False
        return True

    assert sum(racing(6, make)) == 2
    assert len(anna("ListAccessKeys", UserName="anna")["AccessKeyMetadata"]) == 2


def test_a_key_that_is_switched_off_counts_no_more(anna: Calls) -> None:
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    states = []
    for status in ("Inactive", "Active"):
        anna("UpdateAccessKey", UserName="anna", AccessKeyId=key["AccessKeyId"], Status=status)
        credentials = anna.credentials(key)
        states.append(credentials is not None and credentials.active)
    assert states == [False, True]


def test_a_deleted_key_is_nobodys(anna: Calls) -> None:
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    assert anna.credentials(key) is not None
    anna("DeleteAccessKey", UserName="anna", AccessKeyId=key["AccessKeyId"])
    assert anna.credentials(key) is None
    with pytest.raises(NoSuchEntityError):
        anna("DeleteAccessKey", UserName="anna", AccessKeyId=key["AccessKeyId"])


def test_a_key_is_found_under_its_owner_alone(anna: Calls) -> None:
    anna("CreateUser", UserName="berta")
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    other = anna.of_account(OTHER_ACCOUNT)
    other("CreateUser", UserName="anna")
    for caller, members in ((anna, {"UserName": "berta"}), (anna, {}), (other, {"UserName": "anna"}), (other, {})):
        with pytest.raises(NoSuchEntityError):
            caller("DeleteAccessKey", AccessKeyId=key["AccessKeyId"], **members)
        with pytest.raises(NoSuchEntityError):
            caller("UpdateAccessKey", AccessKeyId=key["AccessKeyId"], Status="Inactive", **members)
    assert anna.credentials(key) is not None


def test_keys_are_listed_without_their_secrets(anna: Calls) -> None:
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    anna("CreateAccessKey")
    del key["SecretAccessKey"]
    assert anna("ListAccessKeys", UserName="anna") == {"AccessKeyMetadata": [key], "IsTruncated": False}


def test_a_user_manages_the_own_keys_without_a_name(anna: Calls) -> None:
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    user = anna.signed_by(key)
    made = user("CreateAccessKey")["AccessKey"]
    assert made["UserName"] == "anna"
    user("DeleteAccessKey", AccessKeyId=key["AccessKeyId"])
    assert [each["AccessKeyId"] for each in anna("ListAccessKeys", UserName="anna")["AccessKeyMetadata"]] == [
        made["AccessKeyId"]
    ]


def test_another_status_is_refused(anna: Calls) -> None:
    key = anna("CreateAccessKey", UserName="anna")["AccessKey"]
    with pytest.raises(IdentityValidationError):
        anna("UpdateAccessKey", UserName="anna", AccessKeyId=key["AccessKeyId"], Status="active")


def test_no_key_is_made_for_a_user_that_does_not_exist(root: Calls) -> None:
    with pytest.raises(NoSuchEntityError):
        root("CreateAccessKey", UserName="nobody")


def test_a_key_whose_seal_is_anothers_opens_nothing(root: Calls, installation: Installation, tmp_path: Path) -> None:
    first = root("CreateAccessKey")["AccessKey"]["AccessKeyId"]
    second = root("CreateAccessKey")["AccessKey"]["AccessKeyId"]
    installation.close()
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute(
            "UPDATE iam_access_key SET sealed_secret = other.sealed_secret FROM iam_access_key AS other "
            "WHERE other.access_key_id = ? AND iam_access_key.access_key_id = ?",
            (first, second),
        )
    connection.close()
    installation.__post_init__()
    with pytest.raises(DamageError):
        credentials_of(installation.engine, second, None)
