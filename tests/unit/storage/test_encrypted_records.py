"""Encrypted objects in a segment store: what is read again, what lies on disk, and what damage or a lost key does."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from snapstone.core.blocks import BLOCK_SIZE, Address, digest_of
from snapstone.core.data_key import DataKey, Domain
from snapstone.core.errors import KeyHiddenError
from snapstone.storage.contract import Encryption, ObjectKind
from snapstone.storage.record import SealBrokenError, decrypt_in_place, encrypt_in_place
from snapstone.storage.segment_store import SegmentStore

KEY = DataKey(b"data key 1......", bytes(range(32)))
DOMAIN = Domain(b"a" * 32)
CONTENT = b"a line that is easily found again\n".ljust(512, b".") * (BLOCK_SIZE // 512)
DIGEST = digest_of(CONTENT)
ADDRESS = DOMAIN.address_of(DIGEST)
SEGMENT_SIZE = 16 << 20


def find_key(data_key_id: bytes) -> DataKey:
    if data_key_id != KEY.data_key_id:
        raise KeyHiddenError
    return KEY


def open_store(folder: Path) -> SegmentStore:
    return SegmentStore(folder, now_ms=lambda: 1, block_buffers=4, segment_size=SEGMENT_SIZE, find_data_key=find_key)


def put(store: SegmentStore, content: bytes = CONTENT, address: Address = ADDRESS, key: DataKey = KEY) -> bool:
    buffer = store.borrow_block_buffer()
    buffer.payload[:] = content
    try:
        return store.put_block(address, buffer, Encryption(key, digest_of(content)))
    finally:
        buffer.release()


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_block_comes_back_with_its_digest_and_lies_on_disk_as_ciphertext(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert put(store)
    buffer = store.get_block(ADDRESS)
    assert (bytes(buffer.payload), buffer.digest) == (CONTENT, DIGEST)
    buffer.release()
    store.close()
    on_disk = everything_below(tmp_path)
    assert b"easily found" not in on_disk
    assert bytes(DIGEST) not in on_disk
    assert KEY.key not in on_disk


def test_a_block_comes_back_after_the_index_was_lost(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store)
    store.close()
    (tmp_path / "index.db").unlink()
    reopened = open_store(tmp_path)
    buffer = reopened.get_block(ADDRESS)
    assert (bytes(buffer.payload), buffer.digest) == (CONTENT, DIGEST)
    buffer.release()


def test_small_objects_are_encrypted_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    objects = [(Address(bytes([number]) * 32), b"page %d" % number * 7) for number in range(1, 40)]
    assert store.put_many(ObjectKind.PAGE, objects, KEY) == 39
    assert [store.get(ObjectKind.PAGE, address) for address, _ in objects] == [content for _, content in objects]
    store.close()
    assert b"page 7" not in everything_below(tmp_path)


def test_a_store_opened_without_keys_reads_no_encrypted_block_and_its_buffer_comes_back(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, now_ms=lambda: 1, segment_size=SEGMENT_SIZE, block_buffers=1)
    put(store)
    for _ in range(3):
        with pytest.raises(KeyHiddenError):
            store.get_block(ADDRESS)
    assert store.has(ADDRESS)


def test_what_is_sealed_is_gcm_over_payload_and_digest() -> None:
    """Checked against the library's one-shot AES-GCM: ciphertext, then the digest's, then the tag."""
    payload = bytearray(CONTENT)
    nonce = b"nonce nonce."
    seal = encrypt_in_place(memoryview(payload), 1, ADDRESS, KEY, DIGEST, nonce)
    associated = b"snapstone v1" + b"\x01" + BLOCK_SIZE.to_bytes(8, "little") + ADDRESS + KEY.data_key_id
    assert bytes(payload) + seal.sealed_digest + seal.tag == AESGCM(KEY.key).encrypt(
        nonce, CONTENT + DIGEST, associated
    )


@pytest.mark.parametrize("place", [0, BLOCK_SIZE // 2, BLOCK_SIZE - 1])
def test_a_flipped_bit_opens_nothing(place: int) -> None:
    payload = bytearray(CONTENT)
    seal = encrypt_in_place(memoryview(payload), 1, ADDRESS, KEY, DIGEST, bytes(12))
    payload[place] ^= 1
    with pytest.raises(SealBrokenError):
        decrypt_in_place(memoryview(payload), 1, ADDRESS, KEY, seal)
    assert payload == bytes(BLOCK_SIZE)


@pytest.mark.parametrize(("kind", "address"), [(2, ADDRESS), (1, Address(bytes(32)))])
def test_a_payload_under_another_name_or_kind_opens_nothing(kind: int, address: Address) -> None:
    payload = bytearray(CONTENT)
    seal = encrypt_in_place(memoryview(payload), 1, ADDRESS, KEY, DIGEST, bytes(12))
    with pytest.raises(SealBrokenError):
        decrypt_in_place(memoryview(payload), kind, address, KEY, seal)
