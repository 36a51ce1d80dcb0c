"""The bytes of a stored record: a self-describing header of 4,096 bytes, then the payload (docs/format.md).

4,096 keeps the payload aligned for direct I/O. The header's checksum is keyed by the place of the record, so that bytes
which a client once sent as a block's content can never pass for a record of their own when a damaged segment is
searched for what is left of it.

An encrypted payload is AES-256-GCM in place. The plaintext's digest is encrypted together with it, so a reader has the
digest without hashing. The payload's ciphertext stays where the plaintext was; the digest's ciphertext and the tag go
into the header: the record is as long as a plain one. What a record is (kind, address, size, data key) is bound to it
as associated data; its place is not.

Blocks travel in buffers from a bounded pool, page-aligned, each with space for a record's header in front of the block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from mmap import mmap
from struct import Struct
from threading import Condition
from time import monotonic
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM
from xxhash import xxh3_128_digest

from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, Address, Digest
from snapstone.core.data_key import DataKey
from snapstone.core.errors import OverloadedError
from snapstone.storage.contract import Encryption, FindDataKey, ObjectKind

NONCE_SIZE: Final = 12

_ASSOCIATED: Final = Struct("<12sBQ32s16s")
"""A name, kind, payload size, address, data-key id."""
_NAME: Final = b"snapstone v1"


class SealBrokenError(Exception):
    """The payload, its header, or the key is not what it was when the record was sealed."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Additional fields in the header of an encrypted record."""

    data_key_id: bytes
    nonce: bytes
    sealed_digest: bytes
    """32 bytes: the plaintext's digest, encrypted."""
    tag: bytes
    """16 bytes."""


