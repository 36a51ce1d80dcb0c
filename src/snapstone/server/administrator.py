"""The first account and its administrator's access key: made at first start, kept in `credentials`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from snapstone.server.credentials_file import KeyPair, read_credentials, write_credentials
from snapstone.service.iam.access_keys import sealed_key
from snapstone.service.iam.accounts import mint_account_id
from snapstone.service.iam.arns import LONG_TERM_PREFIX, RandomBytes, mint_id, mint_secret
from snapstone.service.iam.identity_engine import IdentityEngine

KEY_LIMIT: Final = 1_000
"""Root's keys, of which each lost `credentials` file leaves one: whoever owns the data folder is not locked out."""


def ensure_administrator(engine: IdentityEngine, credentials: Path) -> None:
    """Make the first account and its root's key, unless there are; the catalog knows the key in `credentials` then.

    For one process at a time. Raises DataFolderError where `credentials` is not readable as such a file.
    """
    account_id = engine.catalog.first_account(mint_account_id(engine.random_bytes))
    made = not credentials.exists()
    pair = mint_key_pair(engine.random_bytes) if made else read_credentials(credentials)
    if engine.catalog.sealed_access_key(pair.access_key_id) is None:
        key = sealed_key(engine, pair.access_key_id, pair.secret, account_id, None)
        engine.catalog.insert_access_key(key, KEY_LIMIT)
    if made:
        write_credentials(credentials, pair)


def mint_key_pair(random_bytes: RandomBytes) -> KeyPair:
    """A long-term key as AWS makes them."""
    return KeyPair(mint_id(LONG_TERM_PREFIX, random_bytes), mint_secret(random_bytes))
