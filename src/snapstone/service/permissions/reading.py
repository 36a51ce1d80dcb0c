"""Which operations only read; whatever is not named here changes something, and a read-only server refuses it."""

from __future__ import annotations

from typing import Final

_READING: Final = ("Describe", "Get", "List")
"""Beginnings of the names of operations that read, in every service."""

_ALSO_READING: Final = frozenset({("kms", "Decrypt"), ("kms", "GenerateRandom"), ("sts", "AssumeRole")})
"""Other operations that leave the catalog and the objects as they are. Not those that encrypt: they may make a key."""


def only_reads(service: str, operation: str) -> bool:
    """Whether an operation leaves everything as it is."""
    return operation.startswith(_READING) or (service, operation) in _ALSO_READING
