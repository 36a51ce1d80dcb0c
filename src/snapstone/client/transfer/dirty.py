"""Dirty bitmaps: which blocks of an image were written to since a snapshot, as other programs list the byte ranges.

Read are lines of `OFFSET LENGTH` in bytes, decimal or hexadecimal with `0x`, where `#` begins a comment; and the lists
in JSON of nbdinfo and qemu-img (`dirty_json`). A file without any entry is refused: it is more likely the output of a
program that failed than a bitmap of an image in which nothing changed, and that can be said by the line `0 0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from snapstone.client.errors import ClientError, DeniedError, NotFoundError, UsageError
from snapstone.client.transfer.dirty_json import Add, read_json
from snapstone.core.blocks import BLOCK_SIZE, MAX_BLOCK_COUNT

MAX_LINE_SIZE: Final = 4_096
"""Bytes in a line of text, its comment among them."""

MAX_OFFSET: Final = MAX_BLOCK_COUNT * BLOCK_SIZE
"""Where the largest volume ends."""

_NUMBER: Final = rb"(0[xX][0-9a-fA-F]{1,32}|[0-9]{1,32})"
_LINE: Final = re.compile(rb"\s*(?:" + _NUMBER + rb"\s+" + _NUMBER + rb"\s*)?(?:#.*)?\s*", re.DOTALL)
_NOT_CLEAR: Final = re.compile(rb"[^\x00]")
_NOT_SET: Final = re.compile(rb"[^\xff]")


class DirtyRanges:
    """A set of blocks, one bit each: at most 16 MiB, however many ranges were added in whatever order."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, offset: int, length: int) -> None:
        """Add all blocks that a byte range touches. Raises ValueError for a range that is not inside a volume."""
        if not 0 <= offset <= offset + length <= MAX_OFFSET:
            raise ValueError(f"{length} bytes at offset {offset} are not inside a volume of at most {MAX_OFFSET} bytes")
        if length > 0:
            self._set(offset // BLOCK_SIZE, -(-(offset + length) // BLOCK_SIZE))

    def block_ranges(self) -> Iterator[range]:
        """Ranges of block indexes: ascending, apart, none of them empty."""
        begin = self._next_set(0)
        while begin is not None:
            end = self._next_clear(begin)
            yield range(begin, end)
            begin = self._next_set(end)

    @property
    def block_count(self) -> int:
        """How many blocks are dirty."""
        return int.from_bytes(self._bits, "little").bit_count()

    @property
    def block_end(self) -> int:
        """One more than the last dirty block index, or 0: an image with fewer blocks is not the one of this bitmap."""
        return int.from_bytes(self._bits, "little").bit_length()

    def _set(self, begin: int, end: int) -> None:
        first, last = begin // 8, end // 8
        self._bits.extend(bytes(max(0, last + 1 - len(self._bits))))
        if first == last:
            self._bits[first] |= (1 << end % 8) - (1 << begin % 8)
            return
        self._bits[first] |= 0x100 - (1 << begin % 8)
        self._bits[first + 1 : last] = b"\xff" * (last - first - 1)
        self._bits[last] |= (1 << end % 8) - 1

    def _next_set(self, block_index: int) -> int | None:
        byte = block_index // 8
        if byte < len(self._bits) and (rest := self._bits[byte] >> block_index % 8):
            return block_index + _lowest(rest)
        found = _NOT_CLEAR.search(self._bits, byte + 1)
        return None if found is None else found.start() * 8 + _lowest(self._bits[found.start()])

    def _next_clear(self, block_index: int) -> int:
        """There is always one: the last byte is never full."""
        byte = block_index // 8
        if rest := (self._bits[byte] ^ 0xFF) >> block_index % 8:
            return block_index + _lowest(rest)
        found = _NOT_SET.search(self._bits, byte + 1)
        assert found is not None
        return found.start() * 8 + _lowest(self._bits[found.start()] ^ 0xFF)


def read_dirty(path: Path) -> DirtyRanges:
    """Read a bitmap. Raises UsageError with the line and what is wrong there."""
    ranges = DirtyRanges()
    try:
        with path.open("rb") as file:
            begin = file.read(MAX_LINE_SIZE).lstrip()
            file.seek(0)
            read = read_json if begin.startswith((b"[", b"{")) else _read_lines
            entry_count = read(path, file, ranges.add)
    except OSError as error:
        raise _failure(path, error) from error
    if entry_count == 0:
        raise UsageError(f"{path} lists no range at all. Where nothing changed, say so by the line: 0 0")
    return ranges


def _read_lines(path: Path, file: BinaryIO, add: Add) -> int:
    """Add the ranges of all lines; returns how many there are."""
    entry_count = 0
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_SIZE), b""), 1):
        found = _LINE.fullmatch(line)
        if found is None or len(line) == MAX_LINE_SIZE:
            text = line[:60].decode("utf-8", "replace").strip()
            raise UsageError(f"{path}, line {number}: OFFSET LENGTH are expected, in bytes, not {text!r}")
        if found[1] is None:
            continue
        try:
            add(_number(found[1]), _number(found[2]))
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
        entry_count += 1
    return entry_count


def _number(text: bytes) -> int:
    return int(text, 16 if text[:2] in (b"0x", b"0X") else 10)


def _lowest(bits: int) -> int:
    """Number of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


def _failure(path: Path, error: OSError) -> ClientError:
    text = f"The dirty bitmap {path} cannot be read: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        return NotFoundError(text)
    return DeniedError(text) if isinstance(error, PermissionError) else UsageError(text)
