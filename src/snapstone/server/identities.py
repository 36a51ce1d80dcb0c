"""The identities of a data folder, for commands that work on its catalog beside a running server, or without one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain

from snapstone.catalog.contract import Catalog
from snapstone.catalog.sqlite import SqliteCatalog
from snapstone.core.envelope import EnvelopeError
from snapstone.core.tokens import TOKEN_KEY_SIZE
from snapstone.server.clock import now_ms
from snapstone.server.config import Settings
from snapstone.server.data_folder import DataFolder, DataFolderError, StartRefusedError
from snapstone.server.root_key import read_root_key
from snapstone.server.start_refusals import start_refusals
from snapstone.service.damage import DamageReports, LoggedDamage
from snapstone.service.engine import RootKey
from snapstone.service.health import Health
from snapstone.service.iam.access_keys import access_key_purpose
from snapstone.service.kms.material import material_purpose
from snapstone.service.root_key import HeldRootKey
from snapstone.service.secrets import TOKENS, server_secret


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

    Only a first start makes one. Raises SettingsError and DataFolderError, also where the root key is not the one that
    sealed what is there.
    """
    folder = DataFolder(settings.data)
    if not folder.format.exists():
        raise DataFolderError(f"there is no data folder {folder.path}, or no server has run on it yet")
    root_key = HeldRootKey(read_root_key(settings, folder), os.urandom)
    accepted = settings.accept_older_catalog
    with start_refusals(folder):
        catalog = SqliteCatalog(folder.catalog, create=accepted or folder.first_start.exists(), accept_older=accepted)
    try:
        with start_refusals(folder):
            catalog.seal_plain_secrets(root_key.seal)
            _check_root_key(catalog, root_key, folder)
        yield Identities(catalog, root_key)
    finally:
        catalog.close()


def _check_root_key(catalog: Catalog, root_key: RootKey, folder: DataFolder) -> None:
    try:
        server_secret(catalog, root_key, TOKENS, os.urandom(TOKEN_KEY_SIZE))
    except EnvelopeError:
        if _opens_anything_else(catalog, root_key):
            raise StartRefusedError(
                f"the secret `{TOKENS}` in {folder.catalog} is damaged: put {folder.catalog.name} back from a backup, "
                "or make another with `snapstone check --repair`, which ends block tokens and listings in use"
            ) from None
        raise DataFolderError(
            f"the root key is not the one that sealed the catalog in {folder.path}: name the right one with "
            "--root-key-file, --root-key-command or their variables"
        ) from None


def _opens_anything_else(catalog: Catalog, root_key: RootKey) -> bool:
    """Whether the root key opens any material or access key: then it is the right one."""
    sealed = chain(
        ((each.sealed, material_purpose(each.key_id, each.version)) for each in catalog.materials()),
        ((each.sealed_secret, access_key_purpose(each.access_key_id)) for each in catalog.access_keys()),
    )
    for value, purpose in sealed:
        with suppress(EnvelopeError):
            root_key.unseal(value, purpose)
            return True
    return False
