"""TagResource, UntagResource and ListTagsForResource: the tags of retention rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snapstone.catalog.protection_rows import RetentionRule
from snapstone.core.protection_errors import RuleNotFoundError
from snapstone.service.engine import Caller, Engine
from snapstone.service.recycle_bin.rule_tags import Tags, check_tag_count, checked_tags, tag_members
from snapstone.service.recycle_bin.rules import change_rule, require_rule, rule_arn

Answer = dict[str, object]


def tag_resource(engine: Engine, caller: Caller, *, resource_arn: str, tags: Tags) -> Answer:
    """Add tags to a rule; one with a key that is there replaces it."""
    given = checked_tags(tags)

    def tag(rule: RetentionRule) -> RetentionRule:
        merged = dict(rule.tags) | dict(given)
        check_tag_count(len(merged))
        return replace(rule, tags=tuple(merged.items()))

    change_rule(engine, caller, _rule_id(engine, caller, resource_arn), tag)
    return {}


def untag_resource(engine: Engine, caller: Caller, *, resource_arn: str, tag_keys: Sequence[str]) -> Answer:
    """Take tags off a rule; keys that are not there are no error."""

    def untag(rule: RetentionRule) -> RetentionRule:
        return replace(rule, tags=tuple((key, value) for key, value in rule.tags if key not in tag_keys))

    change_rule(engine, caller, _rule_id(engine, caller, resource_arn), untag)
    return {}


def list_tags_for_resource(engine: Engine, caller: Caller, *, resource_arn: str) -> Answer:
    """A rule's tags."""
    return {"Tags": tag_members(require_rule(engine, caller, _rule_id(engine, caller, resource_arn)).tags)}


def _rule_id(engine: Engine, caller: Caller, resource_arn: str) -> str:
    """The id in the ARN of one of the caller's rules. Raises RuleNotFoundError."""
    rule_id = resource_arn.rpartition("/")[2]
    if rule_arn(require_rule(engine, caller, rule_id)) != resource_arn:
        raise RuleNotFoundError(rule_id)
    return rule_id
