"""One page of the block map: a presence bitmap and an address for each present child, named by its content.

A page has space for 512 children. Its bytes are a 64-byte bitmap (child `slot` is present if bit `slot % 8` of byte
`slot // 8` is set), then the 32-byte addresses of the present children in ascending order of slot: 16,448 bytes when
all are present.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final, cast

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError

FANOUT: Final = 512
"""Children of a page."""

BITMAP_SIZE: Final = FANOUT // 8
ENTRY_SIZE: Final = 32

_RUN_ENTRIES: Final = 8
"""Entries that have a fingerprint together."""

_RUN_SIZE: Final = _RUN_ENTRIES * ENTRY_SIZE
_FINGERPRINT_BITS: Final = 64
_ENTRY_BITS: Final = 8 * ENTRY_SIZE
_FINGERPRINTS_BELOW: Final = tuple((1 << run * _FINGERPRINT_BITS) - 1 for run in range(FANOUT // _RUN_ENTRIES))
_ENTRIES_BELOW: Final = tuple((1 << entry * _ENTRY_BITS) - 1 for entry in range(_RUN_ENTRIES))
"""For each run, the bits of the fingerprints before it; for each entry of one, the bits of those before it."""

_number: Final = int.from_bytes
_FULL: Final = (1 << FANOUT) - 1
_ALL_SLOTS: Final = tuple(range(FANOUT))

Difference = tuple[int, Address | None, Address | None]
"""A slot, and what the first and the second page hold there; None if absent."""


class Page:
    """An immutable page. Equal content has equal `address`, so equal subtrees have equal names."""

    __slots__ = ("_fingerprints", "bitmap", "compared", "content")

    def __init__(self, content: bytes) -> None:
        """Raises DamageError if `content` cannot be a page."""
        self.content = content
        self.bitmap = int.from_bytes(content[:BITMAP_SIZE], "little")
        self._fingerprints: int | None = None
        self.compared: tuple[Address, list[Difference]] | None = None
        """Its last comparison and the result, if worth caching (core.block_map)."""
        if len(content) != BITMAP_SIZE + ENTRY_SIZE * self.bitmap.bit_count():
            raise DamageError(sha256(content).hexdigest(), f"a page of {len(content)} bytes does not match its bitmap")

    @property
    def address(self) -> Address:
        """The page's name: SHA-256 of its content."""
        return Address(sha256(self.content).digest())

    @property
    def fingerprints(self) -> int:
        """The fingerprints of the page's runs of entries, made when they are first requested."""
        if self._fingerprints is None:
            self._fingerprints = _fingerprints(self.content)
        return self._fingerprints

    def __len__(self) -> int:
        """Present children."""
        return self.bitmap.bit_count()

    def child(self, slot: int) -> Address | None:
        """The address in a slot, or None if there is none."""
        if not self.bitmap >> slot & 1:
            return None
        rank = (self.bitmap & ((1 << slot) - 1)).bit_count()
        return self._entry(rank)

    def children(self, from_slot: int = 0) -> Iterator[tuple[int, Address]]:
        """The present children from a slot on, in ascending order."""
        slots = self.slots()
        first = (self.bitmap & ((1 << from_slot) - 1)).bit_count()
        for rank in range(first, len(slots)):
            yield slots[rank], self._entry(rank)

    def slots(self) -> tuple[int, ...]:
        """The slots of the present children, ascending."""
        if self.bitmap == _FULL:
            return _ALL_SLOTS
        return tuple(slot for slot in _ALL_SLOTS if self.bitmap >> slot & 1)

    def with_children(self, changes: Mapping[int, Address]) -> Page:
        """A page with some children set; the others stay."""
        if all(self.bitmap >> slot & 1 for slot in changes):
            return self._with_replaced(changes)
        children = dict(self.children())
        children.update(changes)
        bitmap = sum(1 << slot for slot in children)
        entries = b"".join(children[slot] for slot in sorted(children))
        return Page(bitmap.to_bytes(BITMAP_SIZE, "little") + entries)

    def differences(self, other: Page) -> list[Difference]:
        """The slots in which two pages differ, ascending, with what each holds; work follows the differences.

        Where the same children are present, the runs whose fingerprints differ are found, then the entries in them, so
        little of either page is checked. Both are found as bits of a number that holds where two numbers differ, from
        the highest bit down: that is what Python finds without a loop.
        """
        if self.bitmap != other.bitmap:
            return self._differences_of_another_shape(other)
        mine, theirs = self.content, other.content
        slots = _ALL_SLOTS if self.bitmap == _FULL else self.slots()
        found: list[tuple[int, bytes, bytes]] = []
        unequal = (self._fingerprints or self.fingerprints) ^ (other._fingerprints or other.fingerprints)
        while unequal:
            run = (unequal.bit_length() - 1) // _FINGERPRINT_BITS
            unequal &= _FINGERPRINTS_BELOW[run]
            start = BITMAP_SIZE + run * _RUN_SIZE
            end = start + _RUN_SIZE
            unequal_bits = _number(mine[start:end], "little") ^ _number(theirs[start:end], "little")
            while unequal_bits:
                entry = (unequal_bits.bit_length() - 1) // _ENTRY_BITS
                unequal_bits &= _ENTRIES_BELOW[entry]
                at = start + entry * ENTRY_SIZE
                slot = slots[run * _RUN_ENTRIES + entry]
                found.append((slot, mine[at : at + ENTRY_SIZE], theirs[at : at + ENTRY_SIZE]))
        found.reverse()
        return cast(list[Difference], found)

    def _entry(self, rank: int) -> Address:
        start = BITMAP_SIZE + ENTRY_SIZE * rank
        return Address(self.content[start : start + ENTRY_SIZE])

    def _with_replaced(self, changes: Mapping[int, Address]) -> Page:
        content = bytearray(self.content)
        for slot, address in changes.items():
            start = BITMAP_SIZE + ENTRY_SIZE * (self.bitmap & ((1 << slot) - 1)).bit_count()
            content[start : start + ENTRY_SIZE] = address
        return Page(bytes(content))

    def _differences_of_another_shape(self, other: Page) -> list[Difference]:
        mine, theirs = dict(self.children()), dict(other.children())
        return [
            (slot, mine.get(slot), theirs.get(slot))
            for slot in sorted(mine.keys() | theirs.keys())
            if mine.get(slot) != theirs.get(slot)
        ]


def _fingerprints(content: bytes) -> int:
    """A fingerprint of each run of eight entries, side by side in one number: equal runs have equal fingerprints.

    Python's own hash of bytes is SipHash under a key that is random in each process, so nobody can choose blocks whose
    runs have equal fingerprints and are not equal; by chance it happens once in 2**64 pairs.
    """
    starts = range(BITMAP_SIZE, len(content), _RUN_SIZE)
    return int.from_bytes(
        array("q", [hash(content[start : start + _RUN_SIZE]) for start in starts]).tobytes(), "little"
    )


EMPTY_PAGE: Final = Page(bytes(BITMAP_SIZE))
"""The page without children; as a root, the map of a snapshot without blocks."""
