"""Where the root key comes from: a file of mode 0600 in the data folder unless the operator keeps it elsewhere."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from snapstone.core.data_key import KEY_SIZE
from snapstone.server.config import Settings, SettingsError
from snapstone.server.folder.data_folder import DataFolder, DataFolderError
from snapstone.system.files import replace_file

COMMAND_TIMEOUT_SECONDS: Final = 60
"""How long a command may take that prints the root key."""

_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}")


VARIABLE: Final = "SNAPSTONE_ROOT_KEY"
"""Holds the key itself. There is no flag for it: flags can be seen by every user of a machine."""


def read_root_key(settings: Settings, folder: DataFolder, environ: Mapping[str, str] = os.environ) -> bytes:
    """The 32 bytes of the root key: from the command, the variable, or the file.

    Raises SettingsError and DataFolderError.
    """
    if settings.root_key_command:
        return _parse(_output_of(settings.root_key_command), "what root-key-command printed")
    if VARIABLE in environ:
        return _parse(environ[VARIABLE], VARIABLE)
    path = Path(settings.root_key_file) if settings.root_key_file else folder.root_key
    return _parse(_read(path), str(path))


def ensure_root_key(settings: Settings, folder: DataFolder, environ: Mapping[str, str] = os.environ) -> None:
    """Make the file of an installation whose catalog holds nothing sealed yet: a fresh one, or an earlier version's.

    One that has lost its root key is not given another, and none is made beside objects whose catalog is missing.

    For one process at a time. Raises DataFolderError.
    """
    require_catalog(settings, folder)
    if settings.root_key_command or VARIABLE in environ or settings.root_key_file or folder.root_key.exists():
        return
    if folder.catalog.exists() and _may_hold_sealed(folder):
        raise DataFolderError(
            f"{folder.root_key} is missing, and the keys in the catalog cannot be opened without it; restore it from "
            "its backup, or give it with --root-key-file or --root-key-command"
        )
    replace_file(folder.root_key, (os.urandom(KEY_SIZE).hex() + "\n").encode("ascii"))


def require_catalog(settings: Settings, folder: DataFolder) -> None:
    """Refuse a folder that has lost its catalog, before anything is made in it. Raises DataFolderError."""
    from snapstone.catalog.sqlite.opening import CatalogMissingError, is_absent
    from snapstone.server.folder.refusals import start_refusals

    if settings.accept_older_catalog or folder.first_start.exists() or not is_absent(folder.catalog):
        return
    with start_refusals(folder):
        raise CatalogMissingError(folder.catalog)


def _may_hold_sealed(folder: DataFolder) -> bool:
    from snapstone.catalog.sqlite.opening import LAST_PLAIN_VERSION, version_of
    from snapstone.server.folder.refusals import start_refusals

    with start_refusals(folder):
        return version_of(folder.catalog) > LAST_PLAIN_VERSION


def _output_of(command: str) -> str:
    try:
        ended = subprocess.run(
            command, shell=True, check=True, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise SettingsError(f"root-key-command failed with exit code {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise SettingsError(f"root-key-command did not finish within {COMMAND_TIMEOUT_SECONDS} seconds") from None
    return ended.stdout


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise DataFolderError(f"other users can read {path}; run chmod 600 on it")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataFolderError(f"cannot read the root key {path}: {error}") from None


def _parse(text: str, source: str) -> bytes:
    """The key that a text of 64 hexadecimal digits is. The text itself is never repeated."""
    if not _HEX_KEY.fullmatch(text.strip()):
        raise SettingsError(f"{source} is not a root key: 64 lower-case hexadecimal digits")
    return bytes.fromhex(text.strip())
