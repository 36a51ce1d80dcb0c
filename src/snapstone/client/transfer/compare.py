"""Differences between two snapshots, or between a snapshot and an image: found in listings, decided by bytes.

Neighbours of one kind are put together as extents, and all of them as totals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, TypeVar

from snapstone.client.api.service import Service
from snapstone.client.api.values import ChangedBlock
from snapstone.client.errors import SourceChangedError
from snapstone.client.events import NullObserver, Observer, Tally
from snapstone.client.images.contract import Source
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.pipeline import StopSignal, ordered
from snapstone.client.transfer.reading import SourceReader
from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, Digest

Work = TypeVar("Work")

Kind = Literal["changed", "added", "removed"]
"""`added`: zeros, or nothing, on the first side; `removed`: on the second; `changed`: neither."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One block that is not the same on both sides."""

    block_index: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class ComparedBlock:
    """One block index that a snapshot, an image or both may hold something at."""

    block_index: int
    token: str | None
    """How to get the snapshot's block; None if it need not be got."""
    digest: Digest
    """Of the snapshot's block, if there is no token: from an index, or that of zeros where the block is absent."""
    in_image: bool
    """Whether the image may hold something other than zeros there."""


def diff_snapshots(
    service: Service,
    first_id: str,
    second_id: str,
    *,
    exact: bool = False,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> Iterator[Difference]:
    """The blocks that differ between two snapshots of one lineage, ascending.

    AWS lists every block that was rewritten, with other bytes or the very same, and a block of zeros as one that is
    there. `exact` gets what is listed, from both sides, and yields only where bytes differ, absent blocks being zeros.
    """
    stop = stop or StopSignal()
    listed = (block for page in service.changed_pages(first_id, second_id) for block in page.blocks)
    if not exact:
        for block in listed:
            yield Difference(block.block_index, _listed_kind(block))
        return

    def digest(snapshot_id: str, block_index: int, token: str | None, buffer: memoryview) -> Digest:
        if token is None:
            return ZERO_DIGEST
        tally.add(moved=1)
        return service.get_block(snapshot_id, block_index, token, buffer, stop=stop)

    def decide(block: ChangedBlock, buffer: memoryview) -> Difference | None:
        first = digest(first_id, block.block_index, block.first_token, buffer)
        second = digest(second_id, block.block_index, block.second_token, buffer)
        return _difference(block.block_index, first, second)

    tally = Tally("diff")
    yield from _decided(service, listed, decide, tally, observer, stop)


def diff_image(
    service: Service,
    snapshot_id: str,
    source: Source,
    *,
    index: DigestTable | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> Iterator[Difference]:
    """The blocks that differ between a snapshot (the first side) and an image, ascending; by bytes, always.

    With the snapshot's digest index nothing is got from the endpoint. Raises SourceChangedError at the end if the
    image was written to in between.
    """

    stop = stop or StopSignal()
    reading = SourceReader(source, stop)

    def decide(pair: ComparedBlock, buffer: memoryview) -> Difference | None:
        difference = compare_pair(service, snapshot_id, reading, pair, buffer, stop)
        tally.add(moved=int(pair.token is not None), unchanged=int(pair.token is None))
        return difference

    tally = Tally("diff")
    before = source.state()
    yield from _decided(service, pair_up(service, snapshot_id, source, index), decide, tally, observer, stop)
    check_unchanged(source, before)


def pair_up(
    service: Service, snapshot_id: str, source: Source, index: DigestTable | None = None
) -> Iterator[ComparedBlock]:
    """Every block index at which a snapshot, or an image, may hold something: ascending, lazily."""
    held = _held(service, snapshot_id, index)
    block = next(held, None)
    for block_index in chain.from_iterable(source.ranges()):
        while block is not None and block.block_index < block_index:
            yield block
            block = next(held, None)
        if block is not None and block.block_index == block_index:
            yield ComparedBlock(block_index, block.token, block.digest, in_image=True)
            block = next(held, None)
        else:
            yield ComparedBlock(block_index, None, ZERO_DIGEST, in_image=True)
    if block is not None:
        yield block
        yield from held


def compare_pair(
    service: Service, snapshot_id: str, reading: SourceReader, pair: ComparedBlock, buffer: memoryview, stop: StopSignal
) -> Difference | None:
    """Read what is needed of a pair, the image first, and return whether it differs."""
    image = reading.read(pair.block_index, buffer) if pair.in_image else ZERO_DIGEST
    held = pair.digest
    if pair.token is not None:
        held = service.get_block(snapshot_id, pair.block_index, pair.token, buffer, stop=stop)
    return _difference(pair.block_index, held, image)


def check_unchanged(source: Source, before: object) -> None:
    """Raise SourceChangedError if an image's state is another than before."""
    if source.state() != before:
        raise SourceChangedError(
            f"{source.name} changed while it was compared, so the result is meaningless: "
            "compare a frozen copy, or stop whatever writes to it"
        )


def _held(service: Service, snapshot_id: str, index: DigestTable | None) -> Iterator[ComparedBlock]:
    """A snapshot's blocks, as pairs whose image side is empty."""
    if index is not None:
        return (ComparedBlock(block_index, None, digest, in_image=False) for block_index, digest in index.items())
    blocks = chain.from_iterable(page.blocks for page in service.block_pages(snapshot_id))
    return (ComparedBlock(block.block_index, block.token, ZERO_DIGEST, in_image=False) for block in blocks)


def _listed_kind(block: ChangedBlock) -> Kind:
    if block.first_token is None:
        return "added"
    return "removed" if block.second_token is None else "changed"


def _difference(block_index: int, first: Digest, second: Digest) -> Difference | None:
    if first == second:
        return None
    if first == ZERO_DIGEST:
        return Difference(block_index, "added")
    return Difference(block_index, "removed" if second == ZERO_DIGEST else "changed")


def _decided(
    service: Service,
    work: Iterable[Work],
    decide: Callable[[Work, memoryview], Difference | None],
    tally: Tally,
    observer: Observer | None,
    stop: StopSignal,
) -> Iterator[Difference]:
    """The differences that `decide` finds, in the order of the work."""
    observer = observer or NullObserver()
    options = service.options
    observer.begin(tally)
    try:
        decisions = ordered(
            work,
            decide,
            worker_count=service.get_workers,
            window=options.max_in_flight,
            stall_seconds=options.stall_seconds,
            stop=stop,
        )
        for _, _, difference in decisions:
            if difference is not None:
                yield difference
    finally:
        observer.end(tally)


@dataclass(frozen=True, slots=True)
class Extent:
    """Neighbouring blocks that differ in the same way."""

    block_index: int
    """Of the first block."""
    block_count: int
    kind: Kind

    @property
    def offset(self) -> int:
        """Byte at which it begins."""
        return self.block_index * BLOCK_SIZE

    @property
    def length(self) -> int:
        """Bytes."""
        return self.block_count * BLOCK_SIZE


@dataclass
class Totals:
    """Totals of all differences."""

    counts: Counter[Kind] = field(default_factory=Counter)
    """Blocks of each kind."""
    extent_count: int = 0
    first_block_index: int | None = None
    last_block_index: int | None = None

    @property
    def block_count(self) -> int:
        """Blocks that differ."""
        return self.counts.total()

    def add(self, extent: Extent) -> None:
        """Count one more; they come in ascending order."""
        self.counts[extent.kind] += extent.block_count
        self.extent_count += 1
        if self.first_block_index is None:
            self.first_block_index = extent.block_index
        self.last_block_index = extent.block_index + extent.block_count - 1


def extents(differences: Iterable[Difference]) -> Iterator[Extent]:
    """The fewest extents that hold all of these differences, which ascend; an extent is given out when it has ended."""
    first, count = Difference(-1, "changed"), 0
    for difference in differences:
        if count and difference.kind == first.kind and difference.block_index == first.block_index + count:
            count += 1
            continue
        if count:
            yield Extent(first.block_index, count, first.kind)
        first, count = difference, 1
    if count:
        yield Extent(first.block_index, count, first.kind)
