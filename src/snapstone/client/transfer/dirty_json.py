"""Dirty bitmaps as JSON, read entry by entry: the lists that nbdinfo and qemu-img print.

`nbdinfo --map=qemu:dirty-bitmap:NAME --json` says `offset`, `length` and, as `description`, `dirty` or `clean`. A list
with `start` or `offset`, `length` and, where not all are meant, `dirty` is read likewise. `qemu-img map --output=json`
with the option `x-dirty-bitmap` says `"data": false, "zero": false` where the image is dirty, and `"data": true` where
it is clean ("perhaps confusingly", says the commit that introduced it). Without that option it prints the same members,
and says what is allocated, and nothing of what changed: that is refused, for blocks would be missing from the snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from snapstone.client.errors import UsageError

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
            offset, length = _number(entry, "start" if "start" in entry else "offset"), _number(entry, "length")
            add(offset, length if dirty else 0)
        except ValueError as error:
            raise UsageError(f"{path}, line {line}: {error}") from None
        entry_count += 1
        if _is_map(entry):
            map_count += 1
            map_dirty_count += dirty
    if map_count and not map_dirty_count:
        raise UsageError(
            f"{path} says of every range that it has data: either nothing is dirty, or it is a map of what is "
            f"allocated; qemu-img prints the same for both. {_ADVICE}"
        )
    return entry_count


def _is_dirty(entry: Mapping[str, object]) -> bool:
    if "dirty" in entry:
        return _flag(entry, "dirty")
    if "type" in entry or "description" in entry:
        if (description := entry.get("description")) in ("dirty", "clean"):
            return description == "dirty"
        raise ValueError(f"{description!r} says what is allocated, not what changed. {_ADVICE}")
    if not _is_map(entry):
        return True
    if "zero" in entry and _flag(entry, "zero"):
        raise ValueError(f"this is a map of what is allocated, and says nothing of what changed. {_ADVICE}")
    return not _flag(entry, "data")


def _is_map(entry: Mapping[str, object]) -> bool:
    return "data" in entry and "dirty" not in entry


def _flag(entry: Mapping[str, object], name: str) -> bool:
    value = entry[name]
    if not isinstance(value, bool):
        raise ValueError(f'"{name}" must be true or false, not {json.dumps(value)[:40]}')
    return value


def _number(entry: Mapping[str, object], name: str) -> int:
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
            self._fail("there is something behind the list")

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
            self._fail(f"a list of objects in JSON is expected, and here {character} is missing")
        self._position += 1

    def _object(self) -> Mapping[str, object]:
        if self._peek() != "{":
            self._fail("every entry of the list must be an object")
        while True:
            try:
                entry, end = self._decode(self._text, self._position)
            except (ValueError, RecursionError):
                if len(self._text) - self._position > MAX_ENTRY_SIZE or not self._fill():
                    self._fail("this entry is not valid JSON, or does not end")
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
