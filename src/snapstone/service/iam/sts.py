"""STS: who calls, and temporary keys, for roles and for users themselves.

The caller's policies and the role's trust policy decide about assuming a role before `assume_role` runs.
Other than at AWS, root may: it is what an installation begins with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from snapstone.catalog.contract.identities import Identity
from snapstone.core.data_key import NONCE_SIZE
from snapstone.core.errors import (
    AccessDeniedError,
    IdentityValidationError,
    MalformedPolicyDocumentError,
    NoSuchEntityError,
    PackedPolicyTooLargeError,
    SessionRefusedError,
)
from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import PrincipalKind
from snapstone.service.engine import Caller
from snapstone.service.identities.arns import (
    TEMPORARY_PREFIX,
    account_of_temporary_key,
    mint_temporary_key_id,
    session_arn,
)
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.identity import role_of_arn, session_key
from snapstone.service.identities.members import Tag, check_length, check_range, read_tags
from snapstone.service.identities.policies import check_policy, require_policy
from snapstone.service.identities.sessions import (
    Session,
    SessionTooLargeError,
    packed_percent,
    seal_session,
    secret_of,
)

DEFAULT_ROLE_SECONDS: Final = 3_600
LEAST_SECONDS: Final = 900
MOST_ROLE_SECONDS: Final = 43_200
MOST_CHAINED_SECONDS: Final = 3_600
"""Of a role's session that was requested by a role's session."""

DEFAULT_USER_SECONDS: Final = 43_200
MOST_USER_SECONDS: Final = 129_600
MOST_ROOT_SECONDS: Final = 3_600

SESSION_POLICY_LIMIT: Final = 2_048
SESSION_POLICY_ARN_LIMIT: Final = 10

_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ACCESS_KEY_ID: Final = re.compile(r"\w{16,128}", re.ASCII)


def get_caller_identity(engine: IdentityEngine, caller: Caller) -> dict[str, object]:
    """The caller's identity; nobody is refused this."""
    return {"UserId": caller.principal.user_id, "Account": caller.account_id, "Arn": caller.principal.arn}


def get_access_key_info(engine: IdentityEngine, caller: Caller, *, access_key_id: str) -> dict[str, object]:
    """Which account a key belongs to; a temporary one contains it, even after it has expired."""
    if not _ACCESS_KEY_ID.fullmatch(access_key_id):
        raise IdentityValidationError("1 validation error detected: Value at 'accessKeyId' is not an access key id")
    if access_key_id.startswith(TEMPORARY_PREFIX):
        account_id = account_of_temporary_key(access_key_id)
    else:
        key = engine.catalog.sealed_access_key(access_key_id)
        account_id = None if key is None else key.account_id
    if account_id is None:
        raise IdentityValidationError(f"The access key ID {access_key_id} is not known here.")
    return {"Account": account_id}


def assume_role(
    engine: IdentityEngine,
    caller: Caller,
    *,
    role_arn: str,
    role_session_name: str,
    duration_seconds: int | None = None,
    policy: str | None = None,
    policy_arns: Sequence[Mapping[str, str]] | None = None,
    tags: Sequence[Tag] | None = None,
    external_id: str | None = None,
    serial_number: str | None = None,
    token_code: str | None = None,
    transitive_tag_keys: Sequence[str] | None = None,
    source_identity: str | None = None,
    provided_contexts: Sequence[Mapping[str, str]] | None = None,
    minimum_session_token_size: int | None = None,
) -> dict[str, object]:
    """A temporary key of a role. `external_id` has been checked against the role's trust policy."""
    if not _SESSION_NAME.fullmatch(role_session_name):
        raise IdentityValidationError(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\w+=,.@-]{2,64}"
        )
    _refuse_second_factor(serial_number, token_code)
    _refuse_given(
        TransitiveTagKeys=transitive_tag_keys,
        SourceIdentity=source_identity,
        ProvidedContexts=provided_contexts,
        MinimumSessionTokenSize=minimum_session_token_size,
    )
    role = role_of_arn(engine, role_arn)
    if role is None:
        raise AccessDeniedError(caller.principal.arn, "sts:AssumeRole", role_arn, explicit=False)
    seconds = DEFAULT_ROLE_SECONDS if duration_seconds is None else duration_seconds
    _check_role_seconds(caller, role, seconds)
    now_ms = engine.now_ms()
    session = Session(
        role.identity_id,
        role.account_id,
        now_ms,
        now_ms + seconds * 1_000,
        role_session_name,
        policy=_session_policy(policy),
        policy_arns=_session_policy_arns(engine, role, policy_arns or ()),
        tags=read_tags(tags),
    )
    answer: dict[str, object] = {
        "Credentials": _credentials(engine, session),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.identity_id}:{role_session_name}",
            "Arn": session_arn(role.account_id, role.name, role_session_name),
        },
    }
    if session.narrowed or session.tags:
        answer["PackedPolicySize"] = packed_percent(session)
    return answer


