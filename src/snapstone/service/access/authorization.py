"""May this caller do this? The one question that is asked before an operation runs.

Blocks are written and read thousands of times a second, and each asks for a snapshot and perhaps for a key. So what was
allowed is cached with the catalog's row that it was about, and trusted as long as the catalog returns that very
row. It is never stale: the catalog drops all cached rows whenever anything in it changes, in any process
(`catalog/sqlite/changes.py`), so getting the same row again means that no policy, tag, share or key has changed since
it was read; and policies were read after the row. An answer that depended on the time or on the request is not cached,
nor is a denial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from snapstone.catalog.contract.keys import KmsKey
from snapstone.core.errors import AccessDeniedError, MalformedPolicyError
from snapstone.core.policy.document import Document, PolicyKind, read_policy
from snapstone.core.policy.evaluation import Decision, Question, decide
from snapstone.core.policy.principals import Principal, PrincipalKind
from snapstone.service.access.ebs import EBS_PERMISSIONS
from snapstone.service.access.ec2 import EC2_PERMISSIONS
from snapstone.service.access.iam import IAM_PERMISSIONS, STS_PERMISSIONS
from snapstone.service.access.kms import KMS_PERMISSIONS, key_need
from snapstone.service.access.permission import Keys, Permission, Permissions, iso_time, nothing_needed
from snapstone.service.access.recycle_bin import RBIN_PERMISSIONS
from snapstone.service.engine import Caller, Engine
from snapstone.service.identities.identity import policies_of
from snapstone.service.visibility import visible

PERMISSIONS: Final[Mapping[str, Mapping[str, Permissions]]] = {
    "ebs": EBS_PERMISSIONS,
    "ec2": EC2_PERMISSIONS,
    "kms": KMS_PERMISSIONS,
    "sts": STS_PERMISSIONS,
    "iam": IAM_PERMISSIONS,
    "rbin": RBIN_PERMISSIONS,
}


CURRENT_TIME: Final = "aws:currenttime"
EPOCH_TIME: Final = "aws:epochtime"


class RequestKeys(Mapping[str, str | tuple[str, ...]]):
    """Condition keys that record whether the time or the request itself was used.

    An answer that came without looking at either holds for every request of the same caller, for the same permission.
    """

    def __init__(self, engine: Engine, caller: Caller, permission: Permission) -> None:
        self._engine = engine
        self._facts = caller.facts
        self._lasting = _principal_keys(caller.principal) | {"aws:requestedregion": caller.region}
        if permission.resource_account is not None:
            self._lasting["aws:resourceaccount"] = permission.resource_account
        self._lasting |= permission.keys
        self.looked_at_request = False

    def __getitem__(self, key: str) -> str | tuple[str, ...]:
        lasting = self._lasting.get(key)
        if lasting is not None:
            return lasting
        if key.startswith("aws:") and "/" not in key:  # whether another request will have it is not known
            self.looked_at_request = True
        if key == CURRENT_TIME:
            return iso_time(self._engine.now_ms())
        if key == EPOCH_TIME:
            return str(self._engine.now_ms() // 1_000)
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._lasting, **self._facts, CURRENT_TIME: "", EPOCH_TIME: ""})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _principal_keys(principal: Principal) -> Keys:
    keys: Keys = {
        "aws:principalarn": principal.role_arn or principal.arn,
        "aws:principalaccount": principal.account_id,
        "aws:principaltype": str(principal.kind),
        "aws:userid": principal.user_id,
    }
    if principal.kind is PrincipalKind.USER:
        keys["aws:username"] = principal.name
    if principal.session_issued_at_ms is not None:
        keys["aws:tokenissuetime"] = iso_time(principal.session_issued_at_ms)
    return keys | {f"aws:principaltag/{key.lower()}": value for key, value in principal.tags.items()}


REMEMBERED_LIMIT: Final = 4_096
"""Cached answers; when the cache is full, it is emptied."""

DOCUMENT_CACHE_SIZE: Final = 1_024
"""Policies of keys and roles that are kept read."""

BLOCK_OPERATIONS: Final = ("PutSnapshotBlock", "GetSnapshotBlock")
"""Permissions that are needed often enough to cache the answers."""

_WITHOUT_RESOURCE_POLICIES: Final = ("ebs", "ec2", "rbin", "iam")
"""Services without resource policies: root, which has no identity policies, may do everything there."""

_Asked = tuple[str, str, str]
"""Access key id, action and what it is about."""

_allowed: dict[_Asked, tuple[object, Principal]] = {}
"""Cached permissions: the row that each was about, and the principal."""


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
    needed = PERMISSIONS[service][operation]
    if needed is nothing_needed:
        return
    lasts = [_lasts(engine, caller, permission) for permission in needed(engine, caller, members)]
    if not lasts:
        # Nothing was named that could be allowed: a missing permission must not pass because none was listed.
        raise AccessDeniedError(caller.principal.arn, f"{service}:{operation}", "*", explicit=False)
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


def _lasts(engine: Engine, caller: Caller, permission: Permission) -> bool:
    """Whether what is allowed now is allowed until something changes. Raises AccessDeniedError if it is not."""
    principal = caller.principal
    own = permission.resource_account in (None, caller.account_id)
    if principal.kind is PrincipalKind.ROOT and own and permission.resource_policy is None:
        return True
    keys = RequestKeys(engine, caller, permission)
    policies = policies_of(engine, principal)
    if permission.resource_policy is not None:
        document = _read(permission.resource_policy, permission.policy_kind)
        policies = replace(policies, resource=document, resource_must_allow=True)
    decision = decide(
        Question(principal, permission.action, permission.resource, keys, permission.resource_account), policies
    )
    if decision is not Decision.ALLOWED:
        explicit = decision is Decision.EXPLICITLY_DENIED
        raise AccessDeniedError(principal.arn, permission.action, permission.denied_as or permission.resource, explicit)
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
