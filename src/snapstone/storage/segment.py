"""One segment: a preallocated, append-only file of records, written with direct I/O where the file system has it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import Final

from snapstone.storage.record import (
    ALIGNMENT,
    HEADER_SIZE,
    BadRecordError,
    RecordHeader,
    check_payload,
    place_key,
    read_header,
)

SEGMENT_SIZE: Final = 1 << 30
"""Bytes that a segment is preallocated to."""

MAX_PAYLOAD_SIZE: Final = 1 << 24
"""A header that claims more than this is not believed."""

HEADER_COPY_SIZE: Final = ALIGNMENT
HEADER_COPY_OFFSETS: Final = (0, HEADER_COPY_SIZE)
"""The header stands twice: without its salt no record of the segment is believed."""

SEGMENT_HEADER_SIZE: Final = HEADER_COPY_SIZE * len(HEADER_COPY_OFFSETS)
"""Both copies; records follow."""

SEGMENT_MAGIC: Final = b"SNAPSSEG"
SEGMENT_VERSION: Final = 1
SALT_SIZE: Final = 16
UNFINISHED_SUFFIX: Final = ".new"

_FIELDS: Final = Struct("<8sHxxxxxxQ16s")
"""Magic, format version, segment id, salt; zero from there to the checksum in the last 16 bytes."""

_CHECKSUM_SIZE: Final = 16
_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Segment:
    """An open segment file. `append` places are handed out by the store; a segment knows only bytes and offsets."""

    def __init__(self, path: Path, segment_id: int, salt: bytes, header_damage: str | None = None) -> None:
        self.path = path
        self.segment_id = segment_id
        self.salt = salt
        self.header_damage = header_damage
        """What was wrong with one of the header's copies when the segment was opened; None where both were whole."""
        self._read_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._write_fd = _open_direct(path)

    @classmethod
    def create(cls, path: Path, segment_id: int, salt: bytes) -> Segment:
        """Make a new segment, durable in its folder. Raises FileExistsError where the path is taken."""
        unfinished = path.with_name(f"{path.name}.{salt.hex()}{UNFINISHED_SUFFIX}")
        linked = False
        while not linked:
            _write_durably(unfinished, _segment_header(segment_id, salt) * len(HEADER_COPY_OFFSETS))
            try:
                os.link(unfinished, path)
                linked = True
            except FileNotFoundError:
                continue  # another process opened the store just now and cleared this away
            finally:
                unfinished.unlink(missing_ok=True)
        sync_folder(path.parent)
        return cls(path, segment_id, salt)

    @classmethod
    def open(cls, path: Path) -> Segment:
        """Open an existing segment. Raises BadRecordError where neither copy of its header is whole and this segment's.

        Where only one is, `header_damage` says so.
        """
        segment_id = int(path.stem)
        salt, header_damage = _parse_header_copies(_read_header_copies(path), segment_id)
        return cls(path, segment_id, salt, header_damage)

    def __del__(self) -> None:
        # The store drops its reference while a reader may still hold one: the last one closes the files.
        for name in ("_read_fd", "_write_fd"):
            fd = self.__dict__.pop(name, None)
            if fd is not None:
                os.close(fd)

    def try_own(self) -> bool:
        """Lock the segment for this process to append to, until it ends or disowns it; False where another has it."""
        try:
            fcntl.flock(self._read_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def disown(self) -> None:
        """Let another process append to it."""
        fcntl.flock(self._read_fd, fcntl.LOCK_UN)

    def mend_header(self) -> None:
        """Write a damaged copy of the header anew from the whole one, durably; for the owner. Where the disk refuses
        that write, the whole one goes on serving alone.

        Raises OSError where the sync fails: that may be about records, and the kernel tells it only once.
        """
        whole = memoryview(mmap(-1, HEADER_COPY_SIZE))
        whole[:] = _segment_header(self.segment_id, self.salt)
        for copy, offset in zip(_read_header_copies(self.path), HEADER_COPY_OFFSETS, strict=True):
            if copy != whole:
                with suppress(OSError):
                    self.write(offset, whole)
        self.sync()

    def preallocate(self, start: int, size: int) -> None:
        """Reserve space from `start` up to `size` bytes; holes before it stay holes.

        Raises OSError (ENOSPC) where the disk has not got it.
        """
        if start < size and _libc.fallocate(self._write_fd, 0, start, size - start) != 0:
            code = ctypes.get_errno()
            if code != errno.EOPNOTSUPP:
                raise OSError(code, f"{os.strerror(code)}: cannot reserve {size - start} bytes", str(self.path))
            os.ftruncate(self._write_fd, max(size, os.fstat(self._write_fd).st_size))

    def truncate(self, size: int) -> None:
        """Give back what lies beyond `size` bytes."""
        os.ftruncate(self._write_fd, size)

    def key(self, offset: int) -> bytes:
        """The key of the checksum of a header at an offset."""
        return place_key(self.salt, offset)

    def write(self, offset: int, record: memoryview) -> None:
        """Write an aligned record; not durable before `sync`."""
        written = os.pwrite(self._write_fd, record, offset)
        if written != len(record):
            raise OSError(errno.EIO, f"wrote {written} of {len(record)} bytes at {offset}", str(self.path))

    def sync(self) -> None:
        """Make all that was written before durable."""
        os.fdatasync(self._write_fd)

    def read(self, offset: int, record: memoryview) -> RecordHeader:
        """Read a record into a buffer of its unpadded size and check it. Raises BadRecordError."""
        return self._read(self._read_fd, offset, record)

    def read_aligned(self, offset: int, record: memoryview) -> RecordHeader:
        """As `read`, past the page cache: for an aligned buffer and a record of aligned size. A block is read once in a
        restore, and what is copied through the page cache costs more than it saves."""
        return self._read(self._write_fd, offset, record)

    def _read(self, fd: int, offset: int, record: memoryview) -> RecordHeader:
        if os.preadv(fd, [record], offset) != len(record):
            raise BadRecordError("the record ends before its payload")
        header = read_header(record[:HEADER_SIZE], self.key(offset))
        if header.payload_size != len(record) - HEADER_SIZE:
            raise BadRecordError(f"the payload has {header.payload_size} bytes, not {len(record) - HEADER_SIZE}")
        check_payload(header, record[HEADER_SIZE:])
        return header

    def punch(self, offset: int, size: int) -> None:
        """Give the space of a stretch back to the file system; it reads as zeros from then on."""
        mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
        if _libc.fallocate(self._write_fd, mode, offset, size) != 0:
            code = ctypes.get_errno()
            if code != errno.EOPNOTSUPP:
                raise OSError(code, os.strerror(code), str(self.path))

    def scan(self, start: int) -> Iterator[tuple[int, RecordHeader]]:
        """The whole records from an offset on, with their offsets; gaps, holes and torn records are passed over."""
        offset = max(start, SEGMENT_HEADER_SIZE)
        while (data := self._next_data(offset)) is not None:
            offset = max(offset, data // ALIGNMENT * ALIGNMENT)
            header = self._try_record(offset)
            if header is None:
                offset += ALIGNMENT
            else:
                yield offset, header
                offset += header.record_size

    def end_of_data(self) -> int:
        """The offset after the last byte that was ever written, as far as the file system can tell."""
        end, offset = SEGMENT_HEADER_SIZE, SEGMENT_HEADER_SIZE
        while (data := self._next_data(offset)) is not None:
            offset = os.lseek(self._read_fd, data, os.SEEK_HOLE)
            end = -(-offset // ALIGNMENT) * ALIGNMENT
        return end

    def _next_data(self, offset: int) -> int | None:
        try:
            return os.lseek(self._read_fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def _try_record(self, offset: int) -> RecordHeader | None:
        header_bytes = os.pread(self._read_fd, HEADER_SIZE, offset)
        with suppress(BadRecordError):  # what is no whole record is what a crash leaves behind
            if len(header_bytes) == HEADER_SIZE:
                header = read_header(memoryview(header_bytes), self.key(offset))
                if header.payload_size <= MAX_PAYLOAD_SIZE:
                    payload = os.pread(self._read_fd, header.payload_size, offset + HEADER_SIZE)
                    check_payload(header, memoryview(payload))
                    return header
        return None


def _open_direct(path: Path) -> int:
    """A descriptor for writing past the page cache, or an ordinary one where the file system refuses that."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _write_durably(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, content, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def _segment_header(segment_id: int, salt: bytes) -> bytes:
    fields = _FIELDS.pack(SEGMENT_MAGIC, SEGMENT_VERSION, segment_id, salt)
    body = fields.ljust(HEADER_COPY_SIZE - _CHECKSUM_SIZE, b"\0")
    return body + blake2b(body, digest_size=_CHECKSUM_SIZE).digest()


def _read_header_copies(path: Path) -> list[bytes]:
    """Both copies as they are; what the disk cannot read is empty."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [_read_header_copy(fd, offset) for offset in HEADER_COPY_OFFSETS]
    finally:
        os.close(fd)


def _read_header_copy(fd: int, offset: int) -> bytes:
    try:
        return os.pread(fd, HEADER_COPY_SIZE, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def _parse_header_copies(copies: list[bytes], segment_id: int) -> tuple[bytes, str | None]:
    """The salt, and what is wrong with one of the copies. Raises BadRecordError where neither is to be believed."""
    salts, damages = [], []
    for copy, offset in zip(copies, HEADER_COPY_OFFSETS, strict=True):
        try:
            salts.append(_parse_segment_header(copy, segment_id))
        except BadRecordError as error:
            damages.append((error, offset))
    if not salts:
        raise damages[0][0]
    if len(set(salts)) > 1:
        raise BadRecordError("the two copies of the segment's header contradict each other")
    return salts[0], next((f"{error}: the copy at {offset}; the other is whole" for error, offset in damages), None)


def _parse_segment_header(header: bytes, expected_id: int) -> bytes:
    """The salt in one copy of a segment's header."""
    body, checksum = header[:-_CHECKSUM_SIZE], header[-_CHECKSUM_SIZE:]
    if len(header) != HEADER_COPY_SIZE or blake2b(body, digest_size=_CHECKSUM_SIZE).digest() != checksum:
        raise BadRecordError("the segment's header is damaged")
    magic, version, segment_id, salt = _FIELDS.unpack_from(body)
    if magic != SEGMENT_MAGIC or version != SEGMENT_VERSION:
        raise BadRecordError(f"not a segment of a known version: {magic!r}, version {version}")
    if segment_id != expected_id:
        raise BadRecordError(f"the file holds segment {segment_id}")
    return bytes(salt)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
