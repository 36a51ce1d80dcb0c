"""Journals of uploads and downloads in progress: what the next run resumes from, whatever ended this one.

A journal is a table of digests whose file name is a hash of its key: the facts that make two runs the same work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from snapstone.client.errors import ClientError, NotFoundError
from snapstone.client.events import Note, NullObserver, Observer
from snapstone.client.transfer.digests import DigestTable, DigestTableError, Facts
from snapstone.client.transfer.folders import JournalLock, holder_of, remove_leftovers, state_failure
from snapstone.system.files import sync_folder

MAX_AGE_SECONDS: Final = 7 * 86_400.0
"""Journals not written to for this long are removed. No upload resumes from them: an endpoint gives a snapshot up
after at most three days without a put."""

_TABLE: Final = ".journal"
_LOCK: Final = ".lock"
_KEY: Final = "key"
"""The fact that has the key."""


class Journal:
    """One open journal, exclusively held."""

    def __init__(self, table: DigestTable, lock: JournalLock, *, resumed: bool, replaced: Facts) -> None:
        """Use JournalStore."""
        self.table = table
        self.resumed = resumed
        """Whether an earlier run left it."""
        self.replaced = replaced
        """Facts of an earlier run's journal that was thrown away because the image has another size now; else empty."""
        self._lock = lock

    @property
    def facts(self) -> Facts:
        """All facts; `key` among them."""
        return self.table.facts

    def update(self, facts: Facts) -> None:
        """Add or replace facts: durable when this returns, and after a crash either all of them or none."""
        self.table.set_facts({**self.table.facts, **facts})

    def remove(self) -> None:
        """The work is done or abandoned: close, and remove what is on disk."""
        self.table.close()
        with _failures(self.table.path):
            self.table.path.unlink(missing_ok=True)
            sync_folder(self.table.path.parent)
            self._lock.release(remove=True)

    def finish(self, observer: Observer) -> None:
        """`remove`, if a failure is said and no more: a journal that stays, or comes back, does no harm.

        A later run sees from the endpoint and the image that the transfer is done or abandoned.
        """
        try:
            self.remove()
        except ClientError as error:
            observer.note(Note("warning", f"could not remove a finished journal: {error}"))

    def close(self) -> None:
        """Let it go, for a later run; a second time, and after `remove`, does nothing."""
        self.table.close()
        with _failures(self.table.path):
            self._lock.release(remove=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class KeptJournal:
    """A journal on disk, as it is listed."""

    path: Path
    facts: Facts
    """Empty if it cannot be read."""
    written_at: float
    """Seconds since 1970 of the last write."""
    disk_size: int
    """Bytes it takes on disk."""
    holder: str | None
    """A description of the process that has it open."""
    fault: str | None
    """Its problem, or None."""


class JournalStore:
    """The folder of journals. Processes may share it."""

    def __init__(self, folder: Path, observer: Observer | None = None, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._observer = observer or NullObserver()
        self._clock = clock

    def open_or_create(self, key: Facts, block_count: int, facts: Facts | None = None) -> Journal:
        """The journal of the work that `key` describes: an earlier run's, or a new one, which gets `facts` too.

        One that cannot be resumed is replaced, with a note: it is damaged, or its image had another size. Raises
        UsageError if it is open elsewhere.
        """
        path = self._folder / (_name(key) + _TABLE)
        with _failures(path):
            lock = JournalLock.take(path.with_suffix(_LOCK))
        try:
            journal = self._open(path, lock, _plain(key), block_count, facts or {})
        except BaseException:
            lock.release(remove=False)
            raise
        self._tidy()
        return journal

    def list(self) -> list[KeptJournal]:
        """All journals, the one written to last first."""
        kept = [journal for path in self._folder.glob(f"*{_TABLE}") if (journal := _look_at(path)) is not None]
        return sorted(kept, key=lambda journal: (-journal.written_at, journal.path))

    def remove_stale(self) -> None:
        """Remove journals older than `MAX_AGE_SECONDS`, with a note each, and what killed processes left."""
        remove_leftovers(self._folder, self._clock())
        for kept in self.list():
            if kept.holder is None and kept.written_at < self._clock() - MAX_AGE_SECONDS:
                self._remove_stale(kept)
        for lock_path in self._folder.glob(f"*{_LOCK}"):
            if not lock_path.with_suffix(_TABLE).exists():
                self._remove_orphan(lock_path)

    def _tidy(self) -> None:
        """Housekeeping: what goes wrong with it is said, and does not keep a transfer from its work."""
        try:
            self.remove_stale()
        except ClientError as error:
            self._observer.note(Note("warning", f"could not remove old journals: {error}"))

    def _open(self, path: Path, lock: JournalLock, key: Facts, block_count: int, facts: Facts) -> Journal:
        try:
            table = DigestTable.open(path, writable=True)
        except NotFoundError:
            replaced: Facts = {}
        except DigestTableError as error:
            replaced = {}
            self._start_anew(path, str(error))
        else:
            if table.facts.get(_KEY) == key and table.block_count == block_count:
                table.write_again()
                return Journal(table, lock, resumed=True, replaced={})
            table.close()
            replaced = self._replaced(table, key, block_count)
        table = DigestTable.create(path, block_count, {**facts, _KEY: key})
        return Journal(table, lock, resumed=False, replaced=replaced)

    def _replaced(self, table: DigestTable, key: Facts, block_count: int) -> Facts:
        if table.facts.get(_KEY) != key:
            self._start_anew(table.path, f"{table.path} is the journal of another transfer")
            return {}
        why = f"{table.path} is of an image of {table.block_count} blocks, not {block_count}"
        self._start_anew(table.path, why)
        return table.facts

    def _start_anew(self, path: Path, why: str) -> None:
        message = f"the journal of an earlier run cannot be used; the transfer starts over: {why}"
        self._observer.note(Note("warning", message, {"path": str(path)}))

    def _remove_stale(self, kept: KeptJournal) -> None:
        with _failures(kept.path):
            lock = JournalLock.try_take(kept.path.with_suffix(_LOCK))
            if lock is None:
                return
            kept.path.unlink(missing_ok=True)
            lock.release(remove=True)
        days = int((self._clock() - kept.written_at) // 86_400)
        message = f"removed the journal of a transfer that was not resumed for {days} days: {kept.path}"
        self._observer.note(Note("removed", message, {"path": str(kept.path), "facts": dict(kept.facts)}))

    def _remove_orphan(self, lock_path: Path) -> None:
        """A lock file without a journal: its maker was killed before there was one."""
        with _failures(lock_path):
            lock = JournalLock.try_take(lock_path)
            if lock is not None:
                lock.release(remove=not lock_path.with_suffix(_TABLE).exists())


def _name(key: Facts) -> str:
    """128 bits of the hash of the key."""
    return sha256(json.dumps(dict(key), sort_keys=True).encode("ascii")).hexdigest()[:32]


def _plain(key: Facts) -> Mapping[str, object]:
    """The key as it comes back from a file: lists for tuples, and so on."""
    plain: dict[str, object] = json.loads(json.dumps(dict(key)))
    return plain


def _look_at(path: Path) -> KeptJournal | None:
    """The facts about a journal, or None if it has just been removed."""
    facts: Facts = {}
    fault, holder = None, None
    try:
        with _failures(path):
            status = path.stat()
            holder = _holder(path.with_suffix(_LOCK))
    except NotFoundError:
        return None
    try:
        with DigestTable.open(path) as table:
            facts = table.facts
    except NotFoundError:
        return None
    except ClientError as error:
        fault = str(error)
    return KeptJournal(path, facts, status.st_mtime, status.st_blocks * 512, holder, fault)


def _holder(lock_path: Path) -> str | None:
    """The holder of a journal's lock; a lock that we may not open belongs to another user, who may hold it."""
    try:
        lock = JournalLock.try_take(lock_path) if lock_path.exists() else None
    except PermissionError:
        return holder_of(lock_path)
    if lock is None:
        return holder_of(lock_path) if lock_path.exists() else None
    lock.release(remove=False)
    return None


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise state_failure(path, error) from error
