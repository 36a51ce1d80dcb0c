"""Migrations: applied once, in order, whole or not at all, whoever opens the file first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.connections import Connections
from snapstone.catalog.sqlite.opening import Migration, NewerCatalogError, known_migrations, migrate
from tests.suites.races import in_processes, racing, wait_for_the_others

FIRST = Migration(1, "first", "-- a comment; with a semicolon\nCREATE TABLE one (a);\nCREATE TABLE two (\n  b\n);\n")
SECOND = Migration(
    2, "second", "CREATE TRIGGER t AFTER INSERT ON one BEGIN\n  INSERT INTO two VALUES (1);\nEND;\nDROP TABLE two;\n"
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def names(connection: sqlite3.Connection, kind: str) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = ?", (kind,)).fetchall()
    return {row[0] for row in rows}


def applied(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    return connection.execute("SELECT number, name FROM schema_migration ORDER BY number").fetchall()


def test_a_fresh_catalog_gets_all_migrations(connection: sqlite3.Connection) -> None:
    migrate(connection, [FIRST, SECOND])
    assert applied(connection) == [(1, "first"), (2, "second")]
    assert names(connection, "table") == {"schema_migration", "one"}
    assert names(connection, "trigger") == {"t"}


def test_an_older_catalog_gets_only_what_it_lacks(connection: sqlite3.Connection) -> None:
    migrate(connection, [FIRST])
    connection.execute("INSERT INTO one VALUES (7)")
    migrate(connection, [FIRST, SECOND])
    assert applied(connection) == [(1, "first"), (2, "second")]
    assert connection.execute("SELECT a FROM one").fetchall() == [(7,)]


def test_a_newer_catalog_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(NewerCatalogError) as refused:
        migrate(connection, [FIRST])
    assert (refused.value.found, refused.value.known) == (2, 1)


def test_migrations_stay_inside_the_callers_transaction(connection: sqlite3.Connection) -> None:
    broken = Migration(2, "broken", "CREATE TABLE three (c);\nCREATE TABLE one (again);\n")
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, [FIRST, broken])
    assert connection.in_transaction
    connection.execute("ROLLBACK")
    assert names(connection, "table") == set()


def test_a_script_that_ends_in_the_middle_of_a_statement_is_refused(connection: sqlite3.Connection) -> None:
    with pytest.raises(AssertionError, match="complete statement"):
        migrate(connection, [Migration(1, "cut", "CREATE TABLE one (a);\nCREATE TABLE")])


def test_the_migrations_of_this_version_are_numbered_from_one() -> None:
    migrations = known_migrations()
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    assert migrations[0].name == "initial"


def test_threads_that_open_a_fresh_file_at_once_migrate_it_once(tmp_path: Path) -> None:
    for opened in racing(8, lambda _: Connections(tmp_path / "catalog.db")):
        with opened.reading() as connection:
            assert applied(connection)[0] == (1, "initial")
        opened.close()


def test_processes_that_open_a_fresh_file_at_once_migrate_it_once(tmp_path: Path) -> None:
    for found in in_processes(4, open_many, tmp_path):
        assert [migrations[0] for migrations in found] == [(1, "initial")] * 10
        assert [len(migrations) for migrations in found] == [len(known_migrations())] * 10


def open_many(folder: Path, process: int) -> list[list[tuple[int, str]]]:
    """What ten fresh files, each opened by all processes at once, say of their migrations."""
    found = []
    for number in range(10):
        wait_for_the_others()
        opened = Connections(folder / f"catalog-{number}.db")
        with opened.reading() as connection:
            found.append(applied(connection))
        opened.close()
    return found
