"""Policy documents on their way into the catalog, and managed policies found for those they are attached to.

Some managed policies come with Snapstone, for every account.
"""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from hashlib import sha256
from typing import Final

from snapstone.catalog.contract.identities import ManagedPolicy, PolicyVersion
from snapstone.core.errors import IdentityLimitError
from snapstone.core.ids import AccountId
from snapstone.core.policy.document import Document, PolicyKind, read_policy
from snapstone.core.policy.managed import MANAGED_POLICIES
from snapstone.service.identities.arns import BUILT_IN_ARN, POLICY_ID_PREFIX
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.owners import no_policy

BUILT_IN: Final = tuple(
    ManagedPolicy(
        arn,
        POLICY_ID_PREFIX + b32encode(sha256(arn.encode()).digest()[:10]).decode(),
        AccountId("aws"),
        arn.removeprefix(BUILT_IN_ARN),
        "/",
        "",
        created_at_ms=0,
        updated_at_ms=0,
        default_version=1,
        next_version=2,
        versions=(PolicyVersion(1, document, 0),),
    )
    for arn, document in MANAGED_POLICIES.items()
)

_BY_ARN: Final = {policy.arn: policy for policy in BUILT_IN}


def built_in(arn: str) -> ManagedPolicy | None:
    """A policy that comes with Snapstone, or None."""
    return _BY_ARN.get(arn)


COMPILED_LIMIT: Final = 1_024
"""Documents that are kept compiled in memory."""

TRUST_SIZE_LIMIT: Final = 2_048
"""Characters of a trust policy, without white space."""


def policy_document(engine: IdentityEngine, arn: str) -> str | None:
    """The document of a managed policy's default version, or None if there is no such policy. Cheap."""
    policy = built_in(arn) or engine.catalog.managed_policy(arn)
    return None if policy is None else policy.document


def require_policy(engine: IdentityEngine, account_id: AccountId, arn: str) -> None:
    """Raises NoSuchEntityError for a policy that does not exist for this account."""
    own = arn.startswith(f"arn:aws:iam::{account_id}:policy/")
    if not (own or arn.startswith(BUILT_IN_ARN)) or policy_document(engine, arn) is None:
        raise no_policy(arn)


def check_policy(document: str) -> None:
    """Raises MalformedPolicyError if it is not a policy for a user or role."""
    read_policy(document)


def check_trust(document: str) -> None:
    """Raises MalformedPolicyError and IdentityLimitError if it is not a valid trust policy."""
    read_policy(document, PolicyKind.TRUST)
    if policy_size(document) > TRUST_SIZE_LIMIT:
        raise IdentityLimitError(f"Cannot exceed quota for ACLSizePerRole: {TRUST_SIZE_LIMIT}")


def policy_size(document: str) -> int:
    """Characters that count towards a quota: all but white space."""
    return len("".join(document.split()))


@lru_cache(maxsize=COMPILED_LIMIT)
def compiled(document: str) -> Document:
    """A stored policy of a user or role, ready to be asked. The text is the key: a changed policy is another one."""
    return read_policy(document, stored=True)
