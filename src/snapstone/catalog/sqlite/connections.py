"""Connections to one SQLite file: one writer whose turn goes round, a bounded pool of readers, and streams.

What a caller may rely on when a transaction's block has ended: it is on the disk. SQLite syncs its log at every commit
(`synchronous = FULL`), and its new log's name too; a COMMIT whose sync fails raises, is rolled back, and nobody is
answered on its strength. A later commit does not rest on what that sync lost: SQLite writes the failed frames again,
from their first byte, and syncs those. So it is with a checkpoint: until the file has been synced the log is not given
up, and after a failed sync the same pages are copied again. The file's own name is synced when it is made.

Each transaction whose loss would matter has a number, one more than the last: in `catalog_state`, or for pending writes
in the row of their snapshot, which is written anyway. After the commit, and before the caller is answered, the number
goes into the file `-changes` (`changes.py`). If at a start that file is ahead of the catalog, the catalog has lost
transactions, and is refused. A process that dies between the two leaves the file behind; it is brought up to date by
whichever process opens the catalog next.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from snapstone.catalog.contract.errors import CatalogUnavailableError
from snapstone.catalog.sqlite.changes import ChangeCounter
from snapstone.catalog.sqlite.checksums import (
    CATALOG_ROW,
    is_number_intact,
    keep_checksums,
    number_checksum,
    register_functions,
)
from snapstone.catalog.sqlite.opening import (
    ACCEPT_OPTION,
    CatalogMissingError,
    OlderCatalogError,
    UnusableCatalogError,
    failure_of,
    is_absent,
    known_migrations,
    migrate,
    refusal_of,
    version_in,
)
from snapstone.core.errors import DamageError
from snapstone.system.files import sync_folder
from snapstone.system.locks import Turn
from snapstone.system.sqlite import BUSY_TIMEOUT_SECONDS, Readers, connect

log = logging.getLogger(__name__)

WRITER_CACHE_SIZE_KIB: Final = 16_384

WAL_SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the write-ahead log that are kept on disk once it has been copied into the file."""

REPORTED_LIMIT: Final = 1_024
"""Damaged places that are reported once; beyond that, all are reported again."""

FILED_INTERVAL: Final = 1_024
"""Transactions between two looks at what the catalog's file holds by itself: a fraction of a millisecond each."""

FILE_ENDINGS: Final = ("", "-wal", "-shm", "-lock", "-changes")
"""Of the files that a running catalog has open."""

DamageReport = Callable[[DamageError], None]


