"""Temporary keys: what they may stand for, for how long, and what ends them sooner."""

from __future__ import annotations

import re
from typing import Any

import pytest

from snapstone.core.errors import (
    AccessDeniedError,
    IdentityValidationError,
    MalformedPolicyDocumentError,
    PackedPolicyTooLargeError,
    SessionRefusedError,
)
from snapstone.core.policy.principals import PrincipalKind
from snapstone.service.identities.identity import credentials_of, role_of_arn
from snapstone.service.identities.sessions import TOKEN_LIMIT
from tests.installation import ACCOUNT, START_MS, Installation
from tests.unit.service.iam.calls import ANYTHING, OTHER_ACCOUNT, TRUST, Answer, Calls

ROLE = f"arn:aws:iam::{ACCOUNT}:role/writer"
HOUR_MS = 3_600_000


@pytest.fixture
def anna(root: Calls) -> Calls:
    """A user, in an account that has a role writer."""
    root("CreateUser", UserName="anna")
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "team", "Value": "blue"}])
    return root.signed_by(root("CreateAccessKey", UserName="anna")["AccessKey"])


def assumed(caller: Calls, **members: Any) -> Answer:
    return caller("AssumeRole", **({"RoleArn": ROLE, "RoleSessionName": "nightly"} | members))


def test_whoever_calls_is_told_who_it_is(root: Calls, anna: Calls) -> None:
    assert root("GetCallerIdentity") == {
        "UserId": ACCOUNT,
        "Account": ACCOUNT,
        "Arn": f"arn:aws:iam::{ACCOUNT}:root",
    }
    assert anna("GetCallerIdentity")["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/anna"
    session = anna.signed_by(assumed(anna)["Credentials"])
    role_id = root("GetRole", RoleName="writer")["Role"]["RoleId"]
    assert session("GetCallerIdentity") == {
        "UserId": f"{role_id}:nightly",
        "Account": ACCOUNT,
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/writer/nightly",
    }


def test_a_temporary_key_of_a_role(anna: Calls, root: Calls) -> None:
    answer = assumed(anna, Tags=[{"Key": "team", "Value": "red"}, {"Key": "run", "Value": "7"}])
    key = answer["Credentials"]
    role_id = root("GetRole", RoleName="writer")["Role"]["RoleId"]
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", key["AccessKeyId"])
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", key["SecretAccessKey"])
    assert re.fullmatch(r"[A-Za-z0-9]+", key["SessionToken"])
    assert key["Expiration"] == START_MS + HOUR_MS
    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role_id}:nightly",
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/writer/nightly",
    }
    credentials = anna.credentials(key)
    assert credentials is not None
    assert (credentials.secret, credentials.account_id) == (key["SecretAccessKey"], ACCOUNT)
    assert credentials.expires_at_ms == START_MS + HOUR_MS
    principal = credentials.principal
    assert (principal.kind, principal.name, principal.role_arn) == (PrincipalKind.ROLE, "writer", ROLE)
    assert dict(principal.tags) == {"team": "red", "run": "7"}
    assert (principal.session_policies, principal.session_issued_at_ms) == (None, START_MS)


def test_a_token_opens_only_with_its_own_key_id(anna: Calls, installation: Installation) -> None:
    first, second = assumed(anna)["Credentials"], assumed(anna)["Credentials"]
    assert first["SecretAccessKey"] != second["SecretAccessKey"]
    assert credentials_of(installation.engine, first["AccessKeyId"], second["SessionToken"]) is None
    assert credentials_of(installation.engine, first["AccessKeyId"], None) is None


@pytest.mark.parametrize("token", ["", "A", "A" * 400, "ä", "a" * 64, "%"])
def test_what_is_no_token_opens_nothing(anna: Calls, installation: Installation, token: str) -> None:
    key = assumed(anna)["Credentials"]
    assert credentials_of(installation.engine, key["AccessKeyId"], token) is None


def test_the_largest_session_has_a_token_within_the_limit(anna: Calls, installation: Installation) -> None:
    texts = [installation.engine.random_bytes(57).hex() for _ in range(50)]
    fitting = 0
    for count in range(1, 50):
        tags = [{"Key": text, "Value": text[::-1]} for text in texts[:count]]
        try:
            answer = assumed(anna, Tags=tags)
        except PackedPolicyTooLargeError:
            break
        fitting = count
        assert answer["PackedPolicySize"] <= 100
        assert len(answer["Credentials"]["SessionToken"]) <= TOKEN_LIMIT
        assert anna.credentials(answer["Credentials"]) is not None
    assert 10 < fitting < 49


