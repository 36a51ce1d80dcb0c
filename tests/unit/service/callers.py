"""Principals of an installation as their keys make them, and whole calls: the permission and then the operation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import root_principal
from snapstone.service.access.authorization import authorize_call
from snapstone.service.engine import Caller
from snapstone.service.identities.identity import credentials_of
from snapstone.service.operations import OPERATIONS
from tests.installation import CALLER, Installation

OWNER: Final = CALLER
OTHER_ID: Final = AccountId("444455556666")
OTHER: Final = Caller(OTHER_ID, CALLER.region, "AKIAOTHER", root_principal(OTHER_ID))


def statement(effect: str, actions: str | list[str], resources: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": actions, "Resource": resources} | more


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


EVERYTHING: Final = policy(statement("Allow", "*"))


def perform(installation: Installation, caller: Caller, service: str, name: str, **members: Any) -> dict[str, Any]:
    """An operation as the wire calls it, with members in snake_case."""
    authorize_call(installation.engine, caller, service, name, members)
    return OPERATIONS[service][name](installation.engine, caller, **members)


def user(installation: Installation, root: Caller, name: str, *documents: str, **members: Any) -> Caller:
    """A new user of root's account with these policies."""
    perform(installation, root, "iam", "CreateUser", user_name=name, **members)
    for number, document in enumerate(documents):
        put_policy(installation, root, name, document, f"policy-{number}")
    key = perform(installation, root, "iam", "CreateAccessKey", user_name=name)["AccessKey"]
    return now(installation, replace(root, access_key_id=key["AccessKeyId"]))


def put_policy(
    installation: Installation, root: Caller, name: str, document: str, policy_name: str = "policy-0"
) -> None:
    perform(
        installation, root, "iam", "PutUserPolicy", user_name=name, policy_name=policy_name, policy_document=document
    )


def now(installation: Installation, caller: Caller) -> Caller:
    """The same key's principal as it stands now."""
    credentials = credentials_of(installation.engine, caller.access_key_id, None)
    assert credentials is not None
    return replace(caller, account_id=credentials.account_id, principal=credentials.principal)