def encrypt_in_place(
    payload: memoryview, kind: int, address: Address, data_key: DataKey, digest: Digest, nonce: bytes
) -> Seal:
    """Turn a payload into its ciphertext. The nonce is 12 fresh random bytes, never used twice with one key."""
    encryptor = Cipher(AES256(data_key.key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(_associated(kind, len(payload), address, data_key.data_key_id))
    encryptor.update_into(payload, payload)
    sealed_digest = encryptor.update(digest)
    encryptor.finalize()
    return Seal(data_key.data_key_id, nonce, sealed_digest, encryptor.tag)


def decrypt_in_place(payload: memoryview, kind: int, address: Address, data_key: DataKey, seal: Seal) -> Digest:
    """Turn ciphertext back into the payload; returns its digest. Raises SealBrokenError, leaving zeros."""
    decryptor = Cipher(AES256(data_key.key), GCM(seal.nonce, seal.tag)).decryptor()
    decryptor.authenticate_additional_data(_associated(kind, len(payload), address, data_key.data_key_id))
    decryptor.update_into(payload, payload)
    digest = decryptor.update(seal.sealed_digest)
    try:
        decryptor.finalize()
    except InvalidTag:
        payload[:] = bytes(len(payload))
        raise SealBrokenError("the tag of the encrypted payload is wrong") from None
    return Digest(digest)


def _associated(kind: int, payload_size: int, address: Address, data_key_id: bytes) -> bytes:
    return _ASSOCIATED.pack(_NAME, kind, payload_size, address, data_key_id)


ALIGNMENT: Final = 4_096
"""Records start and end at multiples of this many bytes."""

HEADER_SIZE: Final = ALIGNMENT
FORMAT_VERSION: Final = 1
MAGIC: Final = b"SNAPSTON"

_CHECKSUM_SIZE: Final = 16
_CHECKSUM_OFFSET: Final = HEADER_SIZE - _CHECKSUM_SIZE
_CODEC_NONE: Final = 0
_CIPHER_NONE: Final = 0
_CIPHER_AES_256_GCM: Final = 1

_KINDS: Final = frozenset(ObjectKind)

_FIELDS: Final = Struct("<8sHBBB3xQII32s16s16s12s32s16s")
"""Magic, format version, kind, codec, cipher, stored-at ms, stored size, plain size, address, payload checksum,
data-key id, nonce, sealed digest, tag; zero from there to the header's checksum."""

_NO_SEAL: Final = Seal(bytes(16), bytes(12), bytes(32), bytes(16))
"""These fields of a plain record's header: zeros."""


class BadRecordError(Exception):
    """The bytes at a place are not a complete record; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """A header's description of its payload."""

    kind: ObjectKind
    address: Address
    payload_size: int
    stored_at_ms: int
    payload_checksum: bytes
    """XXH3-128 of the stored payload, big-endian."""
    seal: Seal | None = None
    """How the payload is encrypted, or None if it is not."""

    @property
    def record_size(self) -> int:
        """Bytes that the record takes: header and payload, padded to the alignment."""
        return record_size(self.payload_size)


def record_size(payload_size: int) -> int:
    """Bytes that a record with a payload of this size takes."""
    return HEADER_SIZE + -(-payload_size // ALIGNMENT) * ALIGNMENT


def place_key(salt: bytes, offset: int) -> bytes:
    """The key of a header's checksum: the salt of its segment and its offset there."""
    return salt + offset.to_bytes(8, "little")


def write_header(
    header: memoryview,
    key: bytes,
    kind: ObjectKind,
    address: Address,
    payload: memoryview,
    stored_at_ms: int,
    seal: Seal | None = None,
) -> None:
    """Fill the 4,096 bytes of `header` for a payload as it is stored; pure but for the buffer that it fills."""
    sealed = seal or _NO_SEAL
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        kind,
        _CODEC_NONE,
        _CIPHER_NONE if seal is None else _CIPHER_AES_256_GCM,
        stored_at_ms,
        len(payload),
        len(payload),
        address,
        xxh3_128_digest(payload),
        sealed.data_key_id,
        sealed.nonce,
        sealed.sealed_digest,
        sealed.tag,
    )
    header[: _FIELDS.size] = fields
    header[_FIELDS.size : _CHECKSUM_OFFSET] = _ZEROS
    header[_CHECKSUM_OFFSET:] = _header_checksum(header, key)


_ZEROS: Final = bytes(_CHECKSUM_OFFSET - _FIELDS.size)


def read_header(header: memoryview, key: bytes) -> RecordHeader:
    """Parse a header. Raises BadRecordError if it is damaged, of another place, or of an unknown format."""
    if bytes(header[: len(MAGIC)]) != MAGIC:
        raise BadRecordError("no record starts here")
    if header[_CHECKSUM_OFFSET:] != _header_checksum(header, key):
        raise BadRecordError("the header's checksum is wrong")
    fields = _FIELDS.unpack_from(header)
    _, version, kind, codec, cipher, stored_at_ms, payload_size, _, address, payload_checksum, *sealed = fields
    if version != FORMAT_VERSION:
        raise BadRecordError(f"format version {version} is unknown")
    if codec != _CODEC_NONE or cipher not in (_CIPHER_NONE, _CIPHER_AES_256_GCM):
        raise BadRecordError(f"codec {codec} or cipher {cipher} is unknown")
    if kind not in _KINDS:
        raise BadRecordError(f"kind {kind} is unknown")
    seal = None if cipher == _CIPHER_NONE else Seal(*sealed)
    return RecordHeader(ObjectKind(kind), Address(address), payload_size, stored_at_ms, payload_checksum, seal)


def check_payload(header: RecordHeader, payload: memoryview) -> None:
    """Raises BadRecordError if a payload is not the one that was stored."""
    if xxh3_128_digest(payload) != header.payload_checksum:
        raise BadRecordError("the payload's checksum is wrong")


def _header_checksum(header: memoryview, key: bytes) -> bytes:
    return blake2b(header[:_CHECKSUM_OFFSET], key=key, digest_size=_CHECKSUM_SIZE).digest()


class RecordCodec:
    """Encrypts and decrypts payloads and makes their headers, wherever records are stored."""

    def __init__(
        self, random_bytes: Callable[[int], bytes], find_data_key: FindDataKey, now_ms: Callable[[], int]
    ) -> None:
        self._random_bytes = random_bytes
        self._find_data_key = find_data_key
        self._now_ms = now_ms

    def seal(
        self, kind: ObjectKind, address: Address, payload: memoryview, encryption: Encryption | None
    ) -> Seal | None:
        """Encrypt a payload in place; None if it stays plain."""
        if encryption is None:
            return None
        nonce = self._random_bytes(NONCE_SIZE)
        return encrypt_in_place(payload, kind, address, encryption.data_key, encryption.digest, nonce)

    def write_header(
        self,
        header: memoryview,
        key: bytes,
        kind: ObjectKind,
        address: Address,
        payload: memoryview,
        seal: Seal | None,
    ) -> int:
        """Fill the header of a sealed payload for a place; returns when that was, milliseconds since the epoch."""
        stored_at_ms = self._now_ms()
        write_header(header, key, kind, address, payload, stored_at_ms, seal)
        return stored_at_ms

    def open(self, header: RecordHeader, payload: memoryview) -> Digest:
        """Decrypt a payload in place, if it is encrypted; returns its digest, for a plain block its address.

        Raises SealBrokenError, and KeyHiddenError if the data key was destroyed.
        """
        if header.seal is None:
            return Digest(header.address)
        data_key = self._find_data_key(header.seal.data_key_id)
        return decrypt_in_place(payload, header.kind, header.address, data_key, header.seal)


BORROW_WAIT_SECONDS: Final = 30.0
"""How long a caller waits for a buffer before OverloadedError."""


class RecordBuffer:
    """A borrowed buffer: `record` is what is written to disk, `payload` the block inside it."""

    __slots__ = ("_mapping", "_pool", "digest", "header", "payload", "record")

    def __init__(self, pool: BufferPool) -> None:
        self._pool: BufferPool | None = pool
        self._mapping = mmap(-1, HEADER_SIZE + BLOCK_SIZE)
        self.record = memoryview(self._mapping)
        self.header = self.record[:HEADER_SIZE]
        self.payload = self.record[HEADER_SIZE:]
        self.digest = Digest(b"")

    def release(self) -> None:
        """Hand the buffer back to its pool; calling it twice is harmless."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.take_back(self)

    def lend(self, pool: BufferPool) -> None:
        """Mark the buffer as borrowed from `pool`."""
        self._pool = pool


class ZeroBlock:
    """The zero block, for reading: known, never stored, never given back."""

    payload = memoryview(bytes(BLOCK_SIZE))
    digest = ZERO_DIGEST

    def release(self) -> None:
        """Nothing was borrowed."""


ZERO_BLOCK: Final = ZeroBlock()


class BufferPool:
    """Makes buffers when they are first needed, up to `limit`; the last one handed back is lent first."""

    def __init__(self, limit: int, wait_seconds: float = BORROW_WAIT_SECONDS) -> None:
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._idle: deque[RecordBuffer] = deque()
        self._changed = Condition()
        self._made_count = 0
        self._waiting_count = 0

    def borrow(self) -> RecordBuffer:
        """A buffer with undefined content. Raises OverloadedError if none comes free in time."""
        try:
            buffer = self._idle.pop()
        except IndexError:
            buffer = self._make_or_wait()
        buffer.lend(self)
        return buffer

    def take_back(self, buffer: RecordBuffer) -> None:
        """Called by a buffer's `release`."""
        self._idle.append(buffer)
        if self._waiting_count:
            with self._changed:
                self._changed.notify()

    def _make_or_wait(self) -> RecordBuffer:
        with self._changed:
            if self._made_count < self._limit:
                self._made_count += 1
                return RecordBuffer(self)
            self._waiting_count += 1
            try:
                return self._wait(monotonic() + self._wait_seconds)
            finally:
                self._waiting_count -= 1

    def _wait(self, deadline: float) -> RecordBuffer:
        """The next buffer handed back; the lock is held, and `take_back` knows that somebody waits."""
        while True:
            try:
                return self._idle.pop()
            except IndexError:
                if not self._changed.wait(deadline - monotonic()):
                    raise OverloadedError(f"all {self._limit} block buffers are in use") from None


def aligned_buffer(size: int) -> memoryview:
    """A page-aligned buffer of zeros, freed with the last view of it."""
    return memoryview(mmap(-1, size))
