"""Tags of users and roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snapstone.service.engine import Caller
from snapstone.service.iam.identity_engine import IdentityEngine
from snapstone.service.iam.members import TAG_RULE, Tag, read_tags
from snapstone.service.iam.owners import Owner, change, find
from snapstone.service.iam.paging import page_of


def tag(engine: IdentityEngine, caller: Caller, owner: Owner, *, tags: Sequence[Tag]) -> dict[str, object]:
    """Add tags, in place of those of the same key."""
    added = read_tags(tags)
    return change(
        engine,
        caller.account_id,
        owner,
        lambda identity: replace(identity, tags=tuple(sorted(TAG_RULE.added(identity.tags, added)))),
    )


def untag(engine: IdentityEngine, caller: Caller, owner: Owner, *, tag_keys: Sequence[str]) -> dict[str, object]:
    """Remove the tags of these keys; keys that it does not have change nothing."""
    return change(
        engine,
        caller.account_id,
        owner,
        lambda identity: replace(identity, tags=TAG_RULE.without(identity.tags, tag_keys)),
    )


def list_tags(
    engine: IdentityEngine, caller: Caller, owner: Owner, *, marker: str | None = None, max_items: int | None = None
) -> dict[str, object]:
    """Tags by key."""
    tags = find(engine, caller.account_id, owner).tags
    return page_of(
        tags, lambda each: each[0], "Tags", lambda each: {"Key": each[0], "Value": each[1]}, marker, max_items
    )
