"""The function behind each operation of rbin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.recycle_bin.locking import lock_rule, unlock_rule
from snapstone.service.recycle_bin.rules import create_rule, delete_rule, get_rule, list_rules, update_rule
from snapstone.service.recycle_bin.tagging import list_tags_for_resource, tag_resource, untag_resource

RBIN_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "CreateRule": create_rule,
    "GetRule": get_rule,
    "ListRules": list_rules,
    "UpdateRule": update_rule,
    "DeleteRule": delete_rule,
    "LockRule": lock_rule,
    "UnlockRule": unlock_rule,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "ListTagsForResource": list_tags_for_resource,
}
