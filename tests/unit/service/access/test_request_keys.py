"""Condition keys of a question: what they hold, and whether the moment or the request was checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.service.access.authorization import RequestKeys
from snapstone.service.access.permission import Permission
from tests.installation import CALLER, START_MS, Installation

NEED = Permission("ebs:PutSnapshotBlock", "*", {"aws:resourcetag/team": "red"}, CALLER.account_id)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[RequestKeys]:
    installation = Installation(tmp_path)
    yield RequestKeys(installation.engine, replace(CALLER, facts={"aws:sourceip": "192.0.2.7"}), NEED)
    installation.close()


@pytest.mark.parametrize(
    ("key", "value", "looked_at_request"),
    [
        ("aws:resourcetag/team", "red", False),
        ("aws:resourcetag/other", None, False),
        ("aws:resourceaccount", "111122223333", False),
        ("aws:principalarn", "arn:aws:iam::111122223333:root", False),
        ("aws:username", None, True),
        ("ebs:volumesize", None, False),
        ("aws:sourceip", "192.0.2.7", True),
        ("aws:useragent", None, True),
        ("aws:currenttime", "2026-09-25T11:57:20Z", True),
        ("aws:epochtime", str(START_MS // 1000), True),
    ],
)
def test_a_look_at_what_another_request_may_have_otherwise_is_noticed(
    keys: RequestKeys, key: str, value: str | None, looked_at_request: bool
) -> None:
    assert keys.get(key) == value
    assert keys.looked_at_request is looked_at_request


def test_all_keys_are_listed(keys: RequestKeys) -> None:
    assert {"aws:currenttime", "aws:epochtime", "aws:sourceip", "aws:requestedregion", "aws:userid"} <= set(keys)
    assert len(keys) == len(dict(keys))
