"""May this caller do this? The one question that is asked before an operation runs, and what it needs to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from snapstone.catalog.key_rows import KmsKey
from snapstone.core.identity_errors import AccessDeniedError
from snapstone.core.ids import AccountId
from snapstone.core.policy.principal import PrincipalKind
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
    """Raises AccessDeniedError unless the caller is the root of the account whose resource it is."""
    if caller.principal.kind is not PrincipalKind.ROOT or need.resource_account not in (None, caller.account_id):
        raise AccessDeniedError(caller.principal.arn, need.action, need.resource, explicit=False)


def authorize_call(engine: Engine, caller: Caller, service: str, operation: str, members: Mapping[str, object]) -> None:
    """Raises AccessDeniedError unless the caller may call this operation at all."""
    if (service, operation) != ("sts", "GetCallerIdentity"):
        authorize(engine, caller, Need(f"{service}:{operation}", "*"))


def authorize_key(engine: Engine, caller: Caller, key: KmsKey, action: str, via_service: str) -> None:
    """Raises AccessDeniedError unless the caller may do this with a KMS key, through another service (`ec2`)."""
    authorize(engine, caller, Need(action, key.arn, resource_account=key.account_id, resource_policy=key.policy))
