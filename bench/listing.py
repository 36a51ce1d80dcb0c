"""What a page of a listing costs on a volume a thousand times as large: it should cost the same."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.blocks import DistinctBlocks
from bench.connection import WrongAnswerError
from bench.ebs import Client, changed_head, list_head
from bench.report import Bound, Line
from bench.run import Run, new_seed, settle
from bench.signing import Signer
from bench.snapstone_server import SnapstoneServer
from bench.volumes import CONTENT_COUNT, seal_as_full
from snapstone.core.blocks import BLOCKS_PER_GIB, Address

TARGET_MS: Final = Bound("<", 30)
RATIO_TARGET: Final = Bound("≤", 1.5)
DEFAULT_PAGE_COUNT: Final = 10_000
SHORT_PAGE_COUNT: Final = 1000


@dataclass(frozen=True, slots=True)
class Volume:
    """A full volume, and a child of it with a few blocks changed."""

    size_gib: int
    parent_id: str
    child_id: str
    changed: tuple[int, ...]
    """Block indexes that differ, ascending."""

    @property
    def middle(self) -> int:
        """The block index half-way: listings start there, where no level of the map begins with its first page."""
        return self.size_gib * BLOCKS_PER_GIB // 2

    def __str__(self) -> str:
        return f"{self.size_gib // 1024} TiB" if self.size_gib >= 1024 else f"{self.size_gib} GiB"


@dataclass(frozen=True, slots=True)
class Query:
    """A page of a listing: how it is requested, and which block indexes it must hold."""

    name: str
    member: str
    head: Callable[[Signer, Volume], bytes]
    expected: Callable[[Volume], list[int]]


def measure(run: Run) -> list[Line]:
    """Pages of both listings on a large and on a small volume, in turn."""
    sizes = run.sizes
    with run.folder("listing") as folder:
        data = folder / "data"
        parents = _start_full(data, (sizes.large_volume_gib, sizes.small_volume_gib))
        with SnapstoneServer(data) as server:
            client = Client(server.endpoint)
            volumes = [_change(client, size_gib, parent_id, sizes.change_count) for size_gib, parent_id in parents]
        settle()
        lines = []
        for query in _queries(sizes.change_count):
            lines += _compare(data, query, volumes, sizes.listing_repeat_count)
        return lines


def _start_full(data: Path, sizes_gib: tuple[int, ...]) -> list[tuple[int, str]]:
    """Full volumes of these sizes; returns size and snapshot of each."""
    blocks = DistinctBlocks(new_seed())
    contents = [Address(blocks.digest(number)) for number in range(CONTENT_COUNT)]
    with SnapstoneServer(data) as server:
        client = Client(server.endpoint)
        snapshot_ids = [client.start_snapshot(size_gib) for size_gib in sizes_gib]
        for snapshot_id in snapshot_ids:
            for number in range(CONTENT_COUNT):
                client.put_block(snapshot_id, number, b"".join(blocks.pieces(number)))
    seal_as_full(data, snapshot_ids, contents)
    return list(zip(sizes_gib, snapshot_ids, strict=True))


def _change(client: Client, size_gib: int, parent_id: str, change_count: int) -> Volume:
    """A child with new content at random indexes, written and sealed as any client would."""
    seed = new_seed()
    blocks = DistinctBlocks(seed)
    changed = sorted(random.Random(seed).sample(range(size_gib * BLOCKS_PER_GIB), change_count))
    child_id = client.start_snapshot(size_gib, parent_id)
    for number, block_index in enumerate(changed):
        client.put_block(child_id, block_index, b"".join(blocks.pieces(number)))
    client.complete_snapshot(child_id, change_count)
    return Volume(size_gib, parent_id, child_id, tuple(changed))


def _queries(change_count: int) -> list[Query]:
    def listing(name: str, entry_count: int, **parameters: str) -> Query:
        return Query(
            f"ListSnapshotBlocks, {name}",
            "Blocks",
            lambda signer, v: list_head(signer, v.parent_id, startingBlockIndex=str(v.middle), **parameters),
            lambda v: list(range(v.middle, v.middle + entry_count)),
        )

    return [
        Query(
            f"ListChangedBlocks, {change_count:,} scattered changes",
            "ChangedBlocks",
            lambda signer, v: changed_head(signer, v.parent_id, v.child_id),
            lambda v: list(v.changed),
        ),
        listing(f"page of {DEFAULT_PAGE_COUNT:,}", DEFAULT_PAGE_COUNT),
        listing(f"page of {SHORT_PAGE_COUNT:,}", SHORT_PAGE_COUNT, maxResults=str(SHORT_PAGE_COUNT)),
    ]


def _compare(data: Path, query: Query, volumes: list[Volume], repeat_count: int) -> list[Line]:
    """Times of one query on a server just started: the first call, then alternating warm ones."""
    times: dict[Volume, list[float]] = {volume: [] for volume in volumes}
    with SnapstoneServer(data) as server:
        client = Client(server.endpoint)
        client.start_snapshot(1)
        for _ in range(1 + repeat_count):
            for volume in volumes:
                times[volume].append(_timed_ms(client, query, volume))
    large, small = volumes
    cold = {volume: taken.pop(0) for volume, taken in times.items()}
    return [
        Line(f"{query.name}, {large}", "ms", times[large], TARGET_MS, str(small), times[small], RATIO_TARGET),
        Line(f"{query.name}, {small}", "ms", times[small], TARGET_MS),
        Line(f"{query.name}, {large}, first call", "ms", [cold[large]], None, str(small), [cold[small]]),
    ]


def _timed_ms(client: Client, query: Query, volume: Volume) -> float:
    head = query.head(client.signer(), volume)
    begun = time.perf_counter()
    answer = client.connection.exchange([head])
    taken_ms = 1000 * (time.perf_counter() - begun)
    page = json.loads(bytes(answer.body))
    if answer.status != 200 or [entry["BlockIndex"] for entry in page[query.member]] != query.expected(volume):
        raise WrongAnswerError(f"{query.name} of {volume} answered {answer.status} with other blocks than it should")
    return taken_ms
