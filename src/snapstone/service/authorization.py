"""May this caller do this? The one question that is asked before an operation runs, and what it needs to know."""

from __future__ import annotations

from collections.abc import Mapping

from snapstone.catalog.key_rows import KmsKey
from snapstone.core.identity_errors import AccessDeniedError
from snapstone.core.policy.principal import PrincipalKind
from snapstone.service.engine import Caller, Engine
from snapstone.service.permissions import PERMISSIONS
from snapstone.service.permissions.need import Need


def authorize(engine: Engine, caller: Caller, need: Need) -> None:
    """Raises AccessDeniedError unless the caller is the root of the account whose resource it is."""
    if caller.principal.kind is not PrincipalKind.ROOT or need.resource_account not in (None, caller.account_id):
        raise AccessDeniedError(caller.principal.arn, need.action, need.denied_as or need.resource, explicit=False)


def authorize_call(engine: Engine, caller: Caller, service: str, operation: str, members: Mapping[str, object]) -> None:
    """Raises AccessDeniedError unless the caller has every permission that this call needs."""
    for need in PERMISSIONS[service][operation](engine, caller, members):
        authorize(engine, caller, need)


def authorize_key(engine: Engine, caller: Caller, key: KmsKey, action: str, via_service: str) -> None:
    """Raises AccessDeniedError unless the caller may do this with a KMS key, through another service (`ec2`)."""
    authorize(engine, caller, Need(action, key.arn, resource_account=key.account_id, resource_policy=key.policy))
