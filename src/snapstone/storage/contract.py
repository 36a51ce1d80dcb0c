"""The contract of a store of immutable objects: put, get, has, remove, walk; durable when put returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from snapstone.core.blocks import Address, Digest
from snapstone.core.data_key import DataKey


class ObjectKind(IntEnum):
    """Kind of an object; the number is in its header."""

    BLOCK = 1
    PAGE = 2
    MANIFEST = 3


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """What `walk` yields for each stored object."""

    address: Address
    kind: ObjectKind
    payload_size: int
    stored_at_ms: int
    """When it was written, milliseconds since the epoch."""


FindDataKey = Callable[[bytes], DataKey]
"""The data key of an id, for reading what it encrypted. Raises KeyHiddenError if it was destroyed."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a block is to be encrypted."""

    data_key: DataKey
    digest: Digest
    """Of the plaintext: it is sealed with the block."""


class BlockBuffer(Protocol):
    """A borrowed buffer for one block, laid out so that the block can be stored from it without a copy."""

    payload: memoryview
    """The block's 524,288 bytes, writable."""
    digest: Digest
    """Of the block, once it has been read into this buffer by `get_block`."""

    def release(self) -> None:
        """Hand the buffer back; `payload` must not be used after. Calling it twice is harmless."""


class ObjectStore(Protocol):
    """Immutable objects by address. Safe to call from many threads, and from many processes on one store."""

    def borrow_block_buffer(self) -> BlockBuffer:
        """A buffer from a bounded pool; waits a stated time for one, then raises OverloadedError."""

    def put_block(self, address: Address, buffer: BlockBuffer, encryption: Encryption | None = None) -> bool:
        """Store the block in `buffer`; True if it was written, False if it was already there.

        Durable when it returns, in either case. Encrypting is done in the buffer: it does not hold the block any more.
        """

    def put_many(
        self, kind: ObjectKind, objects: Iterable[tuple[Address, bytes]], data_key: DataKey | None = None
    ) -> int:
        """Store small objects, with one sync for many; returns how many were new. Durable when it returns."""

    def get(self, kind: ObjectKind, address: Address) -> bytes:
        """The payload of an object. Raises DamageError if it is missing or not what was written, and KeyHiddenError
        where its data key is gone.
        """

    def get_block(self, address: Address) -> BlockBuffer:
        """A block's bytes, in a buffer that the caller releases. Raises as `get` and `borrow_block_buffer`."""

    def has(self, address: Address) -> bool:
        """Whether an object of this address can be read, according to the index."""

    def remove(self, addresses: Iterable[Address]) -> int:
        """Permanently remove objects that nobody puts or reads any more; return how many existed.

        Durable when it returns: not even a search of all that is stored finds them again.
        """

    def walk(self) -> Iterator[ObjectEntry]:
        """Every stored object, in no particular order."""

    def manifests(self) -> Iterator[Address]:
        """The address of every manifest, in order, those found damaged too."""

    def manifest_count(self) -> int:
        """How many manifests there are, in time that follows their number."""

    def close(self) -> None:
        """Close files and connections."""
