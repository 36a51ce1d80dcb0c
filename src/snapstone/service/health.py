"""Current problems of this server, by subject: reported by `/ready`, which the doctor reads, and in the log.

Damage of what the catalog holds goes to the damage log and to `/ready`, and is an error for the caller that hit it. A
row that cannot be opened, or that is missing though another one needs it, is never "not found": that would answer what
was requested, and the fault is the store's.

The gate is closed while the data folder is not the one that this process opened. Whatever changes something passes the
gate twice: before it begins, and before its success is reported. So nothing that was under way when the folder was lost
is acknowledged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

from snapstone.catalog.sqlite.checksums import CATALOG_ROW
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError, StoreLostError
from snapstone.storage.damage import NO_OBJECT

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """One current problem."""

    subject: str
    """One of a few fixed words, such as `clock`, `space`, `data folder` or `catalog`: a later report replaces it."""
    message: str
    """A sentence for the operator: what is wrong and what to do. It is shown to anyone who asks: no secrets in it."""
    unready: bool
    """Whether requests should be sent elsewhere: `/ready` answers 503."""


class Health:
    """The problems of one process. Safe from many threads; a problem is logged when it begins, changes and ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._problems: dict[str, Problem] = {}

    def report(self, subject: str, message: str, *, unready: bool = False) -> None:
        """Report a problem with the subject, in place of an earlier one."""
        problem = Problem(subject, message, unready)
        with self._lock:
            known = self._problems.get(subject)
            self._problems[subject] = problem
        if known != problem:
            log.error("problem", extra={"fields": {"subject": subject, "problem": message}})

    def clear(self, subject: str) -> None:
        """Nothing is wrong with the subject any more."""
        with self._lock:
            ended = self._problems.pop(subject, None)
        if ended is not None:
            log.warning("problem resolved", extra={"fields": {"subject": subject, "problem": ended.message}})

    def problems(self) -> list[Problem]:
        """Current problems, in order of subject."""
        with self._lock:
            return [self._problems[subject] for subject in sorted(self._problems)]


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
    """The part of an engine that reports problems."""

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


class StoreGate:
    """Open until told otherwise. Safe from many threads; passing it costs one attribute access."""

    def __init__(self) -> None:
        self._loss: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be passed."""
        return self._loss is None

    def close(self, loss: str) -> None:
        """Nothing passes from now on, because of this."""
        self._loss = loss

    def open(self) -> None:
        """The store is there again."""
        self._loss = None

    def require_open(self) -> None:
        """Pass. Raises StoreLostError if the store is lost."""
        loss = self._loss
        if loss is not None:
            raise StoreLostError(loss)
