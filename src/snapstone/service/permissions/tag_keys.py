"""Condition keys of tags: those that a request sends, and those that a resource has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snapstone.service.permissions.need import Keys, Members, texts_of

Pairs = Iterable[tuple[str, str]]


def sent_tags(members: Members, name: str = "tags", key: str = "Key", value: str = "Value") -> list[tuple[str, str]]:
    """The tags in a member; KMS calls their parts TagKey and TagValue."""
    sent = members.get(name)
    if not isinstance(sent, list | tuple):
        return []
    return [(str(tag.get(key, "")), str(tag.get(value) or "")) for tag in sent if isinstance(tag, Mapping)]


def request_keys(tags: Pairs) -> Keys:
    """aws:RequestTag/k and aws:TagKeys; neither where no tag is sent."""
    pairs = list(tags)
    keys: Keys = {f"aws:requesttag/{key.lower()}": value for key, value in pairs}
    if pairs:
        keys["aws:tagkeys"] = tuple(key for key, _ in pairs)
    return keys


def removed_keys(members: Members, name: str = "tag_keys") -> Keys:
    """aws:TagKeys of a request that takes tags away."""
    names = texts_of(members, name)
    return {"aws:tagkeys": names} if names else {}


def resource_keys(tags: Pairs, *services: str) -> Keys:
    """aws:ResourceTag/k, and the same under a service's own prefix."""
    return {f"{prefix}:resourcetag/{key.lower()}": value for key, value in tags for prefix in ("aws", *services)}
