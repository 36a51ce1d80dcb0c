"""Errors about identities and permissions."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class AccessDeniedError(SnapstoneError):
    """The caller's policies do not allow what it asked."""

    principal_arn: str
    action: str
    resource: str
    explicit: bool
    """Whether a statement denies it, rather than none allowing it."""


@dataclass(eq=False)
class NoSuchEntityError(SnapstoneError):
    """A user, role, key or policy that does not exist."""

    message: str


@dataclass(eq=False)
class EntityAlreadyExistsError(SnapstoneError):
    """A name that is taken."""

    message: str


@dataclass(eq=False)
class DeleteConflictError(SnapstoneError):
    """What was to be deleted still has something, or is attached to something."""

    message: str


@dataclass(eq=False)
class IdentityLimitError(SnapstoneError):
    """A quota of identities, or of what one of them may have, is reached."""

    message: str


@dataclass(eq=False)
class MalformedPolicyDocumentError(SnapstoneError):
    """A policy that was sent to be stored is none."""

    message: str


@dataclass(eq=False)
class MalformedPolicyError(MalformedPolicyDocumentError):
    """A text that is no policy in the policy language; the message names the place and the value."""


@dataclass(eq=False)
class InvalidIdentityInputError(SnapstoneError):
    """Parameters of an IAM call that are well formed and cannot be followed."""

    message: str


@dataclass(eq=False)
class IdentityValidationError(SnapstoneError):
    """A parameter of an IAM or STS call that is not well formed."""

    message: str


@dataclass(eq=False)
class PackedPolicyTooLargeError(SnapstoneError):
    """A session's policies and tags do not fit into a session token."""

    percent: int


@dataclass(eq=False)
class SessionRefusedError(SnapstoneError):
    """Temporary credentials that are not given, whatever policies say."""

    message: str