def test_a_longer_token_is_not_even_opened(anna: Calls, installation: Installation) -> None:
    key = assumed(anna)["Credentials"]
    padded = key["SessionToken"] + "=" * TOKEN_LIMIT
    assert credentials_of(installation.engine, key["AccessKeyId"], padded) is None


def test_every_changed_letter_of_a_token_spoils_it(anna: Calls, installation: Installation) -> None:
    key = assumed(anna)["Credentials"]
    token = key["SessionToken"]
    for index in (*range(0, len(token), 7), len(token) - 1):
        changed = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        assert credentials_of(installation.engine, key["AccessKeyId"], changed) is None


def test_another_server_opens_no_token_of_this_one(anna: Calls, installation: Installation, tmp_path: Any) -> None:
    key = assumed(anna)["Credentials"]
    other = Installation(tmp_path / "other")
    assert credentials_of(other.engine, key["AccessKeyId"], key["SessionToken"]) is None
    other.close()


def test_a_token_outlives_a_restart(anna: Calls, installation: Installation) -> None:
    key = assumed(anna)["Credentials"]
    installation.reopen()
    assert anna.credentials(key) is not None


def test_a_session_ends_with_its_role_and_not_with_one_of_the_same_name(anna: Calls, root: Calls) -> None:
    key = assumed(anna)["Credentials"]
    root("DeleteRole", RoleName="writer")
    assert anna.credentials(key) is None
    root("CreateRole", RoleName="writer", AssumeRolePolicyDocument=TRUST)
    assert anna.credentials(key) is None


def test_a_users_session_ends_with_the_key_that_asked_for_it(anna: Calls, root: Calls) -> None:
    parent = anna.caller.access_key_id
    key = anna("GetSessionToken")["Credentials"]
    credentials = anna.credentials(key)
    assert credentials is not None
    assert credentials.principal.arn == f"arn:aws:iam::{ACCOUNT}:user/anna"
    assert credentials.expires_at_ms == START_MS + 12 * HOUR_MS
    root("UpdateAccessKey", UserName="anna", AccessKeyId=parent, Status="Inactive")
    assert anna.credentials(key) is None
    root("UpdateAccessKey", UserName="anna", AccessKeyId=parent, Status="Active")
    assert anna.credentials(key) is not None
    root("DeleteAccessKey", UserName="anna", AccessKeyId=parent)
    assert anna.credentials(key) is None


def test_root_gets_one_hour_at_most(root: Calls) -> None:
    signed = root.signed_by(root("CreateAccessKey")["AccessKey"])
    for members in ({}, {"DurationSeconds": 129_600}):
        assert signed("GetSessionToken", **members)["Credentials"]["Expiration"] == START_MS + HOUR_MS


def test_a_session_asks_for_no_session_token(anna: Calls) -> None:
    with pytest.raises(SessionRefusedError):
        anna.signed_by(assumed(anna)["Credentials"])("GetSessionToken")


