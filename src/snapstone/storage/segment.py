"""One segment: a preallocated, append-only file of records, written with direct I/O if the file system has it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from mmap import mmap
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Final

from snapstone.storage.file_system import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate, is_copy_on_write
from snapstone.storage.record import (
    ALIGNMENT,
    HEADER_SIZE,
    MAGIC,
    BadRecordError,
    RecordHeader,
    check_payload,
    place_key,
    read_header,
)
from snapstone.system.files import sync_folder, write_new
from snapstone.system.locks import try_lock, unlock

SEGMENT_SIZE: Final = 1 << 30
"""Bytes that a segment is preallocated to."""

MAX_PAYLOAD_SIZE: Final = 1 << 24
"""A header that claims more than this is not believed."""

HEADER_COPY_SIZE: Final = ALIGNMENT
HEADER_COPY_OFFSETS: Final = (0, HEADER_COPY_SIZE)
"""The header is stored twice: without its salt no record of the segment is trusted."""

SEGMENT_HEADER_SIZE: Final = HEADER_COPY_SIZE * len(HEADER_COPY_OFFSETS)
"""Both copies; records follow."""

SEGMENT_MAGIC: Final = b"SNAPSSEG"
SEGMENT_VERSION: Final = 1
SALT_SIZE: Final = 16
UNFINISHED_SUFFIX: Final = ".new"

_FIELDS: Final = Struct("<8sHxxxxxxQ16s")
"""Magic, format version, segment id, salt; zero from there to the checksum in the last 16 bytes."""

SCAN_WINDOW_SIZE: Final = 1 << 20
"""Bytes that a scan reads at once."""

UNREADABLE_ERRORS: Final = frozenset((errno.EIO, errno.ENODATA, errno.EILSEQ, errno.EUCLEAN))
"""Errors of reading that mean that the medium has lost these bytes, and not that the machine is out of something."""

LOST_ERRORS: Final = UNREADABLE_ERRORS | {errno.ENOENT}
"""Errors of opening and reading that mean that the bytes are lost."""

_CHECKSUM_SIZE: Final = 16
_ZERO_PAGE: Final = bytes(ALIGNMENT)
_ZERO_WINDOW: Final = bytes(SCAN_WINDOW_SIZE)


class Segment:
    """An open segment file. `append` places are handed out by the store; a segment knows only bytes and offsets."""

    def __init__(self, path: Path, segment_id: int, salt: bytes, header_damage: str | None = None) -> None:
        self.path = path
        self._name = str(path)
        self.segment_id = segment_id
        self.salt = salt
        self.header_damage = header_damage
        """The damage of one of the header's copies when the segment was opened; None if both were intact."""
        self._read_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._identity = _identity(os.fstat(self._read_fd))
        self._direct_fd = _open_direct(path, os.O_RDONLY)
        self._write_fd: int | None = None
        self._opening = Lock()

    @classmethod
    def create(cls, path: Path, segment_id: int, salt: bytes) -> Segment:
        """Make a new segment, durable in its folder. Raises FileExistsError if the path is taken."""
        unfinished = path.with_name(f"{path.name}.{salt.hex()}{UNFINISHED_SUFFIX}")
        linked = False
        while not linked:
            write_new(unfinished, _segment_header(segment_id, salt) * len(HEADER_COPY_OFFSETS))
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
        """Open an existing segment. Raises BadRecordError if neither copy of its header is whole and this segment's.

        If only one is intact, `header_damage` says so.
        """
        salt, header_damage = read_segment_header(path)
        return cls(path, int(path.stem), salt, header_damage)

    def __del__(self) -> None:
        # The store drops its reference while a reader may still hold one: the last one closes the files.
        for name in ("_read_fd", "_direct_fd", "_write_fd"):
            fd = self.__dict__.pop(name, None)
            if fd is not None:
                os.close(fd)

    def try_own(self) -> bool:
        """Lock the segment for this process to append to, until it ends or disowns it; False if another has it."""
        return try_lock(self._read_fd)

    def disown(self) -> None:
        """Let another process append to it."""
        unlock(self._read_fd)

    def mend_header(self) -> None:
        """Write a damaged copy of the header again from the whole one, for the owner; if the disk refuses, the whole
        copy continues alone.

        Nothing rests on this sync, so one that fails is like one that was never requested.
        """
        whole = memoryview(mmap(-1, HEADER_COPY_SIZE))
        whole[:] = _segment_header(self.segment_id, self.salt)
        for copy, offset in zip(_read_header_copies(self.path), HEADER_COPY_OFFSETS, strict=True):
            if copy != whole:
                with suppress(OSError):
                    self.write(offset, whole)
        with suppress(OSError):
            self.sync()

    @property
    def size(self) -> int:
        """Bytes that the file has now."""
        return os.fstat(self._read_fd).st_size

    @property
    def is_in_place(self) -> bool:
        """Whether the file still has its name: what is written to a renamed one is lost."""
        try:
            return _identity(os.stat(self._name)) == self._identity
        except FileNotFoundError:
            return False

    def preallocate(self, start: int, size: int) -> None:
        """Reserve space from `start` up to `size` bytes; holes before it stay holes.

        A copy-on-write file system would reserve it in extents of up to 256 MiB, and keep each whole for as long as one
        record in it is there. There only the file's size is set, and every record gets an extent of its own.

        Raises OSError (ENOSPC) if the disk has not got it.
        """
        if is_copy_on_write(self._read_fd):
            os.ftruncate(self._writable(), max(size, self.size))
        elif start < size:
            try:
                fallocate(self._writable(), 0, start, size - start)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    # ext4 keeps what it had allocated before it ran out of space, where nothing else could use it.
                    with suppress(OSError):
                        self.truncate(start)
                    what = f"{error.strerror}: cannot reserve {size - start} bytes"
                    raise OSError(error.errno, what, str(self.path)) from error
                os.ftruncate(self._writable(), max(size, self.size))

    def truncate(self, size: int) -> None:
        """Give back what lies beyond `size` bytes."""
        os.ftruncate(self._writable(), size)

    def key(self, offset: int) -> bytes:
        """The key of the checksum of a header at an offset."""
        return place_key(self.salt, offset)

    def write(self, offset: int, record: memoryview) -> None:
        """Write an aligned record; not durable before `sync`."""
        written = os.pwrite(self._writable(), record, offset)
        if written != len(record):
            raise OSError(errno.EIO, f"wrote {written} of {len(record)} bytes at {offset}", str(self.path))

    def sync(self) -> None:
        """Make all that was written before durable.

        If this fails, nothing that was written since the last sync that succeeded is durable, and no later sync makes
        it so: the kernel tells an error once, and forgets what it could not write.
        """
        os.fdatasync(self._writable())

    def rewrite(self, offset: int, size: int) -> None:
        """Rewrite aligned bytes in place, so that the next sync covers them whatever came before."""
        content = memoryview(mmap(-1, size))
        if _read_fully(self._direct_fd, content, offset, ALIGNMENT) != size:
            raise OSError(errno.EIO, f"cannot read {size} bytes at {offset} again", str(self.path))
        self.write(offset, content)

    def erase(self, offset: int) -> None:
        """Overwrite the header of a record with zeros: no scan finds it any more. Takes no space of the file system."""
        self.write(offset, memoryview(mmap(-1, HEADER_SIZE)))

    def read(self, offset: int, record: memoryview) -> RecordHeader:
        """Read a record into a buffer of its unpadded size and check it. Raises BadRecordError."""
        return self._read(self._read_fd, offset, record, 1)

    def read_aligned(self, offset: int, record: memoryview) -> RecordHeader:
        """As `read`, past the page cache: for an aligned buffer and a record of aligned size. A block is read once in a
        restore, and what is copied through the page cache costs more than it saves."""
        return self._read(self._direct_fd, offset, record, ALIGNMENT)

    def _read(self, fd: int, offset: int, record: memoryview, alignment: int) -> RecordHeader:
        if _read_fully(fd, record, offset, alignment) != len(record):
            raise BadRecordError("the record ends before its payload")
        header = read_header(record[:HEADER_SIZE], self.key(offset))
        if header.payload_size != len(record) - HEADER_SIZE:
            raise BadRecordError(f"the payload has {header.payload_size} bytes, not {len(record) - HEADER_SIZE}")
        check_payload(header, record[HEADER_SIZE:])
        return header

    def punch(self, offset: int, size: int) -> None:
        """Give the space of a stretch back to the file system; it reads as zeros from then on.

        A courtesy: a file system that cannot do it (some need free space for it) keeps the space.
        """
        try:
            fallocate(self._writable(), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSPC, errno.EDQUOT):
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def scan(self, start: int) -> Scan:
        """Goes through the segment from an offset on."""
        return Scan(self, start)

    @property
    def is_empty(self) -> bool:
        """Whether nothing but zeros follows the header."""
        scan = self.scan(SEGMENT_HEADER_SIZE)
        return next(iter(scan), None) is None and scan.end == SEGMENT_HEADER_SIZE

    def next_data(self, offset: int) -> int | None:
        """Where the file system has data next, at an aligned offset: holes and reserved space are passed over, as far
        as it can tell them. None at the end of the file."""
        try:
            return max(offset, os.lseek(self._read_fd, offset, os.SEEK_DATA) // ALIGNMENT * ALIGNMENT)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read an aligned place past the page cache; how many bytes there were before the end of the file.

        Past the cache, because pages that it reads ahead in reserved space count as data for `next_data`.
        """
        return _read_fully(self._direct_fd, buffer, offset, ALIGNMENT)

    def _writable(self) -> int:
        """The descriptor for writing, opened when it is first needed: reading does not ask for permission to write."""
        if self._write_fd is None:
            with self._opening:
                if self._write_fd is None:
                    self._write_fd = _open_direct(self.path, os.O_RDWR)
        return self._write_fd


class Scan:
    """The whole records of a segment from an offset on, with their offsets, and what else there is.

    Only a record whose header and payload checksums hold is yielded. Torn records, records of another version and
    places that cannot be read are passed over; `end`, `gaps` and `unreadable` tell of what was gone through so far.
    """

    def __init__(self, segment: Segment, start: int) -> None:
        self._segment = segment
        self._window = mmap(-1, SCAN_WINDOW_SIZE)
        self.end = max(start, SEGMENT_HEADER_SIZE)
        """Behind the last page that is not all zeros, or cannot be read."""
        self.gaps: list[tuple[int, int]] = []
        """Offset and size of stretches of zeros and holes before `end`."""
        self.unreadable: list[tuple[int, int]] = []
        """Offset and size of stretches that the disk could not read."""

    def __iter__(self) -> Iterator[tuple[int, RecordHeader]]:
        offset = self._segment.next_data(self.end)
        while offset is not None:
            window = self._read_window(offset)
            position = 0
            if window != _ZERO_WINDOW[: len(window)]:
                while position < len(window):
                    header = self._look(offset + position, window[position : position + ALIGNMENT])
                    if header is not None:
                        yield offset + position, header
                    position = max(position + ALIGNMENT, self.end - offset)
            offset = self._segment.next_data(offset + max(position, len(window), ALIGNMENT))

    def _read_window(self, offset: int) -> bytes:
        """The next pages; none if the first of them cannot be read."""
        for size in (SCAN_WINDOW_SIZE, ALIGNMENT):
            try:
                count = self._segment.read_into(memoryview(self._window)[:size], offset)
            except OSError as error:
                if error.errno not in UNREADABLE_ERRORS:
                    raise
            else:
                return self._window[:count].ljust(-(-count // ALIGNMENT) * ALIGNMENT, b"\0")
        self._note_unreadable(offset)
        return b""

    def _look(self, offset: int, page: bytes) -> RecordHeader | None:
        """The whole record that starts with a page; notes what the page is."""
        if page == _ZERO_PAGE:
            return None
        if offset > self.end:
            self.gaps.append((self.end, offset - self.end))
        self.end = max(self.end, offset + ALIGNMENT)
        if not page.startswith(MAGIC):
            return None
        with suppress(BadRecordError):  # a crash leaves an incomplete record behind
            header = read_header(memoryview(page), self._segment.key(offset))
            if header.payload_size <= MAX_PAYLOAD_SIZE:
                check_payload(header, self._read_payload(header, offset))
                self.end = offset + header.record_size
                return header
        return None

    def _read_payload(self, header: RecordHeader, offset: int) -> memoryview:
        padded = memoryview(mmap(-1, max(header.record_size - HEADER_SIZE, ALIGNMENT)))
        try:
            count = self._segment.read_into(padded, offset + HEADER_SIZE)
        except OSError as error:
            if error.errno not in UNREADABLE_ERRORS:
                raise
            raise BadRecordError("the payload cannot be read") from error
        return padded[: min(count, header.payload_size)]

    def _note_unreadable(self, offset: int) -> None:
        if offset > self.end:
            self.gaps.append((self.end, offset - self.end))
        self.end = max(self.end, offset + ALIGNMENT)
        if self.unreadable and sum(self.unreadable[-1]) == offset:
            start, size = self.unreadable.pop()
            self.unreadable.append((start, size + ALIGNMENT))
        else:
            self.unreadable.append((offset, ALIGNMENT))


def _open_direct(path: Path, flags: int) -> int:
    """A descriptor that goes past the page cache, or an ordinary one if the file system refuses that."""
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fd = os.open(path, flags | os.O_CLOEXEC)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return fd


def _segment_header(segment_id: int, salt: bytes) -> bytes:
    fields = _FIELDS.pack(SEGMENT_MAGIC, SEGMENT_VERSION, segment_id, salt)
    body = fields.ljust(HEADER_COPY_SIZE - _CHECKSUM_SIZE, b"\0")
    return body + blake2b(body, digest_size=_CHECKSUM_SIZE).digest()


def read_segment_header(path: Path) -> tuple[bytes, str | None]:
    """The salt of a segment, and what is wrong with one copy of its header. Raises BadRecordError as `Segment.open`."""
    return _parse_header_copies(_read_header_copies(path), int(path.stem))


def _read_header_copies(path: Path) -> list[bytes]:
    """Both copies as they are; what the disk cannot read is empty."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [_read_header_copy(fd, offset) for offset in HEADER_COPY_OFFSETS]
    finally:
        os.close(fd)


def _read_header_copy(fd: int, offset: int) -> bytes:
    try:
        copy = bytearray(HEADER_COPY_SIZE)
        return bytes(copy[: _read_fully(fd, memoryview(copy), offset, 1)])
    except OSError as error:
        if error.errno not in UNREADABLE_ERRORS:
            raise
        return b""


def _read_fully(fd: int, buffer: memoryview, offset: int, alignment: int) -> int:
    """Read until the buffer is full or the file ends; returns how many bytes. One call may return less than there is.

    Each call begins at a multiple of `alignment` behind `offset`, as reading past the page cache demands.
    """
    start, count = 0, os.preadv(fd, [buffer], offset)
    while count < len(buffer):
        whole = count // alignment * alignment
        if whole <= start:
            return count
        start, count = whole, whole + os.preadv(fd, [buffer[whole:]], offset + whole)
    return count


def _parse_header_copies(copies: list[bytes], segment_id: int) -> tuple[bytes, str | None]:
    """The salt, and what is wrong with one of the copies. Raises BadRecordError if neither is to be believed."""
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


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
