"""The table of digests: a sparse file with 32 bytes for each block index, a journal at first and an index later.

Digests follow a header, each at a place given by its block index; zeros mean that there is none. Entries are written
into the page cache one by one, where they survive the death of this process; `sync` makes them survive a loss of power.
A sync that has failed is final for the open table: all later ones fail, those of the header too. The header has its
facts in two slots: a change goes to the slot that is not in force, and is in force once that is whole, with the higher
sequence. Every cost follows the entries that are present, if the file system can say where data is (`SEEK_DATA`).
docs/format.md has the bytes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from snapstone.client.errors import ClientError, UsageError
from snapstone.client.transfer.folders import state_failure
from snapstone.core.blocks import DIGEST_SIZE, MAX_BLOCK_COUNT, Digest
from snapstone.system.files import Syncer, sync_folder
from snapstone.system.locks import try_lock

Facts = Mapping[str, object]
"""JSON values by name."""

MAGIC: Final = b"SNAPSDIG"
VERSION: Final = 1

SLOT_SIZE: Final = 65_536
"""Bytes of each of the two slots. They are holes behind the facts, and space for the longest path of a source."""

ENTRIES_OFFSET: Final = 2 * SLOT_SIZE
"""Where the digests begin."""

_HEAD: Final = struct.Struct("<8sHxxIQQI")
"""Magic, version, size of the facts, block count, sequence, CRC-32."""

_CRC_SIZE: Final = 4

_FACTS_OFFSET: Final = 64

MAX_FACTS_SIZE: Final = SLOT_SIZE - _FACTS_OFFSET
"""Bytes of facts, as JSON."""


class DigestTableError(ClientError):
    """A digest table that cannot be used: the text has its path and what is wrong with it."""


@dataclass(frozen=True)
class Header:
    """The content of one slot."""

    block_count: int
    sequence: int
    facts: Facts

    @property
    def offset(self) -> int:
        """Of the slot in the file."""
        return self.sequence % 2 * SLOT_SIZE

    def encode(self, path: Path) -> bytes:
        """The bytes of the slot, up to the end of the facts. Raises DigestTableError if these are too long."""
        text = json.dumps(dict(self.facts), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
        if len(text) > MAX_FACTS_SIZE:
            raise DigestTableError(f"{path}: the facts take {len(text)} bytes, more than {MAX_FACTS_SIZE}")
        head = _HEAD.pack(MAGIC, VERSION, len(text), self.block_count, self.sequence, 0)[:-_CRC_SIZE]
        crc = _crc(head, text).to_bytes(_CRC_SIZE, "little")
        return (head + crc).ljust(_FACTS_OFFSET, b"\0") + text


def read_header(path: Path, descriptor: int) -> Header:
    """The header that is in force. Raises DigestTableError if the file is not a digest table, or not a whole one."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise DigestTableError(f"{path} is not a digest table: it is not a regular file")
    if found.st_size < ENTRIES_OFFSET:
        raise DigestTableError(f"{path} is not a digest table: {found.st_size} bytes are fewer than a header has")
    slots = [os.pread(descriptor, SLOT_SIZE, number * SLOT_SIZE) for number in range(2)]
    whole = [header for header in map(parse_slot, slots) if header is not None]
    if not whole:
        raise DigestTableError(f"{path} cannot be used: {_why_not(slots)}")
    header = max(whole, key=lambda one: one.sequence)
    if found.st_size != (size := ENTRIES_OFFSET + header.block_count * DIGEST_SIZE):
        raise DigestTableError(
            f"{path} cannot be used: it has {found.st_size} bytes, but {size} according to its header"
        )
    return header


def parse_slot(slot: bytes) -> Header | None:
    """The content of a slot, or None if it is damaged or of another version."""
    magic, version, size, block_count, sequence, crc = _HEAD.unpack_from(slot)
    text = slot[_FACTS_OFFSET : _FACTS_OFFSET + size]
    if (magic, version) != (MAGIC, VERSION) or len(text) != size or crc != _crc(slot[: _HEAD.size - _CRC_SIZE], text):
        return None
    return Header(block_count, sequence, MappingProxyType(json.loads(text)))


def _crc(head: bytes, text: bytes) -> int:
    """Of everything that comes before it, and of the facts."""
    return zlib.crc32(text, zlib.crc32(head))


def _why_not(slots: list[bytes]) -> str:
    heads = [_HEAD.unpack_from(slot) for slot in slots]
    versions = [version for magic, version, *_ in heads if magic == MAGIC]
    if not versions:
        return "it is not a digest table"
    if VERSION not in versions:
        return f"its format has version {max(versions)}, but this Snapstone reads version {VERSION}"
    return "its header is damaged (the CRC-32 differs)"


