"""Statements on users, roles and policies."""

from __future__ import annotations

from snapstone.catalog.connections import Statements


class IdentityStatements(Statements):
    """Implements `identity_contract.IdentityCatalog`; what each call promises is said there."""
