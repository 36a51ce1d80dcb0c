"""The server's own secrets: made once, shared by all processes, sealed by the root key in the catalog."""

from __future__ import annotations

from snapstone.catalog.contract import Catalog
from snapstone.service.engine import RootKey


def server_secret(catalog: Catalog, root_key: RootKey, name: str, candidate: bytes) -> bytes:
    """The secret of that name; `candidate` becomes it where there is none yet. Costs a transaction."""
    purpose = f"secret {name}"
    return root_key.unseal(catalog.secret(name, root_key.seal(candidate, purpose)), purpose)
