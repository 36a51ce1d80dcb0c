"""The identities of a data folder, for commands that work on its catalog beside a running server, or without one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from snapstone.catalog.contract import Catalog
from snapstone.catalog.opening import CatalogError
from snapstone.catalog.sqlite import SqliteCatalog
from snapstone.core.envelope import EnvelopeError
from snapstone.core.tokens import TOKEN_KEY_SIZE
from snapstone.server.clock import now_ms
from snapstone.server.config import Settings
from snapstone.server.data_folder import DataFolder, DataFolderError
from snapstone.server.root_key import read_root_key
from snapstone.service.damage import DamageReports, LoggedDamage
from snapstone.service.engine import RootKey
from snapstone.service.health import Health
from snapstone.service.root_key import HeldRootKey
from snapstone.service.secrets import server_secret


@dataclass(frozen=True)
class Identities:
    """Implements service.iam.identity_engine.IdentityEngine."""

    catalog: Catalog
    root_key: RootKey
    now_ms: Callable[[], int] = now_ms
    random_bytes: Callable[[int], bytes] = os.urandom
    damage: DamageReports = field(default_factory=LoggedDamage)
    health: Health = field(default_factory=Health)


@contextmanager
def open_identities(settings: Settings) -> Iterator[Identities]:
    """Open the catalog of a data folder, brought to this version, with its secrets sealed.

    Raises SettingsError and DataFolderError, also where the root key is not the one that sealed what is there.
    """
    folder = DataFolder(settings.data)
    if not folder.format.exists():
        raise DataFolderError(f"there is no data folder {folder.path}, or no server has run on it yet")
    root_key = HeldRootKey(read_root_key(settings, folder), os.urandom)
    try:
        catalog = SqliteCatalog(folder.catalog)
    except CatalogError as error:
        raise DataFolderError(str(error)) from None
    try:
        catalog.seal_plain_secrets(root_key.seal)
        _check_root_key(catalog, root_key, folder)
        yield Identities(catalog, root_key)
    finally:
        catalog.close()


def _check_root_key(catalog: Catalog, root_key: RootKey, folder: DataFolder) -> None:
    try:
        server_secret(catalog, root_key, "tokens", os.urandom(TOKEN_KEY_SIZE))
    except EnvelopeError:
        raise DataFolderError(
            f"the root key is not the one that sealed the catalog in {folder.path}: name the right one with "
            "--root-key-file, --root-key-command or their variables"
        ) from None
