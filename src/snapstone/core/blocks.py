"""Blocks: their size, digests and addresses, and digests as checksums on the wire."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final, NewType

BLOCK_SIZE: Final = 524_288
"""Bytes in a block; the only size the API knows."""

BLOCKS_PER_GIB: Final = 2_048
GIB: Final = BLOCKS_PER_GIB * BLOCK_SIZE
"""Bytes."""

MAX_VOLUME_SIZE_GIB: Final = 65_536
MAX_BLOCK_COUNT: Final = MAX_VOLUME_SIZE_GIB * BLOCKS_PER_GIB
"""64 TiB in blocks: every block index fits in 27 bits."""

DIGEST_SIZE: Final = 32

Digest = NewType("Digest", bytes)
"""SHA-256 of a block's plaintext, 32 bytes."""

Address = NewType("Address", bytes)
"""The name of a stored object, 32 bytes. A plain block's address is its digest."""

ZERO_DIGEST: Final = Digest(bytes.fromhex("07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541"))
"""Digest of the block of 524,288 zero bytes."""

ZERO_ADDRESS: Final = Address(ZERO_DIGEST)
"""Address of the zero block of a snapshot that is not encrypted: known, never stored."""


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """SHA-256 of `data`; releases the interpreter lock while it hashes."""
    return Digest(hashlib.sha256(data).digest())


def checksum_from_digest(digest: bytes) -> str:
    """The base64 text (standard alphabet, padded, 44 characters) that the API carries for a digest."""
    return b64encode(digest).decode("ascii")


def digest_from_checksum(checksum: str) -> Digest | None:
    """The digest that a checksum text names, or None if the text is not canonical base64 of 32 bytes."""
    try:
        digest = b64decode(checksum, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(digest) != DIGEST_SIZE or checksum_from_digest(digest) != checksum:
        return None
    return Digest(digest)


def linear_aggregate(digests: Iterable[bytes]) -> Digest:
    """SHA-256 of raw block digests joined in ascending order of block index: CompleteSnapshot's LINEAR method."""
    aggregate = hashlib.sha256()
    for digest in digests:
        aggregate.update(digest)
    return Digest(aggregate.digest())
