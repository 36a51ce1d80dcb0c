"""The part of the catalog's contract about KMS keys, their materials, aliases and grants, and data keys."""

from __future__ import annotations

from typing import Protocol


class KeyCatalog(Protocol):
    """Rows of keys, durable when a call returns."""
