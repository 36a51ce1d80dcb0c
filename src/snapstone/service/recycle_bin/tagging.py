"""TagResource, UntagResource and ListTagsForResource: the tags of retention rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snapstone.catalog.protection_rows import RetentionRule
from snapstone.core.protection_errors import RuleNotFoundError
from snapstone.core.tags import SentTags
from snapstone.service.engine import Caller, Engine
from snapstone.service.recycle_bin.rule_tags import TAG_RULE, tag_members
from snapstone.service.recycle_bin.rules import change_rule, require_rule, rule_arn

Answer = dict[str, object]


def tag_resource(engine: Engine, caller: Caller, *, resource_arn: str, tags: SentTags) -> Answer:
    """Add tags to a rule; one with a key that is there replaces it."""
    given = TAG_RULE.sent(tags)

    def tag(rule: RetentionRule) -> RetentionRule:
        return replace(rule, tags=TAG_RULE.added(rule.tags, given))

    change_rule(engine, caller, _rule_id(engine, caller, resource_arn), tag)
    return {}


def untag_resource(engine: Engine, caller: Caller, *, resource_arn: str, tag_keys: Sequence[str]) -> Answer:
    """Take tags off a rule; keys that are not there are no error."""

    def untag(rule: RetentionRule) -> RetentionRule:
        return replace(rule, tags=TAG_RULE.without(rule.tags, tag_keys))

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
