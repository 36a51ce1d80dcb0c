"""One permission that a call needs: what is asked of policies before an operation runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from snapstone.core.ids import AccountId
from snapstone.core.policy.document import PolicyKind
from snapstone.service.engine import Caller, Engine

Members = Mapping[str, object]
"""The members of a call that were sent, in snake_case."""

Keys = dict[str, str | tuple[str, ...]]
"""Condition keys in lower case."""


@dataclass(frozen=True, slots=True)
class Need:
    """One permission that a call needs."""

    action: str
    """`ebs:PutSnapshotBlock`."""
    resource: str
    """An ARN, or `*` for actions that know no resource."""
    keys: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Condition keys in lower case, beyond the global ones: `aws:resourcetag/team`, `ebs:volumesize`."""
    resource_account: AccountId | None = None
    """Whose the resource is; None where it has no owner, and for a snapshot that is shared with the caller: sharing,
    not a policy, lets it in."""
    resource_policy: str | None = None
    """JSON of the resource's own policy (a KMS key's, a role's trust), or None where such resources have none."""
    policy_kind: PolicyKind = PolicyKind.RESOURCE
    denied_as: str | None = None
    """What a denial calls the resource where that is not its ARN: who named an alias is not told the key behind it."""


Needs = Callable[[Engine, Caller, Members], Iterable[Need]]
"""The permissions that a call with these members needs."""


def on_everything(action: str) -> Needs:
    """An action that knows no resource."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Need]:
        return (Need(action, "*", region_keys(caller)),)

    return needs


def region_keys(caller: Caller) -> Keys:
    """ec2:Region, which every action of EC2 has."""
    return {"ec2:region": caller.region}


def text_of(members: Members, name: str) -> str:
    """A member that is a text; empty where it was not sent."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


def texts_of(members: Members, name: str) -> tuple[str, ...]:
    """A member that is a list of texts; empty where it was not sent."""
    value = members.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()


def iso_time(time_ms: int) -> str:
    """A time as date conditions take it, to the second."""
    return datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
