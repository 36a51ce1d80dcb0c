"""May this caller do this? The one question that is asked before an operation runs, and what it needs to know.

Blocks are put and read thousands of times a second, and each asks for a snapshot and perhaps for a key. So what was
allowed is remembered, beside the catalog's row that it was about, and believed as long as the catalog recalls that very
row. It is never stale: the catalog forgets all rows whenever anything in it changes, in any process
(`catalog/changes.py`), so a row that is recalled again says that no policy, tag, share or key has changed since it was
read; and policies were read after the row. An answer that looked at the time or at the request is not remembered
(`request_keys.py`), nor is a denial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from snapstone.catalog.key_rows import KmsKey
from snapstone.core.identity_errors import AccessDeniedError, MalformedPolicyError
from snapstone.core.policy.document import Document, PolicyKind, read_policy
from snapstone.core.policy.evaluation import Decision, Question, decide
from snapstone.core.policy.principal import Principal, PrincipalKind
from snapstone.service.engine import Caller, Engine
from snapstone.service.iam.identity import policies_of
from snapstone.service.permissions import PERMISSIONS
from snapstone.service.permissions.kms import key_need
from snapstone.service.permissions.need import Keys, Need
from snapstone.service.request_keys import RequestKeys
from snapstone.service.visibility import visible

REMEMBERED_LIMIT: Final = 4_096
"""Answers that are remembered; past it, memory starts anew."""

DOCUMENT_CACHE_SIZE: Final = 1_024
"""Policies of keys and roles that are kept read."""

BLOCK_OPERATIONS: Final = ("PutSnapshotBlock", "GetSnapshotBlock")
"""What is asked so often that answers are remembered."""

_WITHOUT_RESOURCE_POLICIES: Final = ("ebs", "ec2", "rbin", "iam")
"""Services where nothing but its own policies, of which it has none, could keep root from anything."""

_Asked = tuple[str, str, str]
"""Access key id, action and what it is about."""

_allowed: dict[_Asked, tuple[object, Principal]] = {}
"""What was allowed: the row that it was about, and to whom."""


def authorize(engine: Engine, caller: Caller, need: Need) -> None:
    """Raises AccessDeniedError unless all policies that have a say allow it."""
    _lasts(engine, caller, need)


def authorize_call(engine: Engine, caller: Caller, service: str, operation: str, members: Mapping[str, object]) -> None:
    """Raises AccessDeniedError unless the caller has every permission that this call needs."""
    if caller.principal.kind is PrincipalKind.ROOT and service in _WITHOUT_RESOURCE_POLICIES:
        return
    row: object = None
    asked: _Asked = (caller.access_key_id, operation, "")
    if service == "ebs" and operation in BLOCK_OPERATIONS:
        snapshot_id = str(members["snapshot_id"])
        asked = (caller.access_key_id, operation, snapshot_id)
        row = visible(engine, caller, snapshot_id)
        if _is_remembered(asked, row, caller):
            return
    lasts = [_lasts(engine, caller, need) for need in PERMISSIONS[service][operation](engine, caller, members)]
    if row is not None and all(lasts):
        _remember(asked, row, caller)


def authorize_key(engine: Engine, caller: Caller, key: KmsKey, action: str, via_service: str) -> None:
    """Raises AccessDeniedError unless the caller may do this with a KMS key, through another service (`ec2`)."""
    asked = (caller.access_key_id, action, f"{via_service} {key.key_id}")
    if _is_remembered(asked, key, caller):
        return
    via: Keys = {
        "kms:viaservice": f"{via_service}.{key.region}.amazonaws.com",
        "aws:calledvia": (f"{via_service}.amazonaws.com",),
        "aws:viaawsservice": "true",
    }
    if _lasts(engine, caller, key_need(engine, caller, key, action, via)):
        _remember(asked, key, caller)


def _lasts(engine: Engine, caller: Caller, need: Need) -> bool:
    """Whether what is allowed now is allowed until something changes. Raises AccessDeniedError where it is not."""
    principal = caller.principal
    own = need.resource_account in (None, caller.account_id)
    if principal.kind is PrincipalKind.ROOT and own and need.resource_policy is None:
        return True
    keys = RequestKeys(engine, caller, need)
    policies = policies_of(engine, principal)
    if need.resource_policy is not None:
        document = _read(need.resource_policy, need.policy_kind)
        policies = replace(policies, resource=document, resource_must_allow=True)
    decision = decide(Question(principal, need.action, need.resource, keys, need.resource_account), policies)
    if decision is not Decision.ALLOWED:
        explicit = decision is Decision.EXPLICITLY_DENIED
        raise AccessDeniedError(principal.arn, need.action, need.denied_as or need.resource, explicit)
    return not keys.looked_at_request


@lru_cache(maxsize=DOCUMENT_CACHE_SIZE)
def _read(text: str, kind: PolicyKind) -> Document | None:
    """A stored policy; one that cannot be read allows nothing."""
    try:
        return read_policy(text, kind, stored=True)
    except MalformedPolicyError:
        return None


def _is_remembered(asked: _Asked, row: object, caller: Caller) -> bool:
    remembered = _allowed.get(asked)
    return remembered is not None and remembered[0] is row and remembered[1] == caller.principal


def _remember(asked: _Asked, row: object, caller: Caller) -> None:
    if len(_allowed) >= REMEMBERED_LIMIT:
        _allowed.clear()
    _allowed[asked] = (row, caller.principal)
