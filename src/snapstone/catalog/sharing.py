"""Statements on tags, sharing and regional settings."""

from __future__ import annotations

from snapstone.catalog.connections import Statements


class SharingStatements(Statements):
    """Implements `sharing_contract.SharingCatalog`; what each call promises is said there."""
