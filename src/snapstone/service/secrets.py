"""The server's own secrets: made once, shared by all processes, sealed by the root key in the catalog."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.contract import Catalog
from snapstone.service.engine import RootKey

TOKENS: Final = "tokens"
"""Name of the secret behind block tokens and those of listings."""


def server_secret(catalog: Catalog, root_key: RootKey, name: str, candidate: bytes) -> bytes:
    """The secret of that name; `candidate` becomes it where there is none yet. Costs a transaction."""
    purpose = secret_purpose(name)
    return root_key.unseal(catalog.secret(name, root_key.seal(candidate, purpose)), purpose)


def secret_purpose(name: str) -> str:
    """What a secret is sealed for."""
    return f"secret {name}"
