"""Refusals of the wire floor, before any operation is called: signatures, syntax, constraints, unknown operations."""

from __future__ import annotations

from dataclasses import dataclass


class WireError(Exception):
    """Root of wire's own family; like core's, its members carry the facts as fields."""


# -- who calls --


@dataclass(eq=False)
class MissingCredentialsError(WireError):
    """Neither an Authorization header nor a presigned query."""


@dataclass(eq=False)
class MalformedSignatureError(WireError):
    """A signature that lacks a part, or has one that cannot be read."""

    message: str


@dataclass(eq=False)
class UnknownAccessKeyError(WireError):
    """No active access key has this id."""

    access_key_id: str


@dataclass(eq=False)
class InvalidSessionTokenError(WireError):
    """A session token that is missing, wrong, or sent with a key that has none."""


@dataclass(eq=False)
class ExpiredSessionError(WireError):
    """A temporary access key past its end."""


@dataclass(eq=False)
class UnknownRegionError(WireError):
    """The credential scope names a region that this server does not answer for."""

    region: str


@dataclass(eq=False)
class SignatureMismatchError(WireError):
    """The signature does not cover what was received."""

    message: str


@dataclass(eq=False)
class ClockSkewError(WireError):
    """Signed too long ago, too far ahead, or a presigned URL past its age."""

    message: str


# -- which operation --


@dataclass(eq=False)
class UnknownOperationError(WireError):
    """No rest-json operation has this method and path."""

    method: str
    path: str


@dataclass(eq=False)
class UnknownActionError(WireError):
    """A query-protocol Action that is not offered."""

    action: str


@dataclass(eq=False)
class UnknownVersionError(WireError):
    """A query-protocol request for another API version."""

    service: str
    version: str


@dataclass(eq=False)
class MissingActionError(WireError):
    """A query-protocol request that names no Action."""


# -- with which members --


@dataclass(eq=False)
class SerializationError(WireError):
    """A member, or the body as a whole, that is not of its type."""

    message: str


@dataclass(eq=False)
class ConstraintError(WireError):
    """Members of the right type outside their model's constraints; one text for each violation."""

    violations: tuple[str, ...]


@dataclass(eq=False)
class MissingParameterError(WireError):
    """A query-protocol request without a parameter it needs."""

    parameter: str


@dataclass(eq=False)
class InvalidParameterTypeError(WireError):
    """A query-protocol parameter that is not of its type."""

    parameter: str
    value: str
    expected: str
