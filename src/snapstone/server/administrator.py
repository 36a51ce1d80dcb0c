"""The first account and its administrator's access key: made at first start, kept in `credentials`."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

from snapstone.catalog.identity_rows import SealedAccessKey
from snapstone.core.errors import DamageError
from snapstone.server.credentials_file import KeyPair, read_credentials, write_credentials
from snapstone.server.data_folder import StartRefusedError
from snapstone.service.iam.access_keys import sealed_key
from snapstone.service.iam.accounts import mint_account_id
from snapstone.service.iam.arns import LONG_TERM_PREFIX, RandomBytes, mint_id, mint_secret
from snapstone.service.iam.identity import secret_of_key
from snapstone.service.iam.identity_engine import IdentityEngine

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
    remedy = f"put {credentials.name} back from a backup, or remove it: the next start makes a new key"
    if known is None:
        raise StartRefusedError(
            f"the access key id in {credentials} is not in the catalog: the file was changed or damaged, or that key "
            f"was deleted; {remedy}"
        )
    try:
        secret = secret_of_key(engine, known)
    except DamageError:
        raise StartRefusedError(
            f"the catalog's row of the access key in {credentials} is damaged: put the catalog back from a backup, or "
            f"remove {credentials.name}: the next start makes a new key"
        ) from None
    if not hmac.compare_digest(secret.encode(), pair.secret.encode()):
        raise StartRefusedError(
            f"the secret in {credentials} is not that of its access key: the file was changed or damaged; {remedy}"
        )


def mint_key_pair(random_bytes: RandomBytes) -> KeyPair:
    """A long-term key as AWS makes them."""
    return KeyPair(mint_id(LONG_TERM_PREFIX, random_bytes), mint_secret(random_bytes))
