"""Numbered migrations: brings a SQLite catalog of any earlier version to this one, or refuses a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from snapstone.catalog.opening import CatalogError, UnusableCatalogError, connect, refusal_of

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
    for entry in sorted(files("snapstone.catalog").joinpath("migrations").iterdir(), key=lambda entry: entry.name):
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
        raise UnusableCatalogError(path, "it is a database, but no catalog", "put the catalog back from a backup")
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
