"""Errors about KMS keys."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class KeyNotUsableError(SnapstoneError):
    """A snapshot's KMS key is disabled, pending deletion, deleted, or closed to the caller."""

    key_arn: str
    why: str
