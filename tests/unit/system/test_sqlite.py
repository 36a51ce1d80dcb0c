"""A SQLite file that many threads use: how it is opened, and the pool of readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Thread

import pytest

from snapstone.system.sqlite import READER_LIMIT, Readers, connect

GLANCE_SECONDS = 0.1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with closing(connect(path, "rwc")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE number (value INTEGER)")
    return path


@pytest.fixture
def readers(path: Path) -> Iterator[Readers]:
    readers = Readers(lambda: connect(path))
    yield readers
    readers.close()


def count(readers: Readers) -> int:
    with readers.reading() as reader:
        [(found,)] = reader.execute("SELECT count(*) FROM number").fetchall()
    return int(found)


def test_a_file_that_does_not_exist_is_made_only_if_that_is_asked_for(tmp_path: Path) -> None:
    for mode in ("rw", "alone"):
        with pytest.raises(sqlite3.OperationalError):
            connect(tmp_path / "absent.db", mode).execute("SELECT 1 FROM sqlite_master")
    assert list(tmp_path.iterdir()) == []
    connect(tmp_path / "made.db", "rwc").close()
    assert [each.name for each in tmp_path.iterdir()] == ["made.db"]


def test_a_name_with_characters_of_a_url_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#b%20.db"
    with closing(connect(path, "rwc")) as connection:
        connection.execute("CREATE TABLE number (value INTEGER)")
    assert path.exists()


def test_a_file_read_alone_is_read_without_its_log(path: Path) -> None:
    with closing(connect(path)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        writer.execute("INSERT INTO number VALUES (1)")
        with closing(connect(path, "alone")) as reader:
            assert reader.execute("SELECT count(*) FROM number").fetchall() == [(0,)]
        with closing(connect(path)) as reader:
            assert reader.execute("SELECT count(*) FROM number").fetchall() == [(1,)]


def test_a_reader_is_opened_once_and_lent_again(path: Path) -> None:
    opened: list[sqlite3.Connection] = []

    def open_reader() -> sqlite3.Connection:
        opened.append(connect(path))
        return opened[-1]

    readers = Readers(open_reader)
    assert [count(readers), count(readers)] == [0, 0]
    assert len(opened) == 1
    readers.close()


def test_a_reader_more_than_the_limit_waits_for_one_to_come_back(readers: Readers) -> None:
    read = Event()

    def wait_and_read() -> None:
        count(readers)
        read.set()

    thread = Thread(target=wait_and_read)
    with ExitStack() as borrowed:
        for _ in range(READER_LIMIT):
            borrowed.enter_context(readers.reading())
        thread.start()
        assert not read.wait(GLANCE_SECONDS)
    thread.join()
    assert read.is_set()


def test_a_reader_that_cannot_be_opened_takes_no_place_in_the_pool(tmp_path: Path) -> None:
    readers = Readers(lambda: connect(tmp_path / "absent.db"))
    for _ in range(READER_LIMIT + 1):
        with pytest.raises(sqlite3.OperationalError):
            readers.borrow()


def test_closing_waits_for_readers_that_are_lent_and_refuses_later_ones(readers: Readers) -> None:
    closer = Thread(target=readers.close)
    with readers.reading() as reader:
        closer.start()
        closer.join(GLANCE_SECONDS)
        assert closer.is_alive()
        assert reader.execute("SELECT 1").fetchall() == [(1,)]
    closer.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        readers.borrow()
