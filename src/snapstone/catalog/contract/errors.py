"""The errors that any call of a catalog may raise: no error of the engine below leaves a catalog.

Beside these there are DamageError and StoreFullError, of `core.errors`. The two here have no AWS fault of their own: a
row that is refused is a mistake in this program, and a catalog that fails is answered as an internal error and logged.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class RowRefusedError(Exception):
    """A row that cannot be stored: its id is taken, or it breaks a rule that all such rows keep."""

    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(eq=False)
class CatalogUnavailableError(Exception):
    """The catalog is closed, locked by another program, or its engine failed; the call is not acknowledged."""

    what: str

    def __str__(self) -> str:
        return self.what
