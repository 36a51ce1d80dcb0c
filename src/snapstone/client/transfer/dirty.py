"""Dirty bitmaps: which blocks of an image were written to since a snapshot, as other programs list the byte ranges.

Read are lines of `OFFSET LENGTH` in bytes, decimal or hexadecimal with `0x`, with comments after `#`; and the JSON
lists of nbdinfo and qemu-img, entry by entry. A file without any entry is refused: it is more likely the output of a
program that failed than a bitmap of an image in which nothing changed, which the line `0 0` says.

`nbdinfo --map=qemu:dirty-bitmap:NAME --json` says `offset`, `length` and, as `description`, `dirty` or `clean`. A list
with `start` or `offset`, `length` and, unless all are meant, `dirty` is read likewise. `qemu-img map --output=json`
with the option `x-dirty-bitmap` says `"data": false, "zero": false` for a dirty range, and `"data": true` for a clean
one ("perhaps confusingly", says the commit that introduced it). Without that option it prints the same members, and
says what is allocated, not what changed: that is refused, because blocks would be missing from the snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from snapstone.client.errors import ClientError, DeniedError, NotFoundError, UsageError
from snapstone.core.blocks import BLOCK_SIZE, MAX_BLOCK_COUNT

MAX_ENTRY_SIZE: Final = 65_536
"""Characters of one entry."""

_CHUNK_SIZE: Final = 1_048_576
_SPACE: Final = " \t\r\n"
_ADVICE: Final = "Take the output of: nbdinfo --map=qemu:dirty-bitmap:NAME --json URI"

Add = Callable[[int, int], None]
"""Takes offset and length of a range in bytes; ValueError where they cannot be."""


def read_json(path: Path, file: BinaryIO, add: Add) -> int:
    """Add the dirty ranges of a list; returns how many entries it has, clean ones among them."""
    entry_count, map_count, map_dirty_count = 0, 0, 0
    for line, entry in _Entries(path, file):
        try:
            dirty = _is_dirty(entry)
            offset, length = _number_of(entry, "start" if "start" in entry else "offset"), _number_of(entry, "length")
            add(offset, length if dirty else 0)
        except ValueError as error:
            raise UsageError(f"{path}, line {line}: {error}") from None
        entry_count += 1
        if _is_map(entry):
            map_count += 1
            map_dirty_count += dirty
    if map_count and not map_dirty_count:
        raise UsageError(
            f"{path} marks every range as data: either nothing is dirty, or it is a map of what is "
            f"allocated; qemu-img prints the same for both. {_ADVICE}"
        )
    return entry_count


def _is_dirty(entry: Mapping[str, object]) -> bool:
    if "dirty" in entry:
        return _flag(entry, "dirty")
    if "type" in entry or "description" in entry:
        if (description := entry.get("description")) in ("dirty", "clean"):
            return description == "dirty"
        raise ValueError(f"{description!r} is about what is allocated, not about what changed. {_ADVICE}")
    if not _is_map(entry):
        return True
    if "zero" in entry and _flag(entry, "zero"):
        raise ValueError(f"this is a map of what is allocated, not of what changed. {_ADVICE}")
    return not _flag(entry, "data")


def _is_map(entry: Mapping[str, object]) -> bool:
    return "data" in entry and "dirty" not in entry


def _flag(entry: Mapping[str, object], name: str) -> bool:
    value = entry[name]
    if not isinstance(value, bool):
        raise ValueError(f'"{name}" must be true or false, not {json.dumps(value)[:40]}')
    return value


def _number_of(entry: Mapping[str, object], name: str) -> int:
    value = entry.get(name)
    if type(value) is not int:
        raise ValueError(f'"{name}" must be a whole number of bytes, not {json.dumps(value)[:40]}')
    return value


class _Entries:
    """The objects of a list, each with the number of the line where it begins; only a part of the text is in memory."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._position = 0
        self._line = 1

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        self._expect("[")
        if self._peek() != "]":
            yield self._line, self._object()
            while self._peek() == ",":
                self._expect(",")
                self._peek()
                yield self._line, self._object()
        self._expect("]")
        if self._peek():
            self._fail("unexpected content after the list")

    def _peek(self) -> str:
        """The next character that is not white space, or nothing at the end."""
        while True:
            while self._position < len(self._text):
                character = self._text[self._position]
                if character not in _SPACE:
                    return character
                self._line += character == "\n"
                self._position += 1
            if not self._fill():
                return ""

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            self._fail(f"expected a JSON list of objects; {character} is missing here")
        self._position += 1

    def _object(self) -> Mapping[str, object]:
        if self._peek() != "{":
            self._fail("every entry of the list must be an object")
        while True:
            try:
                entry, end = self._decode(self._text, self._position)
            except (ValueError, RecursionError):
                if len(self._text) - self._position > MAX_ENTRY_SIZE or not self._fill():
                    self._fail("this entry is not valid JSON, or is truncated")
            else:
                self._line += self._text.count("\n", self._position, end)
                self._position = end
                assert isinstance(entry, dict)
                return entry

    def _fill(self) -> bool:
        """Take in more text; False at the end."""
        chunk = self._file.read(_CHUNK_SIZE)
        # What counts is ASCII; characters of file names that a chunk's border cuts through do not matter.
        self._text = self._text[self._position :] + chunk.decode("utf-8", "replace")
        self._position = 0
        return bool(chunk)

    def _fail(self, what: str) -> NoReturn:
        raise UsageError(f"{self._path}, line {self._line}: {what}")


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
            raise ValueError(f"{length} bytes at offset {offset} are not within a volume of at most {MAX_OFFSET} bytes")
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
        raise UsageError(f"{path} lists no ranges; if nothing changed, it must have the line: 0 0")
    return ranges


def _read_lines(path: Path, file: BinaryIO, add: Add) -> int:
    """Add the ranges of all lines; returns how many there are."""
    entry_count = 0
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_SIZE), b""), 1):
        found = _LINE.fullmatch(line)
        if found is None or len(line) == MAX_LINE_SIZE:
            text = line[:60].decode("utf-8", "replace").strip()
            raise UsageError(f"{path}, line {number}: expected OFFSET LENGTH in bytes, not {text!r}")
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
    text = f"the dirty bitmap {path} cannot be read: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        return NotFoundError(text)
    return DeniedError(text) if isinstance(error, PermissionError) else UsageError(text)
