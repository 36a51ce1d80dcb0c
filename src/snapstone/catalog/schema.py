"""Numbered migrations: brings a SQLite catalog of any earlier version to this one, or refuses a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT
"""


LAST_PLAIN_VERSION: Final = 1
"""Catalogs up to this version hold no keys that a root key has sealed."""


@dataclass(eq=False)
class NewerCatalogError(Exception):
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
    """The number of the last migration that a catalog's file has; 0 for an empty file."""
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migration'").fetchall():
            return 0
        [(number,)] = connection.execute("SELECT coalesce(max(number), 0) FROM schema_migration").fetchall()
    return int(number)


def migrate(connection: sqlite3.Connection, migrations: list[Migration]) -> None:
    """Apply what is missing, inside the caller's write transaction; raises NewerCatalogError."""
    connection.execute(_RECORD)
    [(applied,)] = connection.execute("SELECT coalesce(max(number), 0) FROM schema_migration").fetchall()
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
