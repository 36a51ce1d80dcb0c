"""What the operations of STS need: nothing to learn who one is, and a role's trust to assume it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from snapstone.core.policy.document import PolicyKind
from snapstone.service.engine import Caller, Engine
from snapstone.service.iam.arns import parse_role_arn
from snapstone.service.iam.identity import role_of_arn
from snapstone.service.permissions.need import Keys, Members, Need, Needs, on_everything, text_of
from snapstone.service.permissions.tag_keys import request_keys, resource_keys, sent_tags


def _nothing(engine: Engine, caller: Caller, members: Members) -> Iterable[Need]:
    """Also for GetSessionToken: a key may always ask for a temporary one that may do the same."""
    return ()


def _assume_role(engine: Engine, caller: Caller, members: Members) -> Iterable[Need]:
    """The role's trust policy has to let the caller in. A role that is not there lets nobody in."""
    arn = text_of(members, "role_arn")
    role = role_of_arn(engine, arn)
    tags = sent_tags(members)
    asked = _asked(members) | request_keys(tags)
    if role is not None:
        asked |= resource_keys(role.tags, "iam")
    parsed = parse_role_arn(arn)
    owner = caller.account_id if parsed is None else parsed[0]
    trust = None if role is None else role.trust_policy
    yield Need("sts:AssumeRole", arn, asked, owner, trust, PolicyKind.TRUST)
    if tags:
        yield Need("sts:TagSession", arn, asked, owner, trust, PolicyKind.TRUST)


def _asked(members: Members) -> Keys:
    names = {"external_id": "sts:externalid", "role_session_name": "sts:rolesessionname"}
    return {key: text_of(members, name) for name, key in names.items() if members.get(name) is not None}


STS_PERMISSIONS: Final[Mapping[str, Needs]] = {
    "GetCallerIdentity": _nothing,
    "GetSessionToken": _nothing,
    "GetAccessKeyInfo": on_everything("sts:GetAccessKeyInfo"),
    "AssumeRole": _assume_role,
}
