"""Opening the catalog's file without ever making another, its migrations, and what SQLite's errors about it mean.

At a start each error becomes one sentence that names the file, the cause and the remedy (`CatalogError`). While the
server runs, damage becomes DamageError and a full disk StoreFullError; anything else keeps its own error, with the file
in its notes. Numbered migrations bring a catalog of any earlier version to this one; a newer one is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from snapstone.catalog.contract.errors import CatalogUnavailableError, RowRefusedError
from snapstone.core.errors import DamageError, StoreFullError
from snapstone.system.sqlite import connect

NO_SPACE_BYTES: Final = 1 << 20
"""With less free space, an I/O error without a reason counts as a full disk: SQLite hides some reasons."""

ACCEPT_OPTION: Final = "--accept-older-catalog"
"""The option of `snapstone serve` that accepts the loss which an `OlderCatalogError` tells of."""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_DENIED: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_IOERR}
)


class CatalogError(Exception):
    """A catalog that a start refuses; as text, one sentence with the file, the cause and the remedy."""


@dataclass(eq=False)
class CatalogMissingError(CatalogError):
    """The file is missing or empty, and creating one was not requested."""

    path: Path

    def __str__(self) -> str:
        return (
            f"the catalog {self.path} is missing or empty; restore it from a backup, together with its -wal if the "
            "backup has one"
        )


@dataclass(eq=False)
class UnusableCatalogError(CatalogError):
    """The file cannot be opened, or is not a catalog that this version can use."""

    path: Path
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"the catalog {self.path} cannot be used: {self.cause}; {self.remedy}"


@dataclass(eq=False)
class OlderCatalogError(CatalogError):
    """The changes file records transactions that the catalog does not have: they were lost."""

    path: Path
    held: int
    """The last transaction that the catalog holds."""
    recorded: int
    """The last one that was acknowledged."""

    def __str__(self) -> str:
        return (
            f"the catalog {self.path} ends at transaction {self.held}, but {self.path.name}-changes records "
            f"{self.recorded}: {self.path.name} is an older copy, or {self.path.name}-wal was lost or damaged. Put the "
            f"right {self.path.name} and {self.path.name}-wal back together, or accept that what came later is lost by "
            f"starting once with {ACCEPT_OPTION}"
        )


def is_absent(path: Path) -> bool:
    """Whether there is no file, or an empty one."""
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True


def failure_of(error: sqlite3.Error, path: Path) -> Exception:
    """The contract's error for an error of SQLite while the server runs."""
    code = _code_of(error)
    if _is_damage(error, code):
        return DamageError(str(path), f"the catalog is damaged: {error}")
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return StoreFullError(f"the catalog {path}: {error}")
    if isinstance(error, sqlite3.IntegrityError):
        return RowRefusedError(f"the catalog {path}: {error}")
    return CatalogUnavailableError(f"the catalog {path}: {error}")


def refusal_of(error: sqlite3.Error | OSError, path: Path) -> Exception:
    """The error to raise for an error at a start: a CatalogError, or StoreFullError if only space is missing."""
    code = _code_of(error) if isinstance(error, sqlite3.Error) else None
    if isinstance(error, sqlite3.Error) and _is_damage(error, code):
        return UnusableCatalogError(
            path, f"it is damaged ({error})", "restore it from a backup, together with its -wal if the backup has one"
        )
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return StoreFullError(f"the catalog {path} cannot be opened: {error}; free some space on its disk")
    if code is None or code in _DENIED:
        denied = _denied(path)
        if denied is not None:
            return UnusableCatalogError(
                path, f"{denied} cannot be read and written by this user", f"chmod 600 {denied}"
            )
        return UnusableCatalogError(path, str(error), "make its directory and file system writable")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UnusableCatalogError(path, "another program keeps it locked", "stop that program")
    return UnusableCatalogError(path, str(error), "restore it from a backup")


def _code_of(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for what the module itself raises."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_damage(error: sqlite3.Error, code: int | None) -> bool:
    # A text that is not UTF-8 was not written by this program: the module says so without a code.
    return code in _DAMAGE or (code is None and "decode to UTF-8" in str(error))


def _is_full(path: Path) -> bool:
    space = os.statvfs(path.parent)
    return space.f_bavail * space.f_frsize < NO_SPACE_BYTES


def _denied(path: Path) -> Path | None:
    """The first of the catalog's files that is there and may not be read and written."""
    for each in (
        path.parent,
        path,
        *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-lock", "-changes")),
    ):
        if each.exists() and not os.access(each, os.R_OK | os.W_OK):
            return each
    return None


_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT
"""


_APPLIED: Final = "SELECT coalesce(max(number), 0) FROM schema_migration"

LAST_PLAIN_VERSION: Final = 1
"""Catalogs up to this version hold no keys that a root key has sealed."""


@dataclass(eq=False)
class NewerCatalogError(CatalogError):
    """The catalog was written by a newer version of Snapstone: this one could only harm it."""

    found: int
    known: int

    def __str__(self) -> str:
        return (
            f"the catalog has schema version {self.found}, this Snapstone knows versions up to {self.known}: "
            "run the newer Snapstone that wrote it, or restore the catalog from before the upgrade"
        )


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: `NNNN_name.sql` in the folder `migrations`."""

    number: int
    name: str
    script: str


def known_migrations() -> list[Migration]:
    """The migrations that this version brings, in order of number, which runs from 1 without a gap."""
    migrations = []
    for entry in sorted(
        files("snapstone.catalog.sqlite").joinpath("migrations").iterdir(), key=lambda entry: entry.name
    ):
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            migrations.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    return migrations


def version_of(path: Path) -> int:
    """The number of the last migration that a catalog's file has; 0 for an empty file. Raises CatalogError."""
    try:
        with closing(connect(path)) as connection:
            return version_in(connection, path, known_migrations())
    except sqlite3.Error as error:
        raise refusal_of(error, path) from error


def version_in(connection: sqlite3.Connection, path: Path, migrations: list[Migration]) -> int:
    """The number of the last migration that a catalog has; 0 for an empty one.

    Raises NewerCatalogError, and UnusableCatalogError for a database that is something else.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()}
    if tables and "schema_migration" not in tables:
        raise UnusableCatalogError(path, "it is a database, but not a catalog", "restore the catalog from a backup")
    if not tables:
        return 0
    [(applied,)] = connection.execute(_APPLIED).fetchall()
    if applied > len(migrations):
        raise NewerCatalogError(found=applied, known=len(migrations))
    return int(applied)


def migrate(connection: sqlite3.Connection, migrations: list[Migration]) -> None:
    """Apply what is missing, inside the caller's write transaction; raises NewerCatalogError."""
    connection.execute(_RECORD)
    [(applied,)] = connection.execute(_APPLIED).fetchall()
    if applied > len(migrations):
        raise NewerCatalogError(found=applied, known=len(migrations))
    for migration in migrations[applied:]:
        for statement in _statements(migration.script):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_migration VALUES (?, ?)", (migration.number, migration.name))


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction that is open."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), "a migration ends with a complete statement"
