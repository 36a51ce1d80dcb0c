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
