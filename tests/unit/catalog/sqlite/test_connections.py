"""Connections: transactions that end whole, writers that take turns, readers that are bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from snapstone.catalog.contract.errors import CatalogUnavailableError
from snapstone.catalog.sqlite.connections import Connections

GLANCE_SECONDS = 0.1
"""Long enough for a thread that nothing holds back to get through."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def connections(path: Path) -> Iterator[Connections]:
    connections = Connections(path)
    yield connections
    connections.close()


def secrets(connections: Connections) -> list[str]:
    with connections.reading() as connection:
        return [row[0] for row in connection.execute("SELECT name FROM secret ORDER BY name").fetchall()]


def insert(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO secret VALUES (?, x'00', 1)", (name,))


def test_commits_are_synced_to_the_disk(connections: Connections) -> None:
    with connections.writing() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]


def test_a_transaction_that_raises_changes_nothing(connections: Connections) -> None:
    def insert_and_raise() -> None:
        with connections.writing() as connection:
            insert(connection, "lost")
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_raise()
    with connections.writing() as connection:
        insert(connection, "kept")
    assert secrets(connections) == ["kept"]


def test_a_reader_cannot_write(connections: Connections) -> None:
    with pytest.raises(CatalogUnavailableError, match="readonly"), connections.reading() as connection:
        insert(connection, "lost")


def test_a_transaction_is_seen_whole_when_it_has_ended_and_not_before(connections: Connections) -> None:
    with connections.writing() as connection:
        insert(connection, "a")
        insert(connection, "b")
        assert secrets(connections) == []
    assert secrets(connections) == ["a", "b"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_writers_take_turns(connections: Connections, path: Path, elsewhere: bool) -> None:
    other = Connections(path) if elsewhere else connections
    entered = Event()

    def write() -> None:
        with other.writing() as connection:
            entered.set()
            insert(connection, "second")

    writer = Thread(target=write)
    with connections.writing() as connection:
        writer.start()
        assert not entered.wait(GLANCE_SECONDS)
        insert(connection, "first")
    writer.join()
    assert secrets(connections) == ["first", "second"]
    other.close()


def test_a_foreign_programs_transaction_is_waited_for(connections: Connections, path: Path) -> None:
    foreign = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    foreign.execute("BEGIN IMMEDIATE")

    def write() -> None:
        with connections.writing() as connection:
            insert(connection, "waited")

    writer = Thread(target=write)
    writer.start()
    writer.join(GLANCE_SECONDS)
    assert writer.is_alive()
    foreign.execute("COMMIT")
    writer.join()
    assert secrets(connections) == ["waited"]
    foreign.close()


def test_closing_waits_for_the_transaction_under_way(connections: Connections, path: Path) -> None:
    closer = Thread(target=connections.close)
    with connections.writing() as connection:
        closer.start()
        closer.join(GLANCE_SECONDS)
        assert closer.is_alive()
        insert(connection, "kept")
    closer.join()
    again = Connections(path)
    assert secrets(again) == ["kept"]
    again.close()


def test_closed_connections_are_refused(connections: Connections) -> None:
    connections.close()
    for lend in (connections.reading, connections.streaming, connections.writing):
        with pytest.raises(CatalogUnavailableError, match="closed"), lend():
            pass
