"""The root key in use: the one key that is not in the data folder's catalog, and that seals all others there."""

from __future__ import annotations

from collections.abc import Callable

from snapstone.core.envelope import NONCE_SIZE, seal, unseal


class HeldRootKey:
    """Implements engine.RootKey with a key of 32 bytes held in memory."""

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._key = key
        self._random_bytes = random_bytes

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        return seal(self._key, plaintext, purpose, self._random_bytes(NONCE_SIZE))

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        return unseal(self._key, sealed, purpose)
