"""The part of the catalog's contract about accounts, users, roles, access keys and policies."""

from __future__ import annotations

from typing import Protocol


class IdentityCatalog(Protocol):
    """Rows of identities, durable when a call returns."""