def test_a_role_says_how_long_its_sessions_last(anna: Calls, root: Calls) -> None:
    with pytest.raises(IdentityValidationError) as caught:
        assumed(anna, DurationSeconds=3_601)
    assert caught.value.message == ("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    root("UpdateRole", RoleName="writer", MaxSessionDuration=43_200)
    assert assumed(anna, DurationSeconds=43_200)["Credentials"]["Expiration"] == START_MS + 12 * HOUR_MS
    for seconds in (899, 43_201):
        with pytest.raises(IdentityValidationError):
            assumed(anna, DurationSeconds=seconds)


def test_a_chained_session_lasts_an_hour_at_most(anna: Calls, root: Calls) -> None:
    root("UpdateRole", RoleName="writer", MaxSessionDuration=43_200)
    session = anna.signed_by(assumed(anna)["Credentials"])
    assert assumed(session, DurationSeconds=3_600)["Credentials"]["Expiration"] == START_MS + HOUR_MS
    with pytest.raises(IdentityValidationError):
        assumed(session, DurationSeconds=3_601)


@pytest.mark.parametrize("name", ["", "a", "a" * 65, "a b", "a/b"])
def test_a_bad_session_name_is_refused(anna: Calls, name: str) -> None:
    with pytest.raises(IdentityValidationError):
        assumed(anna, RoleSessionName=name)


@pytest.mark.parametrize(
    "arn",
    [f"arn:aws:iam::{ACCOUNT}:role/other", f"arn:aws:iam::{ACCOUNT}:role/path/writer", ROLE + "x", "writer" * 4],
)
def test_a_role_that_does_not_exist_is_refused_like_one_that_is_not_the_callers(anna: Calls, arn: str) -> None:
    with pytest.raises(AccessDeniedError):
        assumed(anna, RoleArn=arn)


@pytest.mark.parametrize("operation", ["AssumeRole", "GetSessionToken"])
@pytest.mark.parametrize("members", [{"SerialNumber": "arn:mfa"}, {"TokenCode": "123456"}])
def test_a_code_of_a_device_that_nobody_has_is_wrong(anna: Calls, operation: str, members: dict[str, str]) -> None:
    needed = {"RoleArn": ROLE, "RoleSessionName": "nightly"} if operation == "AssumeRole" else {}
    with pytest.raises(SessionRefusedError):
        anna(operation, **needed, **members)


@pytest.mark.parametrize("members", [{"SourceIdentity": "anna"}, {"TransitiveTagKeys": ["team"]}])
def test_what_would_be_disregarded_is_refused(anna: Calls, members: dict[str, Any]) -> None:
    with pytest.raises(IdentityValidationError) as caught:
        assumed(anna, **members)
    assert next(iter(members)) in caught.value.message


def test_a_session_can_be_narrowed(anna: Calls, root: Calls) -> None:
    managed = root("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)["Policy"]["Arn"]
    answer = assumed(anna, Policy=ANYTHING, PolicyArns=[{"arn": managed}])
    assert 0 < answer["PackedPolicySize"] <= 100
    credentials = anna.credentials(answer["Credentials"])
    assert credentials is not None
    assert credentials.principal.session_policies == (ANYTHING, ANYTHING)


def test_a_session_may_do_nothing_once_a_policy_is_gone_that_narrows_it(anna: Calls, root: Calls) -> None:
    managed = root("CreatePolicy", PolicyName="some", PolicyDocument=ANYTHING)["Policy"]["Arn"]
    key = assumed(anna, Policy=ANYTHING, PolicyArns=[{"arn": managed}])["Credentials"]
    root("DeletePolicy", PolicyArn=managed)
    credentials = anna.credentials(key)
    assert credentials is not None
    assert credentials.principal.session_policies == ()


def test_bad_session_policies_are_refused(anna: Calls, root: Calls) -> None:
    for members in (
        {"Policy": "no json"},
        {"PolicyArns": [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/none"}]},
    ):
        with pytest.raises(MalformedPolicyDocumentError):
            assumed(anna, **members)
    with pytest.raises(IdentityValidationError):
        assumed(anna, Policy=ANYTHING + " " * 2_048)
    eleven = [{"arn": "arn:aws:iam::aws:policy/SnapstoneReadOnly"}] * 11
    with pytest.raises(IdentityValidationError):
        assumed(anna, PolicyArns=eleven)


def test_tags_that_do_not_fit_into_a_token_are_refused(anna: Calls, installation: Installation) -> None:
    texts = [installation.engine.random_bytes(64).hex() for _ in range(50)]
    with pytest.raises(PackedPolicyTooLargeError) as caught:
        assumed(anna, Tags=[{"Key": text, "Value": text[::-1]} for text in texts])
    assert caught.value.percent > 100


def test_the_trust_of_a_role_is_found_by_its_whole_arn(root: Calls, installation: Installation) -> None:
    root("CreateRole", RoleName="deep", Path="/a/b/", AssumeRolePolicyDocument=TRUST)
    engine = installation.engine
    deep = role_of_arn(engine, f"arn:aws:iam::{ACCOUNT}:role/a/b/deep")
    assert deep is not None
    assert deep.trust_policy == TRUST
    for arn in (f"arn:aws:iam::{ACCOUNT}:role/deep", f"arn:aws:iam::{OTHER_ACCOUNT}:role/a/b/deep", "deep"):
        assert role_of_arn(engine, arn) is None


def test_the_account_of_a_key_is_told(root: Calls) -> None:
    key = root("CreateAccessKey")["AccessKey"]
    assert root("GetAccessKeyInfo", AccessKeyId=key["AccessKeyId"]) == {"Account": ACCOUNT}
    session = root.signed_by(key)("GetSessionToken")["Credentials"]
    assert root("GetAccessKeyInfo", AccessKeyId=session["AccessKeyId"]) == {"Account": ACCOUNT}
    for unknown in ("AKIA" + "A" * 16, "ASIA" + "7" * 16, "ASIA" + "1" * 16):
        with pytest.raises(IdentityValidationError):
            root("GetAccessKeyInfo", AccessKeyId=unknown)
