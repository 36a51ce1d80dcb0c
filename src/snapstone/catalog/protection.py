"""Statements on locks, the recycle bin, the archive tier and copies."""

from __future__ import annotations

from snapstone.catalog.connections import Statements


class ProtectionStatements(Statements):
    """Implements `protection_contract.ProtectionCatalog`; what each call promises is said there."""
