"""The part of the catalog's contract about tags, sharing and encryption by default."""

from __future__ import annotations

from typing import Protocol


class SharingCatalog(Protocol):
    """Rows of tags, shares and regional settings, durable when a call returns."""
