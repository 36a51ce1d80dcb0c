"""The principal of an access key and its policies: needed by every request, answered from cached rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from snapstone.catalog.contract.identities import Identity, IdentityKind, SealedAccessKey
from snapstone.core.data_key import EnvelopeError
from snapstone.core.ids import AccountId
from snapstone.core.policy.document import Document, PolicyKind
from snapstone.core.policy.evaluation import Policies
from snapstone.core.policy.principals import Principal, PrincipalKind, root_principal
from snapstone.service.health import row_damage
from snapstone.service.identities.arns import TEMPORARY_PREFIX, identity_arn, parse_role_arn, session_arn
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.policies import compiled, policy_document
from snapstone.service.identities.sessions import TOKEN_LIMIT, Session, open_session, secret_of

SESSION_CACHE_SIZE: Final = 1_024
"""Session tokens that are kept opened in memory: 5 MiB of what anybody may send, at most."""

SESSION_SECRET_SIZE: Final = 32

SESSIONS: Final = "sessions"
"""Name of the server's secret behind temporary keys."""

_NOTHING: Final = Document(PolicyKind.IDENTITY, (), ())


@dataclass(frozen=True, slots=True)
class Credentials:
    """The principal of an access key ID. A request is trusted only if its signature and these facts agree."""

    access_key_id: str
    secret: str = field(repr=False)
    account_id: AccountId
    principal: Principal
    active: bool
    expires_at_ms: int | None
    session_token_ok: bool
    """A temporary key came with its token, or a long-term key with none."""


def credentials_of(engine: IdentityEngine, access_key_id: str, session_token: str | None) -> Credentials | None:
    """The credentials, or None for an unknown ID, a token of another key, and an identity that is gone.

    Raises DamageError if the key's row is there and cannot be used.
    """
    if access_key_id.startswith(TEMPORARY_PREFIX):
        return _temporary(engine, access_key_id, session_token)
    key = engine.catalog.sealed_access_key(access_key_id)
    if key is None:
        return None
    principal = _principal_of_key(engine, key)
    if principal is None:
        return None
    secret = secret_of_key(engine, key)
    return Credentials(access_key_id, secret, key.account_id, principal, key.active, None, session_token is None)


def secret_of_key(engine: IdentityEngine, key: SealedAccessKey) -> str:
    """The secret of a long-term key. Raises DamageError if it cannot be opened."""
    try:
        return engine.keys.opened(key.sealed_secret, f"access key {key.access_key_id}").decode()
    except EnvelopeError as error:
        raise row_damage(engine, f"access key {key.access_key_id}", str(error)) from error


def policies_of(engine: IdentityEngine, principal: Principal) -> Policies:
    """All policies of a principal as they are now; none if the user or role was deleted meanwhile."""
    if principal.kind is PrincipalKind.ROOT:
        return Policies()
    identity = engine.catalog.remembered_identity(principal.user_id.partition(":")[0])
    if identity is None:
        return Policies()
    documents = [document for _, document in identity.inline_policies]
    documents += filter(None, (policy_document(engine, arn) for arn in identity.attached_arns))
    session = principal.session_policies
    return Policies(
        identity=tuple(map(compiled, documents)),
        boundary=None if identity.boundary_arn is None else _boundary(engine, identity.boundary_arn),
        session=None if session is None else tuple(map(compiled, session)),
    )


def _boundary(engine: IdentityEngine, arn: str) -> Document:
    """The permissions boundary of a user or role: a policy that does not exist (any more) allows nothing."""
    document = policy_document(engine, arn)
    return _NOTHING if document is None else compiled(document)


def role_of_arn(engine: IdentityEngine, role_arn: str) -> Identity | None:
    """The role with exactly this ARN, or None."""
    parsed = parse_role_arn(role_arn)
    role = engine.catalog.remembered_role(*parsed) if parsed is not None else None
    return role if role is not None and identity_arn(role) == role_arn else None


def session_key(engine: IdentityEngine) -> bytes:
    """The server's secret behind all temporary keys. Raises DamageError if it cannot be opened."""
    try:
        return engine.keys.secret(SESSIONS, SESSION_SECRET_SIZE)
    except EnvelopeError as error:
        raise row_damage(engine, f"secret {SESSIONS}", str(error)) from error


@lru_cache(maxsize=SESSION_CACHE_SIZE)
def _opened(key: bytes, access_key_id: str, session_token: str) -> Session | None:
    return open_session(key, access_key_id, session_token)


def _principal_of_key(engine: IdentityEngine, key: SealedAccessKey) -> Principal | None:
    if key.user_id is None:
        return root_principal(key.account_id)
    user = engine.catalog.remembered_identity(key.user_id)
    if user is None and engine.catalog.sealed_access_key(key.access_key_id) == key:
        # A user goes after its keys.
        raise row_damage(engine, f"user {key.user_id}", f"it is missing, and has the access key {key.access_key_id}")
    return None if user is None else user_principal(user)


def user_principal(user: Identity) -> Principal:
    """A user, as policies see it."""
    return Principal(
        PrincipalKind.USER, user.account_id, identity_arn(user), user.identity_id, user.name, tags=dict(user.tags)
    )


def _temporary(engine: IdentityEngine, access_key_id: str, session_token: str | None) -> Credentials | None:
    if session_token is None or len(session_token) > TOKEN_LIMIT:
        return None
    key = session_key(engine)
    session = _opened(key, access_key_id, session_token)
    principal = None if session is None else _principal_of_session(engine, session)
    if session is None or principal is None:
        return None
    return Credentials(
        access_key_id,
        secret_of(key, session_token),
        AccountId(session.account_id),
        principal,
        active=True,
        expires_at_ms=session.expires_at_ms,
        session_token_ok=True,
    )


def _principal_of_session(engine: IdentityEngine, session: Session) -> Principal | None:
    """None if what the session depends on is gone: its role, its user, or the key that requested it."""
    if session.parent_key_id:
        parent = engine.catalog.sealed_access_key(session.parent_key_id)
        if parent is None or not parent.active:
            return None
        principal = _principal_of_key(engine, parent)
        return principal and replace(principal, session_issued_at_ms=session.issued_at_ms)
    role = engine.catalog.remembered_identity(session.identity_id)
    return None if role is None or role.kind is not IdentityKind.ROLE else _role_session(engine, role, session)


def _role_session(engine: IdentityEngine, role: Identity, session: Session) -> Principal:
    return Principal(
        PrincipalKind.ROLE,
        role.account_id,
        session_arn(role.account_id, role.name, session.session_name),
        f"{role.identity_id}:{session.session_name}",
        role.name,
        role_arn=identity_arn(role),
        tags=dict(role.tags) | dict(session.tags),
        session_policies=_session_policies(engine, session) if session.narrowed else None,
        session_issued_at_ms=session.issued_at_ms,
    )


def _session_policies(engine: IdentityEngine, session: Session) -> tuple[str, ...]:
    """The documents that a session is narrowed to: none at all, so nothing is allowed, if one of them is gone."""
    documents = [policy_document(engine, arn) for arn in session.policy_arns]
    present = [document for document in (session.policy, *documents) if document is not None]
    return tuple(present) if None not in documents else ()
