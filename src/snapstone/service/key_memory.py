"""What one process has unsealed and remembers, within bounds; whether it still counts is for who asks to find out."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final, Generic, TypeVar

from snapstone.core.data_key import DataKey, Domain

REMEMBERED_KEYS: Final = 4_096
"""Unsealed keys of each kind that one process remembers: the one used longest ago goes first."""

Unsealed = TypeVar("Unsealed")


class Remembered(Generic[Unsealed]):
    """The keys used last, by id. Safe from many threads."""

    def __init__(self) -> None:
        self._keys: OrderedDict[bytes | str, Unsealed] = OrderedDict()
        self._lock = Lock()

    def get(self, key_id: bytes | str) -> Unsealed | None:
        return self._keys.get(key_id)

    def keep(self, key_id: bytes | str, key: Unsealed) -> None:
        with self._lock:
            self._keys[key_id] = key
            if len(self._keys) > REMEMBERED_KEYS:
                self._keys.popitem(last=False)


class KeyMemory:
    """What one process has unsealed."""

    def __init__(self) -> None:
        self.data_keys: Remembered[tuple[str, DataKey]] = Remembered()
        """With the id of the KMS key that sealed each."""
        self.domains: Remembered[Domain] = Remembered()
