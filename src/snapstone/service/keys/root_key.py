"""The root key in use: the one key that is not in the data folder's catalog, and that seals all others there.

The server's own secrets are made once, shared by all processes, and sealed by the root key in the catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from snapstone.catalog.contract.catalog import Catalog
from snapstone.core.data_key import NONCE_SIZE, seal, unseal
from snapstone.service.engine import RootKey


class HeldRootKey:
    """Implements engine.RootKey with a key of 32 bytes held in memory."""

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._key = key
        self._random_bytes = random_bytes

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        return seal(self._key, plaintext, purpose, self._random_bytes(NONCE_SIZE))

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        return unseal(self._key, sealed, purpose)


TOKENS: Final = "tokens"
"""Name of the secret behind block tokens and those of listings."""


def server_secret(catalog: Catalog, root_key: RootKey, name: str, candidate: bytes) -> bytes:
    """The secret of that name; `candidate` becomes it where there is none yet. Costs a transaction."""
    purpose = secret_purpose(name)
    return root_key.unseal(catalog.secret(name, root_key.seal(candidate, purpose)), purpose)


def secret_purpose(name: str) -> str:
    """What a secret is sealed for."""
    return f"secret {name}"
