"""Session tokens: all that a temporary key is, sealed for this server alone, so that no process has to store it.

A token is bound to its access key id, and the key's secret follows from the token and the server's secret.
"""

from __future__ import annotations

import hmac
import json
import zlib
from base64 import b32decode, b32encode, b64encode
from dataclasses import asdict, dataclass
from typing import Final

from snapstone.core.data_key import OVERHEAD, EnvelopeError, seal, unseal

PACKED_LIMIT: Final = 3_072
"""Bytes of a compressed session: in base 32 and with its overhead, a header of less than 5 KiB."""

TOKEN_LIMIT: Final = (PACKED_LIMIT + OVERHEAD) * 8 // 5 + 1
"""Characters of a token."""

_FORMAT: Final = 1


@dataclass(eq=False)
class SessionTooLargeError(Exception):
    """Policies and tags do not fit into a token."""

    percent: int


@dataclass(frozen=True, slots=True)
class Session:
    """The content of a session token."""

    identity_id: str
    """The user's or role's; the account id for root."""
    account_id: str
    issued_at_ms: int
    expires_at_ms: int
    session_name: str = ""
    """Of a role's session."""
    parent_key_id: str = ""
    """Of a user's or root's session: the long-term key that requested it, and that it ends with."""
    policy: str | None = None
    """The policy document that the session is narrowed to."""
    policy_arns: tuple[str, ...] = ()
    """Managed policies that it is narrowed to."""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def narrowed(self) -> bool:
        """Whether it may do less than its user or role."""
        return self.policy is not None or bool(self.policy_arns)


def packed_percent(session: Session) -> int:
    """How much of a token's space a session takes, of 100."""
    return -(-len(_pack(session)) * 100 // PACKED_LIMIT)


def seal_session(key: bytes, access_key_id: str, session: Session, nonce: bytes) -> str:
    """The token, of letters and digits. Raises SessionTooLargeError."""
    packed = _pack(session)
    if len(packed) > PACKED_LIMIT:
        raise SessionTooLargeError(packed_percent(session))
    return _text(seal(_token_key(key), packed, _purpose(access_key_id), nonce))


def open_session(key: bytes, access_key_id: str, token: str) -> Session | None:
    """The content sealed for this access key ID, or None if the token is not from this server."""
    try:
        sealed = b32decode(token + "=" * (-len(token) % 8))
        fields = json.loads(zlib.decompress(unseal(_token_key(key), sealed, _purpose(access_key_id))))
    except (ValueError, EnvelopeError):
        return None
    if fields.pop("format") != _FORMAT or _text(sealed) != token:
        return None
    fields["policy_arns"] = tuple(fields["policy_arns"])
    return Session(**fields | {"tags": tuple((name, value) for name, value in fields["tags"])})


def secret_of(key: bytes, token: str) -> str:
    """The secret of the temporary key that this token belongs to: 40 characters."""
    return b64encode(hmac.digest(key, f"secret of {token}".encode(), "sha256")[:30]).decode()


def _text(sealed: bytes) -> str:
    """A token's one spelling."""
    return b32encode(sealed).decode().rstrip("=")


def _token_key(key: bytes) -> bytes:
    return hmac.digest(key, b"session tokens", "sha256")


def _purpose(access_key_id: str) -> str:
    return f"session of {access_key_id}"


def _pack(session: Session) -> bytes:
    fields = {"format": _FORMAT} | asdict(session)
    return zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 9)
