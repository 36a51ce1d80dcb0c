"""The first account and its administrator's access key: made at first start, kept in `credentials`."""

from __future__ import annotations

import configparser
from base64 import b32encode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snapstone.catalog.contract import Catalog
from snapstone.catalog.rows import AccessKey
from snapstone.core.ids import AccountId
from snapstone.server.data_folder import DataFolderError, write_whole

SECTION: Final = "default"

LEAST_ACCOUNT_NUMBER: Final = 10**11
"""An account id has twelve digits, and the first is not 0 here: some tools read it as a number."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """What a client signs with."""

    access_key_id: str
    secret: str


def ensure_administrator(catalog: Catalog, credentials: Path, random_bytes: Callable[[int], bytes]) -> None:
    """Make the first account and its key, unless there are; the catalog knows the key in `credentials` afterwards.

    For one process at a time. Raises DataFolderError where `credentials` is not readable as such a file.
    """
    account_id = catalog.first_account(mint_account_id(random_bytes))
    made = not credentials.exists()
    pair = mint_key_pair(random_bytes) if made else read_credentials(credentials)
    if catalog.access_key(pair.access_key_id) is None:
        catalog.add_access_key(AccessKey(pair.access_key_id, pair.secret, account_id, active=True))
    if made:
        write_whole(
            credentials,
            f"[{SECTION}]\naws_access_key_id = {pair.access_key_id}\naws_secret_access_key = {pair.secret}\n",
        )


def read_credentials(path: Path) -> KeyPair:
    """The administrator's key. Raises DataFolderError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
        section = parser[SECTION]
        return KeyPair(section["aws_access_key_id"], section["aws_secret_access_key"])
    except (OSError, UnicodeDecodeError) as error:
        raise DataFolderError(f"cannot read {path}: {error}") from None
    except (configparser.Error, KeyError):
        # What the file holds is not repeated: it may be the secret.
        raise DataFolderError(f"{path} is no AWS credentials file with a [{SECTION}] key") from None


def mint_account_id(random_bytes: Callable[[int], bytes]) -> AccountId:
    """Twelve random digits, the first not 0."""
    number = int.from_bytes(random_bytes(16), "big") % (9 * LEAST_ACCOUNT_NUMBER) + LEAST_ACCOUNT_NUMBER
    return AccountId(str(number))


def mint_key_pair(random_bytes: Callable[[int], bytes]) -> KeyPair:
    """A long-term key as AWS makes them: `AKIA` and 16 of A-Z2-7, and a secret of 40 characters."""
    return KeyPair("AKIA" + b32encode(random_bytes(10)).decode(), b64encode(random_bytes(30)).decode())
