"""The identities of a data folder: its first account, the administrator's access key, and commands that change them.

The administrator's access key is made at the first start and kept in `credentials`, as AWS tools read it. Commands work
on the catalog beside a running server, or without one.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.identities import SealedAccessKey
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.data_key import EnvelopeError
from snapstone.core.errors import DamageError
from snapstone.core.tokens import TOKEN_KEY_SIZE
from snapstone.server.config import Settings
from snapstone.server.folder.credentials import KeyPair, read_credentials, write_credentials
from snapstone.server.folder.data_folder import DataFolder, DataFolderError, StartRefusedError
from snapstone.server.folder.refusals import start_refusals
from snapstone.server.folder.root_key import read_root_key
from snapstone.service.health import DamageReports, Health, LoggedDamage
from snapstone.service.iam.access_keys import access_key_purpose, mint_account_id, sealed_key
from snapstone.service.identities.arns import LONG_TERM_PREFIX, RandomBytes, mint_id, mint_secret
from snapstone.service.identities.engine import IdentityEngine
from snapstone.service.identities.identity import secret_of_key
from snapstone.service.key_ring import TOKENS, HeldRootKey, KeyRing, RootKey, material_purpose, server_secret
from snapstone.system.clock import now_ms

KEY_LIMIT: Final = 1_000
"""Root's keys, of which each lost `credentials` file leaves one: whoever owns the data folder is not locked out."""


def ensure_administrator(engine: IdentityEngine, credentials: Path, *, adopt: bool = False) -> None:
    """Make the first account and its root's key, unless there are; the catalog knows the key in `credentials` then.

    For one process at a time. With `adopt`, for a catalog that was made anew, the pair in `credentials` becomes a key
    of the first account. Raises DataFolderError if `credentials` is not such a file, or not a key of the catalog.
    """
    account_id = engine.catalog.first_account(mint_account_id(engine.random_bytes))
    made = not credentials.exists()
    pair = mint_key_pair(engine.random_bytes) if made else read_credentials(credentials)
    known = engine.catalog.sealed_access_key(pair.access_key_id)
    if known is None and (made or adopt):
        key = sealed_key(engine, pair.access_key_id, pair.secret, account_id, None)
        engine.catalog.insert_access_key(key, KEY_LIMIT)
    else:
        require_same(engine, credentials, pair, known)
    if made:
        write_credentials(credentials, pair)


def require_same(engine: IdentityEngine, credentials: Path, pair: KeyPair, known: SealedAccessKey | None) -> None:
    """Refuse a pair that clients would be given and no request would be accepted with. Raises StartRefusedError."""
    remedy = f"restore {credentials.name} from a backup, or remove it: the next start creates a new key"
    if known is None:
        raise StartRefusedError(
            f"the access key ID in {credentials} is not in the catalog: the file was changed or damaged, or that key "
            f"was deleted; {remedy}"
        )
    try:
        secret = secret_of_key(engine, known)
    except DamageError:
        raise StartRefusedError(
            f"the catalog's row of the access key in {credentials} is damaged: restore the catalog from a backup, or "
            f"remove {credentials.name}: the next start creates a new key"
        ) from None
    if not hmac.compare_digest(secret.encode(), pair.secret.encode()):
        raise StartRefusedError(
            f"the secret in {credentials} is not that of its access key: the file was changed or damaged; {remedy}"
        )


def mint_key_pair(random_bytes: RandomBytes) -> KeyPair:
    """A long-term key as AWS makes them."""
    return KeyPair(mint_id(LONG_TERM_PREFIX, random_bytes), mint_secret(random_bytes))


@dataclass(frozen=True)
class Identities:
    """Implements service.iam.identity_engine.IdentityEngine."""

    catalog: Catalog
    keys: KeyRing
    now_ms: Callable[[], int] = now_ms
    random_bytes: Callable[[int], bytes] = os.urandom

    @property
    def damage(self) -> DamageReports:
        return self.keys.damage

    @property
    def health(self) -> Health:
        return self.keys.health


def identities_of(catalog: Catalog, root_key: RootKey) -> Identities:
    """The identities in a catalog that is open; damage is logged."""
    return Identities(catalog, KeyRing(catalog, root_key, now_ms, os.urandom, health=Health(), damage=LoggedDamage()))


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
        yield identities_of(catalog, root_key)
    finally:
        catalog.close()


def _check_root_key(catalog: Catalog, root_key: RootKey, folder: DataFolder) -> None:
    try:
        server_secret(catalog, root_key, TOKENS, os.urandom(TOKEN_KEY_SIZE))
    except EnvelopeError:
        if _opens_anything_else(catalog, root_key):
            raise StartRefusedError(
                f"the secret `{TOKENS}` in {folder.catalog} is damaged: restore {folder.catalog.name} from a backup, "
                "or create another with `snapstone check --repair`, which invalidates block tokens and page tokens"
            ) from None
        raise DataFolderError(
            f"the root key is not the one that sealed the catalog in {folder.path}; give the right one with "
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
