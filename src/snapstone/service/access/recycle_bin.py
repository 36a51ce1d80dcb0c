"""Permissions of the recycle bin's operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from snapstone.catalog.contract.snapshots import RetentionRule
from snapstone.service.access.permission import (
    Keys,
    Members,
    Permission,
    Permissions,
    request_keys,
    resource_keys,
    sent_tags,
    tagging_keys,
    text_of,
)
from snapstone.service.engine import Caller, Engine


def rule_arn(caller: Caller, rule_id: str) -> str:
    """Of a retention rule of the caller's account."""
    return f"arn:aws:rbin:{caller.region}:{caller.account_id}:rule/{rule_id}"


def _create(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    tags = sent_tags(members)
    keys = _requested_type(members) | request_keys(tags)
    yield Permission("rbin:CreateRule", rule_arn(caller, "*"), keys, caller.account_id)
    if tags:
        yield Permission("rbin:TagResource", rule_arn(caller, "*"), keys, caller.account_id)


def _list(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    yield Permission("rbin:ListRules", rule_arn(caller, "*"), _requested_type(members), caller.account_id)


def _on_rule(action: str) -> Permissions:
    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        rule_id = text_of(members, "identifier")
        keys = _rule_keys(engine.catalog.rule(caller.account_id, caller.region, rule_id))
        yield Permission(action, rule_arn(caller, rule_id), keys, caller.account_id)

    return needs


def _on_rule_arn(action: str) -> Permissions:
    """An action on the tags of a rule that is named by its ARN."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        arn = text_of(members, "resource_arn")
        rule_id = arn.removeprefix(rule_arn(caller, ""))
        keys = _rule_keys(engine.catalog.rule(caller.account_id, caller.region, rule_id))
        yield Permission(action, arn, keys | tagging_keys(members), caller.account_id)

    return needs


def _requested_type(members: Members) -> Keys:
    return {"rbin:request/resourcetype": text_of(members, "resource_type")}


def _rule_keys(rule: RetentionRule | None) -> Keys:
    if rule is None:
        return {}
    return resource_keys(rule.tags) | {"rbin:attribute/resourcetype": rule.resource_type}


RBIN_PERMISSIONS: Final[Mapping[str, Permissions]] = {
    "CreateRule": _create,
    "ListRules": _list,
    **{name: _on_rule(f"rbin:{name}") for name in ("GetRule", "UpdateRule", "DeleteRule", "LockRule", "UnlockRule")},
    **{name: _on_rule_arn(f"rbin:{name}") for name in ("TagResource", "UntagResource", "ListTagsForResource")},
}
