"""A reader of digest tables written from docs/format.md alone: nothing of Snapstone is imported."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """What a file holds."""

    sequence: int
    block_count: int
    facts: dict[str, Any]
    digests: dict[int, bytes]


def read_table(content: bytes) -> Table:
    """The table in a file's bytes."""
    whole = [slot for slot in (_slot(content[:65_536]), _slot(content[65_536:131_072])) if slot is not None]
    sequence, block_count, facts = max(whole, key=lambda slot: slot[0])
    assert len(content) == 131_072 + block_count * 32
    entries = [content[offset : offset + 32] for offset in range(131_072, len(content), 32)]
    return Table(sequence, block_count, facts, {index: entry for index, entry in enumerate(entries) if any(entry)})


def _slot(slot: bytes) -> tuple[int, int, dict[str, Any]] | None:
    magic, version, zero, size, block_count, sequence, crc = struct.unpack_from("<8sHHIQQI", slot)
    facts = slot[64 : 64 + size]
    if magic != b"SNAPSDIG" or version != 1 or crc != zlib.crc32(slot[:32] + facts):
        return None
    assert zero == 0
    assert slot[36:64] == bytes(28)
    parsed: dict[str, Any] = json.loads(facts.decode("ascii"))
    return sequence, block_count, parsed
