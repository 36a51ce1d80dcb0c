"""The file `credentials` of a data folder: the administrator's access key, as AWS tools read it."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from snapstone.server.folder.data_folder import DataFolderError
from snapstone.system.files import replace_file

SECTION: Final = "default"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The access key pair of a client."""

    access_key_id: str
    secret: str = field(repr=False)


def write_credentials(path: Path, pair: KeyPair) -> None:
    """Replace the file, durably."""
    text = f"[{SECTION}]\naws_access_key_id = {pair.access_key_id}\naws_secret_access_key = {pair.secret}\n"
    replace_file(path, text.encode("ascii"))


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
        raise DataFolderError(f"{path} is not an AWS credentials file with a [{SECTION}] key") from None
