"""Statements on what protects snapshots, gathered: locks, the recycle bin, the archive tier and copies."""

from __future__ import annotations

from snapstone.catalog.copies import CopyStatements
from snapstone.catalog.locks import LockStatements
from snapstone.catalog.recycling import RecyclingStatements
from snapstone.catalog.tiers import TierStatements


class ProtectionStatements(LockStatements, RecyclingStatements, TierStatements, CopyStatements):
    """Implements `protection_contract.ProtectionCatalog`; what each call promises is said there."""