def get_session_token(
    engine: IdentityEngine,
    caller: Caller,
    *,
    duration_seconds: int | None = None,
    serial_number: str | None = None,
    token_code: str | None = None,
    minimum_session_token_size: int | None = None,
) -> dict[str, object]:
    """A temporary key that may do what the caller's long-term key may, and ends with it."""
    _refuse_second_factor(serial_number, token_code)
    _refuse_given(MinimumSessionTokenSize=minimum_session_token_size)
    if caller.access_key_id.startswith(TEMPORARY_PREFIX):
        raise SessionRefusedError("Cannot call GetSessionToken with session credentials")
    is_root = caller.principal.kind is PrincipalKind.ROOT
    most = MOST_ROOT_SECONDS if is_root else MOST_USER_SECONDS
    seconds = min(most, DEFAULT_USER_SECONDS) if duration_seconds is None else duration_seconds
    check_range("durationSeconds", seconds, LEAST_SECONDS, MOST_USER_SECONDS)
    now_ms = engine.now_ms()
    session = Session(
        caller.principal.user_id,
        caller.account_id,
        now_ms,
        now_ms + min(seconds, most) * 1_000,
        parent_key_id=caller.access_key_id,
    )
    return {"Credentials": _credentials(engine, session)}


def _refuse_second_factor(serial_number: str | None, token_code: str | None) -> None:
    """MFA devices are not supported, so no code can be valid."""
    if serial_number is not None or token_code is not None:
        raise SessionRefusedError("MultiFactorAuthentication failed with invalid MFA one time pass code.")


def _refuse_given(**members: object) -> None:
    """Members that would be disregarded: better refused, if what they ask for is protection."""
    for name, value in members.items():
        if value:
            raise IdentityValidationError(f"{name} is not supported by this server.")


def _check_role_seconds(caller: Caller, role: Identity, seconds: int) -> None:
    check_range("durationSeconds", seconds, LEAST_SECONDS, MOST_ROLE_SECONDS)
    if seconds > role.max_session_seconds:
        raise IdentityValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if caller.principal.kind is PrincipalKind.ROLE and seconds > MOST_CHAINED_SECONDS:
        raise IdentityValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )


def _session_policy(policy: str | None) -> str | None:
    if policy is not None:
        check_length("policy", policy, 1, SESSION_POLICY_LIMIT)
        check_policy(policy)
    return policy


def _session_policy_arns(
    engine: IdentityEngine, role: Identity, policy_arns: Sequence[Mapping[str, str]]
) -> tuple[str, ...]:
    """Policies of the role's account."""
    arns = tuple(each["arn"] for each in policy_arns if each.get("arn"))
    if len(arns) > SESSION_POLICY_ARN_LIMIT:
        raise IdentityValidationError(f"A session takes at most {SESSION_POLICY_ARN_LIMIT} policy ARNs.")
    for arn in arns:
        try:
            require_policy(engine, role.account_id, arn)
        except NoSuchEntityError as error:
            raise MalformedPolicyDocumentError(error.message) from None
    return arns


def _credentials(engine: IdentityEngine, session: Session) -> dict[str, object]:
    key = session_key(engine)
    access_key_id = mint_temporary_key_id(AccountId(session.account_id), engine.random_bytes)
    try:
        token = seal_session(key, access_key_id, session, engine.random_bytes(NONCE_SIZE))
    except SessionTooLargeError as error:
        raise PackedPolicyTooLargeError(error.percent) from None
    return {
        "AccessKeyId": access_key_id,
        "SecretAccessKey": secret_of(key, token),
        "SessionToken": token,
        "Expiration": session.expires_at_ms,
    }
