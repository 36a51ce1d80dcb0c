"""Statements on KMS keys and data keys."""

from __future__ import annotations

from snapstone.catalog.connections import Statements


class KeyStatements(Statements):
    """Implements `key_contract.KeyCatalog`; what each call promises is said there."""
