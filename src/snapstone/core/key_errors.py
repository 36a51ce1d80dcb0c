"""Errors about KMS keys."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class KeyHiddenError(SnapstoneError):
    """A snapshot's KMS key does not exist for the caller: destroyed, or its policy gives the caller nothing."""
