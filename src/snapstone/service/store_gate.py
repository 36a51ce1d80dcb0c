"""Whether what is stored now is kept: closed while the data folder is not the one that this process opened.

Whatever changes something passes the gate twice: before it begins, and before its success is told. So nothing that was
under way when the folder was lost is acknowledged.
"""

from __future__ import annotations

from snapstone.core.errors import StoreLostError


class StoreGate:
    """Open until told otherwise. Safe from many threads; passing it costs one look at an attribute."""

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
        """Pass. Raises StoreLostError where the store is lost."""
        loss = self._loss
        if loss is not None:
            raise StoreLostError(loss)
