"""The header of a digest table: facts in two slots, changed so that a crash leaves the old ones or the new ones.

A change goes to the slot that is not in force, and is in force once that is whole: its sequence is the higher one.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from snapstone.client.errors import ClientError
from snapstone.core.blocks import DIGEST_SIZE

Facts = Mapping[str, object]
"""JSON values by name."""

MAGIC: Final = b"SNAPSDIG"
VERSION: Final = 1

SLOT_SIZE: Final = 65_536
"""Bytes of each of the two slots. They are holes behind the facts, and room for the longest path of a source."""

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
    """What one slot says."""

    block_count: int
    sequence: int
    facts: Facts

    @property
    def offset(self) -> int:
        """Of the slot in the file."""
        return self.sequence % 2 * SLOT_SIZE

    def encode(self, path: Path) -> bytes:
        """The bytes of the slot, up to the end of the facts. Raises DigestTableError where these are too long."""
        text = json.dumps(dict(self.facts), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
        if len(text) > MAX_FACTS_SIZE:
            raise DigestTableError(f"{path}: the facts to be kept take {len(text)} of {MAX_FACTS_SIZE} bytes")
        head = _HEAD.pack(MAGIC, VERSION, len(text), self.block_count, self.sequence, 0)[:-_CRC_SIZE]
        crc = _crc(head, text).to_bytes(_CRC_SIZE, "little")
        return (head + crc).ljust(_FACTS_OFFSET, b"\0") + text


def read_header(path: Path, descriptor: int) -> Header:
    """The header that is in force. Raises DigestTableError where the file is no digest table, or not a whole one."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise DigestTableError(f"{path} is no digest table: it is no regular file")
    if found.st_size < ENTRIES_OFFSET:
        raise DigestTableError(f"{path} is no digest table: {found.st_size} bytes are fewer than its header has")
    slots = [os.pread(descriptor, SLOT_SIZE, number * SLOT_SIZE) for number in range(2)]
    whole = [header for header in map(parse_slot, slots) if header is not None]
    if not whole:
        raise DigestTableError(f"{path} cannot be used: {_why_not(slots)}")
    header = max(whole, key=lambda one: one.sequence)
    if found.st_size != (size := ENTRIES_OFFSET + header.block_count * DIGEST_SIZE):
        raise DigestTableError(f"{path} cannot be used: it has {found.st_size} bytes, and {size} by its header")
    return header


def parse_slot(slot: bytes) -> Header | None:
    """What a slot says, or None where it is not whole, or of another version."""
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
        return "it is no digest table"
    if VERSION not in versions:
        return f"it has version {max(versions)} of the format, and this Snapstone reads version {VERSION}"
    return "its header is damaged (the CRC-32 differs)"