CHUNK_SIZE: Final = 1_048_576
"""Bytes of entries that are held in memory at a time: 32,768 digests."""

_ABSENT: Final = bytes(DIGEST_SIZE)
_NOT_ZERO: Final = re.compile(rb"[^\0]")


class _OpenFile:
    """A descriptor that is closed when it is no longer in use.

    Who reads or writes holds a reference meanwhile, so a thread that comes late never writes into another file that got
    the same number; and no lock is needed, behind which threads would queue while one of them waits for the disk.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class DigestTable:
    """One open table. Entries may be written and read from any thread."""

    def __init__(self, path: Path, file: _OpenFile, header: Header) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.block_count = header.block_count
        self._file: _OpenFile | None = file
        self._header = header
        self._syncer = Syncer()
        self._lock = threading.Lock()
        """Held while the facts are replaced."""

    @classmethod
    def create(cls, path: Path, block_count: int, facts: Facts) -> Self:
        """A new table without entries, durable with its facts when this returns; replaces a file of that name."""
        if not 0 <= block_count <= MAX_BLOCK_COUNT:
            raise ValueError(f"block_count must be from 0 to {MAX_BLOCK_COUNT}, not {block_count}")
        with _failures(path):
            descriptor, temporary = tempfile.mkstemp(".new", path.name + ".", path.parent)
            file = _OpenFile(descriptor)
            table = cls(Path(temporary), file, Header(block_count, 0, {}))
            try:
                _lock_file(path, descriptor)
                os.ftruncate(descriptor, ENTRIES_OFFSET + block_count * DIGEST_SIZE)
                table.set_facts(facts)
                table.move(path)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(table.path)
                raise
        return table

    @classmethod
    def open(cls, path: Path, writable: bool = False) -> Self:
        """The table at `path`, locked against other writers if it is writable; one that is not whole is refused."""
        with _failures(path):
            # Without O_NONBLOCK a named pipe in place of the file would block forever.
            flags = os.O_NONBLOCK | os.O_CLOEXEC | (os.O_RDWR if writable else os.O_RDONLY)
            file = _OpenFile(os.open(path, flags))
            if writable:
                _lock_file(path, file.descriptor)
            return cls(path, file, read_header(path, file.descriptor))

    @property
    def facts(self) -> Facts:
        """The header's facts: JSON values."""
        return self._header.facts

    def set_facts(self, facts: Facts) -> None:
        """Replace all facts: durable when this returns, and after a crash either the old ones or these."""
        with self._lock, _failures(self.path):
            header = Header(self.block_count, self._header.sequence + 1, facts)
            slot = header.encode(self.path)
            read_again = parse_slot(slot)
            assert read_again is not None
            file = self._opened()
            _write(file.descriptor, slot, header.offset)
            self._syncer.sync(file.descriptor)
            self._header = read_again

    def write_again(self) -> None:
        """Rewrite what an earlier run left, and make it durable, with its name.

        Who finds a table that another process wrote cannot know whether a sync failed there: what it reads may be in
        memory alone. Entries that were taken out are written too, for the disk may still have them.
        """
        with _failures(self.path):
            file = self._opened()
            for first, chunk in self._chunks(0):
                _write(file.descriptor, chunk, ENTRIES_OFFSET + first * DIGEST_SIZE)
            self.set_facts(self.facts)
            sync_folder(self.path.parent)

    def move(self, path: Path) -> None:
        """Rename the file, over one that is there, durably; this table stays open."""
        with _failures(path):
            os.rename(self.path, path)
            self.path = path
            sync_folder(path.parent)

    def get(self, block_index: int) -> Digest | None:
        """The digest at a block index, or None if there is none."""
        offset, file = self._offset(block_index), self._opened()
        try:
            entry = os.pread(file.descriptor, DIGEST_SIZE, offset)
        except OSError as error:
            raise state_failure(self.path, error) from error
        if len(entry) < DIGEST_SIZE:
            raise DigestTableError(f"{self.path}: the file was truncated while it was in use")
        return None if entry == _ABSENT else Digest(entry)

    def record(self, block_index: int, digest: Digest) -> None:
        """Enter a digest. It survives the death of this process from now on, and a loss of power after `sync`."""
        if len(digest) != DIGEST_SIZE or digest == _ABSENT:
            raise ValueError(f"{digest.hex()} is not a digest")
        self._write_entry(block_index, digest)

    def forget(self, block_index: int) -> None:
        """Take a digest out."""
        self._write_entry(block_index, _ABSENT)

    def items(self, start: int = 0) -> Iterator[tuple[int, Digest]]:
        """Block indexes from `start` on and their digests, ascending.

        A digest that another thread is recording at this moment may be read in part.
        """
        for first, joined in self.runs(start):
            for rank in range(len(joined) // DIGEST_SIZE):
                yield first + rank, Digest(joined[rank * DIGEST_SIZE : (rank + 1) * DIGEST_SIZE])

    def runs(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Block indexes from `start` on, each with the joined digests of some that follow without a gap; ascending."""
        for first, chunk in self._chunks(start):
            for begin, end in _present(chunk):
                yield first + begin // DIGEST_SIZE, chunk[begin:end]

    def count(self) -> int:
        """How many digests there are; scans all of them."""
        return sum(len(joined) for _, joined in self.runs()) // DIGEST_SIZE

    def aggregate(self) -> Digest:
        """SHA-256 of all digests, joined in ascending order of block index; scans all of them."""
        return self.summary()[1]

    def summary(self) -> tuple[int, Digest]:
        """Count and aggregate, in one pass."""
        count, aggregate = 0, sha256()
        for _, joined in self.runs():
            count += len(joined) // DIGEST_SIZE
            aggregate.update(joined)
        return count, Digest(aggregate.digest())

    def overlay(self, other: DigestTable) -> None:
        """Enter all digests of another table, over those that are here."""
        if other.block_count > self.block_count:
            raise ValueError(f"{other.block_count} entries do not fit into {self.block_count}")
        file = self._opened()
        with _failures(self.path):
            for first, joined in other.runs():
                _write(file.descriptor, joined, self._offset(first))

    def sync(self) -> None:
        """Make everything recorded so far survive a loss of power. Others may record meanwhile."""
        file = self._opened()
        with _failures(self.path):
            self._syncer.sync(file.descriptor, os.fdatasync)

    def close(self) -> None:
        """Close it when it is no longer in use; a second call does nothing. What was recorded stays recorded."""
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write_entry(self, block_index: int, entry: bytes) -> None:
        offset, file = self._offset(block_index), self._opened()
        try:
            _write(file.descriptor, entry, offset)
        except OSError as error:
            raise state_failure(self.path, error) from error

    def _offset(self, block_index: int) -> int:
        if not 0 <= block_index < self.block_count:
            raise ValueError(f"block index {block_index} is outside a table of {self.block_count}")
        return ENTRIES_OFFSET + block_index * DIGEST_SIZE

    def _chunks(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Stretches of entries, absent ones among them, that the file system has data for; ascending."""
        offset = ENTRIES_OFFSET + start * DIGEST_SIZE
        file = self._opened()
        while (extent := self._extent(file.descriptor, offset)) is not None:
            offset, end = extent
            while offset < end:
                chunk = self._read(file.descriptor, min(CHUNK_SIZE, end - offset), offset)
                yield (offset - ENTRIES_OFFSET) // DIGEST_SIZE, chunk
                offset += len(chunk)

    def _extent(self, descriptor: int, offset: int) -> tuple[int, int] | None:
        """Begin and end of the next data at or behind `offset`, in whole entries."""
        table_end = ENTRIES_OFFSET + self.block_count * DIGEST_SIZE
        if offset >= table_end:
            return None
        try:
            begin = os.lseek(descriptor, offset, os.SEEK_DATA)
            end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise state_failure(self.path, error) from error
        return begin - begin % DIGEST_SIZE, min(table_end, end + -end % DIGEST_SIZE)

    def _read(self, descriptor: int, size: int, offset: int) -> bytes:
        with _failures(self.path):
            entries = os.pread(descriptor, size, offset)
        if not entries or len(entries) % DIGEST_SIZE:
            raise DigestTableError(f"{self.path}: the file was truncated while it was in use")
        return entries

    def _opened(self) -> _OpenFile:
        file = self._file
        if file is None:
            raise DigestTableError(f"{self.path}: the table is closed")
        return file


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise state_failure(path, error) from error


def _lock_file(path: Path, descriptor: int) -> None:
    if not try_lock(descriptor):
        raise UsageError(f"{path} is in use by another transfer; wait for it to end")


def _write(descriptor: int, content: bytes, offset: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def _present(chunk: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end, in bytes, of the stretches of a chunk that have a digest in every entry."""
    position = 0
    while (found := _NOT_ZERO.search(chunk, position)) is not None:
        begin = found.start() - found.start() % DIGEST_SIZE
        position = _next_absent(chunk, begin)
        yield begin, position


def _next_absent(chunk: bytes, begin: int) -> int:
    """Where the next absent entry at or behind `begin` is, or the end."""
    while (zeros := chunk.find(_ABSENT, begin)) >= 0:
        entry = zeros + -zeros % DIGEST_SIZE
        if chunk.startswith(_ABSENT, entry):
            return entry
        begin = zeros + 1
    return len(chunk)
