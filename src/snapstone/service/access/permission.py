"""One permission that a call needs, and the condition keys of snapshots and tags that policies may ask about.

Operations that only read are named here; any other changes something, and a read-only server refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.ids import DIRECT_VOLUME_ID, AccountId
from snapstone.core.policy.document import PolicyKind
from snapstone.service.engine import Caller, Engine

Members = Mapping[str, object]
"""The members of a call that were sent, in snake_case."""

Keys = dict[str, str | tuple[str, ...]]
"""Condition keys in lower case."""


class SentMembers(Mapping[str, object]):
    """The members of a call, by name; asking for a name that its operation does not take is an error.

    A row that asks for a misspelt or renamed member would else find nothing, and ask for too few permissions.
    """

    __slots__ = ("_known", "_sent")

    def __init__(self, sent: Members, known: Collection[str]) -> None:
        self._sent = sent
        self._known = known

    def __getitem__(self, name: str) -> object:
        """Raises KeyError for a member that was not sent, RuntimeError for one that the operation does not take."""
        if name not in self._known:
            raise RuntimeError(f"a row of permissions uses `{name}`, which its operation does not take")
        return self._sent[name]

    def __contains__(self, name: object) -> bool:
        """Whether a member was sent: what rows of several operations ask that share a condition key."""
        return name in self._sent

    def __iter__(self) -> Iterator[str]:
        return iter(self._sent)

    def __len__(self) -> int:
        return len(self._sent)


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission that a call needs."""

    action: str
    """`ebs:PutSnapshotBlock`."""
    resource: str
    """An ARN, or `*` for actions that know no resource."""
    keys: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Condition keys in lower case, beyond the global ones: `aws:resourcetag/team`, `ebs:volumesize`."""
    resource_account: AccountId | None = None
    """The resource's owner; None if it has none, and for a snapshot that is shared with the caller: sharing,
    not a policy, lets it in."""
    resource_policy: str | None = None
    """JSON of the resource's own policy (a KMS key's, a role's trust), or None if such resources have none."""
    policy_kind: PolicyKind = PolicyKind.RESOURCE
    denied_as: str | None = None
    """The resource's name in a denial if not its ARN: a caller that named an alias does not learn the key behind it."""


Permissions = Callable[[Engine, Caller, Members], Iterable[Permission]]
"""The permissions that a call with these members needs. A call that needs none is denied, but for `nothing_needed`."""


def nothing_needed(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
    """The row of an operation that anybody with a valid signature may call. No other row may come to nothing."""
    return ()


def on_everything(action: str) -> Permissions:
    """An action that knows no resource."""

    def needs(engine: Engine, caller: Caller, members: Members) -> Iterable[Permission]:
        return (Permission(action, "*", region_keys(caller)),)

    return needs


def region_keys(caller: Caller) -> Keys:
    """ec2:Region, which every action of EC2 has."""
    return {"ec2:region": caller.region}


def text_of(members: Members, name: str) -> str:
    """A member that is a text; empty if it was not sent."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


def texts_of(members: Members, name: str) -> tuple[str, ...]:
    """A member that is a list of texts; empty if it was not sent."""
    value = members.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()


def iso_time(time_ms: int) -> str:
    """A time as date conditions take it, to the second."""
    return datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Pairs = Iterable[tuple[str, str]]


def sent_tags(members: Members, name: str = "tags", key: str = "Key", value: str = "Value") -> list[tuple[str, str]]:
    """The tags in a member; KMS calls their parts TagKey and TagValue."""
    sent = members.get(name)
    if not isinstance(sent, list | tuple):
        return []
    return [(str(tag.get(key, "")), str(tag.get(value) or "")) for tag in sent if isinstance(tag, Mapping)]


def request_keys(tags: Pairs) -> Keys:
    """aws:RequestTag/k and aws:TagKeys; neither if no tags are sent."""
    pairs = list(tags)
    keys: Keys = {f"aws:requesttag/{key.lower()}": value for key, value in pairs}
    if pairs:
        keys["aws:tagkeys"] = tuple(key for key, _ in pairs)
    return keys


def removed_keys(members: Members, name: str = "tag_keys") -> Keys:
    """aws:TagKeys of a request that takes tags away."""
    names = texts_of(members, name)
    return {"aws:tagkeys": names} if names else {}


def tagging_keys(members: Members) -> Keys:
    """The tags that a request sends, or the keys of those that it removes, in operations that may have either."""
    keys = request_keys(sent_tags(members)) if "tags" in members else {}
    return keys | (removed_keys(members) if "tag_keys" in members else {})


def resource_keys(tags: Pairs, *services: str) -> Keys:
    """aws:ResourceTag/k, and the same under a service's own prefix."""
    return {f"{prefix}:resourcetag/{key.lower()}": value for key, value in tags for prefix in ("aws", *services)}


_READING: Final = ("Describe", "Get", "List")
"""Beginnings of the names of operations that read, in every service."""

_ALSO_READING: Final = frozenset({("kms", "Decrypt"), ("kms", "GenerateRandom"), ("sts", "AssumeRole")})
"""Other operations that leave the catalog and the objects as they are. Not those that encrypt: they may make a key."""


def only_reads(service: str, operation: str) -> bool:
    """Whether an operation leaves everything as it is."""
    return operation.startswith(_READING) or (service, operation) in _ALSO_READING


def snapshot_arn(region: str, snapshot_id: str) -> str:
    """The account field is empty, whoever owns the snapshot (docs/aws-behaviour/iam-and-sts.md, PERM-1)."""
    return f"arn:aws:ec2:{region}::snapshot/{snapshot_id}"


def new_snapshot_arn(caller: Caller) -> str:
    """Of a snapshot that has no id yet."""
    return snapshot_arn(caller.region, "*")


def owner_keys(caller: Caller, snapshot: Snapshot | None, *services: str) -> Keys:
    """The tags of the caller's own snapshot, and of a shared one its owner: tags are the owner's affair.

    None for what does not exist for the caller: then the keys are those of any other id.
    """
    if snapshot is None:
        return {}
    if snapshot.account_id != caller.account_id:
        return {"aws:resourceaccount": snapshot.account_id}
    return resource_keys(snapshot.tags, *services)


def policy_account(caller: Caller, snapshot: Snapshot | None) -> AccountId | None:
    """The account that statements may name in a snapshot's ARN: the caller's, unless the snapshot is another's."""
    return caller.account_id if snapshot is None or snapshot.account_id == caller.account_id else None


def ec2_keys(caller: Caller, snapshot: Snapshot | None) -> Keys:
    """The condition keys of EC2's actions on a snapshot (docs/aws-behaviour/iam-and-sts.md, PERM-7)."""
    if snapshot is None:
        return {}
    keys: Keys = {
        "ec2:owner": snapshot.account_id,
        "ec2:parentvolume": f"arn:aws:ec2:{snapshot.region}:{snapshot.account_id}:volume/{DIRECT_VOLUME_ID}",
        "ec2:snapshotid": snapshot.snapshot_id,
        "ec2:snapshottime": iso_time(snapshot.started_at_ms),
        "ec2:volumesize": str(snapshot.volume_size_gib),
    }
    return owner_keys(caller, snapshot, "ec2") | keys
