"""Damage of what the catalog holds: told in the damage log and by `/ready`, and an error for whoever came upon it.

A row that cannot be opened, or that is missing though another one needs it, is never "not found": that would be an
answer about what was asked for, and the fault is the store's.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from snapstone.catalog.checksums import CATALOG_ROW
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.service.health import Health
from snapstone.storage.damage import NO_OBJECT

log = logging.getLogger(__name__)

SUBJECT: Final = "catalog rows"
"""Under which `/ready` tells of damaged rows."""

FILE_SUBJECT: Final = "catalog file"
"""Under which it tells of a file that SQLite finds damaged."""


class DamageReports(Protocol):
    """Where damage is written down (storage.damage.DamageLog)."""

    def report(self, address: Address, place: str, what: str) -> DamageError:
        """Write an entry; returns the error for the caller to raise."""


class LoggedDamage:
    """Damage reports of an engine without a store, such as that of the commands for users and keys."""

    def report(self, address: Address, place: str, what: str) -> DamageError:
        log.error("damaged", extra={"fields": {"place": place, "what": what}})
        return DamageError(address.hex(), f"{place}: {what}")


class Reporting(Protocol):
    """The part of an engine that says what is wrong."""

    @property
    def damage(self) -> DamageReports: ...

    @property
    def health(self) -> Health: ...


def row_damage(engine: Reporting, row: str, what: str) -> DamageError:
    """Report a damaged or missing row, named as `KIND ID`; returns the error for the caller to raise."""
    engine.health.report(SUBJECT, f"the catalog's row `{row}` is damaged: {what}; see `snapstone check`")
    return engine.damage.report(NO_OBJECT, f"catalog.db, {row}", what)


def report_catalog_damage(engine: Reporting, damage: DamageError) -> None:
    """Report what the catalog itself has found damaged: a row whose checksum is wrong, or its file."""
    row = damage.address.removeprefix(CATALOG_ROW)
    if row != damage.address:
        row_damage(engine, row, damage.what)
        return
    engine.health.report(FILE_SUBJECT, f"{damage.what} ({damage.address}); see `snapstone check`")
    engine.damage.report(NO_OBJECT, damage.address, damage.what)
