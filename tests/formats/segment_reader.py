"""A reader of segments, pages and manifests written from docs/format.md alone: nothing of Snapstone is imported."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

from xxhash import xxh3_128

BLOCK, PAGE, MANIFEST = 1, 2, 3

ZERO_BLOCK = bytes.fromhex("07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541")
EMPTY_PAGE = bytes.fromhex("f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b")


@dataclass(frozen=True)
class Record:
    """One whole record of a segment."""

    offset: int
    kind: int
    stored_at_ms: int
    address: bytes
    payload: bytes


def segment_header(segment: bytes) -> tuple[int, bytes]:
    """The id and the salt, from the first copy that is whole."""
    header = next(copy for copy in (segment[:4_096], segment[4_096:8_192]) if _is_whole_header(copy))
    magic, version, zero, segment_id, salt = struct.unpack_from("<8sH6sQ16s", header)
    assert (magic, version, zero) == (b"SNAPSSEG", 1, bytes(6))
    assert header[40:4_080] == bytes(4_040)
    return segment_id, salt


def _is_whole_header(header: bytes) -> bool:
    return len(header) == 4_096 and blake2b(header[:4_080], digest_size=16).digest() == header[4_080:]


def records(segment: bytes) -> Iterator[Record]:
    """Every whole record."""
    _, salt = segment_header(segment)
    offset = 8_192
    while offset < len(segment):
        record = _record_at(segment, salt, offset)
        if record is None:
            offset += 4_096
        else:
            yield record
            offset += 4_096 + (len(record.payload) + 4_095) // 4_096 * 4_096


def _record_at(segment: bytes, salt: bytes, offset: int) -> Record | None:
    header = segment[offset : offset + 4_096]
    key = salt + struct.pack("<Q", offset)
    if header[:8] != b"SNAPSTON" or blake2b(header[:4_080], key=key, digest_size=16).digest() != header[4_080:]:
        return None
    version, kind, codec, cipher, zero = struct.unpack_from("<HBBB3s", header, 8)
    assert (version, codec, cipher, zero) == (1, 0, 0, bytes(3))
    stored_at_ms, stored_size, plain_size = struct.unpack_from("<QII", header, 16)
    assert stored_size == plain_size
    address, checksum = header[32:64], header[64:80]
    assert header[80:4_080] == bytes(4_000)
    payload = segment[offset + 4_096 : offset + 4_096 + stored_size]
    if xxh3_128(payload).digest() != checksum:
        return None
    return Record(offset, kind, stored_at_ms, address, payload)


def children(page: bytes) -> dict[int, bytes]:
    """Slot to address."""
    slots = [slot for slot in range(512) if page[slot // 8] >> slot % 8 & 1]
    assert len(page) == 64 + 32 * len(slots)
    return {slot: page[64 + 32 * rank : 96 + 32 * rank] for rank, slot in enumerate(slots)}


def manifest(payload: bytes) -> dict[str, Any]:
    """The members of a manifest."""
    members: dict[str, Any] = json.loads(payload.decode("ascii"))
    assert members["version"] == 1
    return members


def manifest_address(snapshot_id: str) -> bytes:
    """Where the manifest of a snapshot is stored."""
    return sha256(b"snapstone manifest\0" + snapshot_id.encode("ascii")).digest()


def blocks(objects: dict[bytes, Record], root: bytes) -> dict[int, bytes]:
    """Block index to the block's bytes."""
    found = {}
    for high, branch in _page(objects, root).items():
        for middle, leaf in _page(objects, branch).items():
            for low, block in _page(objects, leaf).items():
                found[high << 18 | middle << 9 | low] = _block(objects, block)
    return found


def _page(objects: dict[bytes, Record], address: bytes) -> dict[int, bytes]:
    if address == EMPTY_PAGE:
        return {}
    record = objects[address]
    assert record.kind == PAGE
    assert sha256(record.payload).digest() == address
    return children(record.payload)


def _block(objects: dict[bytes, Record], address: bytes) -> bytes:
    if address == ZERO_BLOCK:
        return bytes(524_288)
    record = objects[address]
    assert record.kind == BLOCK
    assert sha256(record.payload).digest() == address
    return record.payload
