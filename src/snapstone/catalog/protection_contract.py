"""The part of the catalog's contract about locks, the recycle bin, the archive tier and copies."""

from __future__ import annotations

from typing import Protocol


class ProtectionCatalog(Protocol):
    """Rows of what protects snapshots, durable when a call returns."""
