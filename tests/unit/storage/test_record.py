"""The record's header: its bytes, and that one flipped bit anywhere is noticed."""

from __future__ import annotations

from hashlib import blake2b
from struct import pack

import pytest
from xxhash import xxh3_128_digest

from snapstone.core.blocks import Address
from snapstone.storage.contract import ObjectKind
from snapstone.storage.record import (
    BadRecordError,
    check_payload,
    place_key,
    read_header,
    record_size,
    write_header,
)

KEY = place_key(b"s" * 16, 4_096)
ADDRESS = Address(bytes(range(32)))
NOW_MS = 1_790_337_440_328
PAYLOAD = memoryview(bytes(range(256)) * 2_048)


def header_of(payload: memoryview = PAYLOAD, kind: ObjectKind = ObjectKind.BLOCK, key: bytes = KEY) -> bytearray:
    header = bytearray(b"\xee" * 4_096)  # what was in the buffer before must not shine through
    write_header(memoryview(header), key, kind, ADDRESS, payload, NOW_MS)
    return header


def sealed(fields: bytes, key: bytes = KEY) -> memoryview:
    """A header with these fields and a checksum that fits."""
    body = fields.ljust(4_080, b"\0")
    return memoryview(body + blake2b(body, key=key, digest_size=16).digest())


def fields(*, magic: bytes = b"SNAPSTON", version: int = 1, kind: int = 1, codec: int = 0, cipher: int = 0) -> bytes:
    head = magic + pack("<HBBB", version, kind, codec, cipher) + bytes(3)
    return head + pack("<QII", NOW_MS, 524_288, 524_288) + ADDRESS + xxh3_128_digest(PAYLOAD) + bytes(28)


def test_the_bytes_are_those_of_the_format() -> None:
    assert header_of() == sealed(fields())


def test_a_header_says_what_was_written() -> None:
    header = read_header(memoryview(header_of()), KEY)
    assert (header.kind, header.address, header.payload_size) == (ObjectKind.BLOCK, ADDRESS, 524_288)
    assert (header.stored_at_ms, header.record_size) == (NOW_MS, 528_384)
    check_payload(header, PAYLOAD)


@pytest.mark.parametrize(
    ("payload_size", "size"), [(0, 4_096), (1, 8_192), (4_096, 8_192), (4_097, 12_288), (524_288, 528_384)]
)
def test_a_record_is_padded_to_4096_bytes(payload_size: int, size: int) -> None:
    assert record_size(payload_size) == size


def test_a_flipped_bit_in_any_byte_of_the_header_is_noticed() -> None:
    header = header_of()
    for position in range(4_096):
        header[position] ^= 1 << position % 8
        with pytest.raises(BadRecordError):
            read_header(memoryview(header), KEY)
        header[position] ^= 1 << position % 8
    read_header(memoryview(header), KEY)


def test_every_flipped_bit_of_the_fields_and_of_the_checksum_is_noticed() -> None:
    header = header_of()
    for bit in [*range(8 * 112), *range(8 * 4_080, 8 * 4_096)]:
        header[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadRecordError):
            read_header(memoryview(header), KEY)
        header[bit // 8] ^= 1 << bit % 8


def test_a_flipped_bit_of_the_payload_is_noticed() -> None:
    header = read_header(memoryview(header_of()), KEY)
    payload = bytearray(PAYLOAD)
    for position in [0, 1, 4_095, 4_096, 524_287, *range(7, 524_288, 9_973)]:
        payload[position] ^= 1 << position % 8
        with pytest.raises(BadRecordError):
            check_payload(header, memoryview(payload))
        payload[position] ^= 1 << position % 8
    check_payload(header, memoryview(payload))


def test_a_payload_cut_short_or_grown_is_noticed() -> None:
    header = read_header(memoryview(header_of()), KEY)
    for payload in (PAYLOAD[:-1], memoryview(bytes(PAYLOAD) + b"\0"), memoryview(b"")):
        with pytest.raises(BadRecordError):
            check_payload(header, payload)


@pytest.mark.parametrize("key", [place_key(b"t" * 16, 4_096), place_key(b"s" * 16, 8_192), place_key(bytes(16), 0)])
def test_a_header_of_another_segment_or_place_is_refused(key: bytes) -> None:
    with pytest.raises(BadRecordError):
        read_header(memoryview(header_of()), key)


@pytest.mark.parametrize(
    "unknown",
    [fields(version=2), fields(version=0), fields(kind=0), fields(kind=4), fields(codec=1), fields(cipher=2)],
)
def test_what_this_version_does_not_know_is_refused_though_it_is_whole(unknown: bytes) -> None:
    with pytest.raises(BadRecordError):
        read_header(sealed(unknown), KEY)


def test_bytes_without_the_magic_are_no_record() -> None:
    for other in (sealed(fields(magic=b"SNAPSEGM")), memoryview(bytes(4_096))):
        with pytest.raises(BadRecordError, match="no record starts here"):
            read_header(other, KEY)


def test_each_kind_has_its_number() -> None:
    assert [header_of(kind=kind)[10] for kind in (ObjectKind.BLOCK, ObjectKind.PAGE, ObjectKind.MANIFEST)] == [1, 2, 3]