class Connections:
    """Opens the file, migrated if needed, and lends connections to it."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        accept_older: bool = False,
    ) -> None:
        """Raises CatalogError, one sentence, and StoreFullError.

        `create` allows to make a catalog if there is none; `accept_older` accepts that one has lost transactions.
        """
        self._path = path
        self._closed = False
        self._told_of_damage: DamageReport | None = None
        self._damage: dict[str, DamageError] = {}
        self._sequence = 0
        self._damage_met: DamageError | None = None
        self._readers = Readers(self._open_reader)
        if not create and is_absent(path):
            raise CatalogMissingError(path)
        with ExitStack() as opened:
            try:
                self._open_catalog(opened, create, accept_older)
            except (sqlite3.Error, OSError) as error:
                raise refusal_of(error, path) from error
            self._opened = opened.pop_all()

    def _open_catalog(self, opened: ExitStack, create: bool, accept_older: bool) -> None:
        self.changes = ChangeCounter(self._beside("-changes"))
        opened.callback(self.changes.close)
        self._turn = Turn(self._beside("-lock"))
        opened.callback(self._turn.close)
        migrations = known_migrations()
        with self._turn:
            if create:
                self._create_file(accept_older)
            self._require_file_of_log()
            self._writer = opened.enter_context(closing(self._open_writer()))
            version = version_in(self._writer, self._path, migrations)
            if version == 0 and not create:
                raise CatalogMissingError(self._path)
            self._require_newest(accept_older)
        if version < len(migrations):
            with self._turn, self._changing(), self._transaction() as connection:
                migrate(connection, migrations)
        keep_checksums(self._writer, self._meet_damage)
        self._identities = self._present_files()

    # -- transactions --

    @contextmanager
    def writing(self, *, skip_damaged: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed durably where the block ends well, rolled back where it raises.

        Raises DamageError if a statement would have changed a damaged row; with `skip_damaged`, which is for sweeps
        over many rows, such a row is left as it is, and reported.
        """
        with (
            self._open_turn(),
            self._in_terms_of_the_contract(),
            self._changing(),
            self._transaction(skip_damaged) as connection,
        ):
            yield connection

    @contextmanager
    def writing_quietly(self, *, skip_damaged: bool = False) -> Iterator[sqlite3.Connection]:
        """As `writing`, for a transaction that changes nothing which a Memory holds."""
        with self._open_turn(), self._in_terms_of_the_contract(), self._transaction(skip_damaged) as connection:
            yield connection

    @contextmanager
    def recording(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """As `writing_quietly`, with the transaction's number, which the block stores: in the rows of snapshots."""
        with self._open_turn(), self._in_terms_of_the_contract():
            sequence = max(self.changes.sequence or self._read_sequence(), self._sequence) + 1
            with self._transaction(sequence=sequence) as connection:
                yield connection, sequence

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction that changes rows which any process may have cached."""
        self.changes.begin()
        try:
            yield
        finally:
            self.changes.end()

    @contextmanager
    def _in_terms_of_the_contract(self) -> Iterator[None]:
        """An error of SQLite in the block is raised as what it means to callers of the catalog; damage is reported."""
        try:
            yield
        except (sqlite3.Error, DamageError) as error:
            self._fail(error)

    @contextmanager
    def _transaction(self, skip_damaged: bool = False, sequence: int | None = None) -> Iterator[sqlite3.Connection]:
        writer, self._damage_met = self._writer, None
        try:
            writer.execute("BEGIN IMMEDIATE")
            change_count = writer.total_changes
            yield writer
            if self._damage_met is not None and not skip_damaged:
                raise self._damage_met
            if writer.total_changes == change_count:
                sequence = None
            elif sequence is None:
                sequence = self._number()
            writer.execute("COMMIT")
        finally:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        if sequence is not None:
            self._sequence = sequence
            self.changes.commit(sequence)
            if sequence % FILED_INTERVAL == 0:
                self._note_filed()

    def _number(self) -> int:
        """Give the open transaction its number, in `catalog_state`."""
        sequence = max(self.changes.sequence or 0, self._sequence, self._stated_sequence()) + 1
        self._writer.execute(
            "INSERT OR REPLACE INTO catalog_state (state_key, sequence, checksum) VALUES (1, ?, ?)",
            (sequence, number_checksum(sequence)),
        )
        return sequence

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A reader for one statement, whose rows must all be fetched. Never borrowed while holding another."""
        try:
            self._require_open()
            with self._readers.reading() as reader:
                yield reader
        except (sqlite3.Error, DamageError) as error:
            self._fail(error)

    @contextmanager
    def streaming(self) -> Iterator[sqlite3.Connection]:
        """A reader of the caller's own, for a long iteration: it takes no place in the pool and delays no writer.

        All of its statements see the catalog as of the first one, whatever is committed meanwhile.
        """
        self._require_open()
        with self._in_terms_of_the_contract(), closing(self._open_reader()) as reader:
            reader.execute("BEGIN")
            yield reader

    # -- the file --

    def forget_history(self) -> bool:
        """Give up what the write-ahead log still holds of rows that were removed; False while a reader needs it.

        The file itself keeps nothing: the writer overwrites what it deletes. Waits for nobody.
        """
        with self._open_turn(), self._in_terms_of_the_contract():
            self._writer.execute("PRAGMA busy_timeout = 0")
            try:
                [(busy, _, _)] = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
        return not busy

    def is_in_place(self) -> bool:
        """Whether the opened files are still in place; cheap enough to be called often.

        If not, commits go into files that nobody will find again.
        """
        return self._present_files() == self._identities

    def report_damage(self, damage: DamageError) -> None:
        """Report each damaged place once, to the log and to the observer."""
        if damage.address in self._damage:
            return
        if len(self._damage) >= REPORTED_LIMIT:
            self._damage.clear()
        self._damage[damage.address] = damage
        fields = {"file": str(self._path), "where": damage.address, "what": damage.what}
        log.error("damage in the catalog", extra={"fields": fields})
        if self._told_of_damage is not None:
            self._told_of_damage(damage)

    def watch_damage(self, report: DamageReport) -> None:
        """Have `report` called for each place that was found damaged, and will be."""
        self._told_of_damage = report
        for damage in list(self._damage.values()):
            report(damage)

    def close(self) -> None:
        """Close all that is open, after waiting for the transaction and the reads under way."""
        if self._closed:
            return
        with self._turn:
            self._closed = True
            self._readers.close()
            self._writer.close()
        self._opened.close()

    def _meet_damage(self, damage: DamageError) -> None:
        """A statement of the open transaction has skipped a damaged row."""
        self._damage_met = damage
        self.report_damage(damage)

    def _fail(self, error: sqlite3.Error | DamageError) -> NoReturn:
        """Translate SQLite's errors into those of the contract, and report damage."""
        meaning = failure_of(error, self._path) if isinstance(error, sqlite3.Error) else error
        if isinstance(meaning, DamageError):
            self.report_damage(meaning)
        if meaning is error:
            raise error
        raise meaning from error

    def _require_newest(self, accept_older: bool) -> None:
        """Raise OlderCatalogError if acknowledged transactions are missing; else bring the file up to date."""
        held, recorded = self._read_sequence(), self.changes.sequence
        if recorded is not None and held < recorded:
            if not accept_older:
                raise OlderCatalogError(self._path, held, recorded)
            log.error(
                "the catalog has lost transactions; started anyway, as requested",
                extra={"fields": {"file": str(self._path), "held": held, "recorded": recorded}},
            )
        if held:
            self.changes.commit(held)
            self._note_filed()

    def _read_sequence(self) -> int:
        """The number of the last transaction that the catalog holds; 0 for one from before there were numbers."""
        if not self._writer.execute("SELECT 1 FROM sqlite_master WHERE name = 'catalog_state'").fetchall():
            return 0
        [(recorded,)] = self._writer.execute(
            "SELECT coalesce(max(sequence), 0) FROM snapshot"
            " WHERE state = 'pending' OR state = 'sealing' OR state = 'deleting'"
        ).fetchall()
        return max(int(recorded), self._stated_sequence())

    def _require_file_of_log(self) -> None:
        """Raise UnusableCatalogError where the log continues a newer file than the one that is there.

        SQLite would apply it all the same, and what came out would be neither the one nor the other. Only under the
        turn, so that nobody checkpoints meanwhile."""
        log_file = self._beside("-wal")
        if is_absent(log_file):
            return
        held, filed = self._filed_sequence(), self.changes.filed
        if held is not None and filed is not None and held < filed:
            raise UnusableCatalogError(
                self._path,
                f"it is an older copy that ends at transaction {held}, but {log_file.name} continues one with {filed}",
                f"restore the right {self._path.name}; or remove {log_file.name} and start once with {ACCEPT_OPTION}, "
                "losing what came later",
            )

    def _filed_sequence(self) -> int | None:
        """The number in `catalog_state` in the catalog's file alone, without the log; 0 in one from before there were
        numbers. None if nothing can be read: a power cut or a failing disk has cut off the copying of the log into
        the file, which is whole together with the log.
        """
        try:
            with closing(connect(self._path, "alone")) as connection:
                rows = connection.execute("SELECT sequence, checksum FROM catalog_state").fetchall()
        except sqlite3.Error as error:
            return 0 if "no such table" in str(error) else None
        return next((int(sequence) for sequence, checksum in rows if is_number_intact(sequence, checksum)), None)

    def _note_filed(self) -> None:
        """Note what the file holds by itself and will hold after a power cut too; only under the turn.

        What can be read there may not have been synced yet, or its sync may have failed. A checkpoint that has copied
        the whole log has synced all of it.
        """
        with suppress(sqlite3.Error):
            [(busy, logged, copied)] = self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            filed = self._filed_sequence()
            if not busy and logged == copied and filed is not None:
                self.changes.note_filed(filed)

    def _stated_sequence(self) -> int:
        """The number in `catalog_state`; if that is damaged, the changes file's: the next transaction corrects it."""
        rows: list[tuple[int, int]] = self._writer.execute("SELECT sequence, checksum FROM catalog_state").fetchall()
        for sequence, checksum in rows:
            if is_number_intact(sequence, checksum):
                return int(sequence)
        self.report_damage(DamageError(f"{CATALOG_ROW}catalog_state", "its checksum does not match"))
        return self.changes.sequence or 0

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(f"{self._path.name}{ending}")

    def _present_files(self) -> list[tuple[int, int] | None]:
        """Device and inode of each of the catalog's files, None if there is none."""
        found: list[tuple[int, int] | None] = []
        for ending in FILE_ENDINGS:
            try:
                status = os.stat(f"{self._path}{ending}")
            except OSError:
                found.append(None)
            else:
                found.append((status.st_dev, status.st_ino))
        return found

    @property
    def turn(self) -> int | None:
        """The number of the turn that this process has now, None if it has none: one that stays is one that hangs."""
        return self._turn.number

    @property
    def awaits_turn(self) -> bool:
        """Whether this process waits for its turn: another one has it."""
        return self._turn.is_awaited

    def _open_turn(self) -> Turn:
        """The turn of this process to write. Only a transaction runs under it, and its holder's death ends it."""
        self._require_open()
        return self._turn

    def _require_open(self) -> None:
        if self._closed:
            raise CatalogUnavailableError(f"the catalog {self._path} is closed")

    def _create_file(self, accept_older: bool) -> None:
        """Make an empty file that only its owner may read, if there is none; SQLite gives its log the same mode.

        Raises OlderCatalogError if there was one before.
        """
        if not is_absent(self._path):
            return
        if self.changes.sequence is not None and not accept_older:
            raise OlderCatalogError(self._path, 0, self.changes.sequence)
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_folder(self._path.parent)

    def _open_writer(self) -> sqlite3.Connection:
        writer = connect(self._path)
        [(mode,)] = writer.execute("PRAGMA journal_mode = WAL").fetchall()
        if mode != "wal":
            writer.close()
            raise sqlite3.OperationalError(f"no write-ahead log is possible here, SQLite offers {mode!r}")
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute("PRAGMA foreign_keys = ON")
        writer.execute("PRAGMA secure_delete = ON")
        writer.execute("PRAGMA temp_store = MEMORY")
        writer.execute(f"PRAGMA cache_size = -{WRITER_CACHE_SIZE_KIB}")
        writer.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT}")
        register_functions(writer)
        writer.execute("BEGIN IMMEDIATE")  # fails now, and not at the first change, if one of the files is read-only
        writer.execute("ROLLBACK")
        return writer

    def _open_reader(self) -> sqlite3.Connection:
        reader = connect(self._path)
        reader.execute("PRAGMA query_only = ON")
        return reader


class Statements:
    """Base of each subject's statements: the connections to the one file."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
