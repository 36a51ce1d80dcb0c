"""May this caller do this? The one question that is asked before an operation runs, and what it needs to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from snapstone.core.ids import AccountId
from snapstone.service.engine import Caller, Engine


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
    """Whose the resource is; None where it has no owner yet or at all."""
    resource_policy: str | None = None
    """JSON of the resource's own policy (a KMS key's, a role's trust), or None where such resources have none."""


Needs = Callable[[Engine, Caller, Mapping[str, object]], Iterable[Need]]
"""The permissions that a call with these members needs."""


def authorize(engine: Engine, caller: Caller, need: Need) -> None:
    """Raises AccessDeniedError unless the caller's policies (and the resource's) allow it."""


def authorize_call(engine: Engine, caller: Caller, service: str, operation: str, members: Mapping[str, object]) -> None:
    """Ask for every permission of an operation; an operation without a row in the tables is refused to all but root."""
