"""What differs: between snapshots as listed and as bytes, and between a snapshot and an image."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Literal

import pytest

from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.api.values import ChangedBlock, ChangePage
from snapstone.client.errors import NotFoundError, RemoteError, SourceChangedError
from snapstone.client.transfer.compare import Difference, diff_image, diff_snapshots
from snapstone.client.transfer.digests import DigestTable
from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, digest_of
from tests.conformance.given import ZERO, A, B, C, completed, started
from tests.server_process import Client, ServerProcess
from tests.unit.client.transfer.two_sides import Memory, MemoryImage, endpoint_of, service_of

GIB = 2**30
BLOCKS = {0: A, 1: B, 2: C, 3: ZERO}


@pytest.fixture(scope="module")
def ebs(server: ServerProcess) -> Client:
    return server.client("ebs")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> Iterator[Service]:
    with service_of(server) as made:
        yield made


class EagerLister(Service):
    """Lists as AWS does: blocks that were rewritten with the very same bytes, too."""

    def changed_pages(self, first_id: str, second_id: str, starting_block_index: int = 0) -> Iterator[ChangePage]:
        changed = {
            block.block_index: block
            for page in super().changed_pages(first_id, second_id, starting_block_index)
            for block in page.blocks
        }
        first, second = (
            {block.block_index: block.token for page in self.block_pages(snapshot_id) for block in page.blocks}
            for snapshot_id in (first_id, second_id)
        )
        for index in first.keys() & second.keys():
            changed.setdefault(index, ChangedBlock(index, first[index], second[index]))
        yield ChangePage(1, tuple(changed[index] for index in sorted(changed)))


def expected(first: Mapping[int, bytes], second: Mapping[int, bytes]) -> list[Difference]:
    """By the definition: bytes against bytes, absent blocks being zeros."""
    found: list[Difference] = []
    for index in sorted(first.keys() | second.keys()):
        one, two = first.get(index, ZERO), second.get(index, ZERO)
        if one != two:
            kind: Literal["changed", "added", "removed"] = "changed"
            if one == ZERO:
                kind = "added"
            elif two == ZERO:
                kind = "removed"
            found.append(Difference(index, kind))
    return found


class TestSnapshots:
    def test_a_child_changes_and_adds(self, ebs: Client, service: Service) -> None:
        parent = completed(ebs, {0: A, 5: A, 9: A})
        child = completed(ebs, {5: B, 7: C}, ParentSnapshotId=parent)
        assert list(diff_snapshots(service, parent, child)) == [Difference(5, "changed"), Difference(7, "added")]

    def test_backwards_what_was_added_is_removed(self, ebs: Client, service: Service) -> None:
        parent = completed(ebs, {0: A})
        child = completed(ebs, {7: C}, ParentSnapshotId=parent)
        assert list(diff_snapshots(service, child, parent)) == [Difference(7, "removed")]

    def test_a_snapshot_does_not_differ_from_itself(self, ebs: Client, service: Service) -> None:
        snapshot_id = completed(ebs, {0: A})
        assert list(diff_snapshots(service, snapshot_id, snapshot_id)) == []
        assert list(diff_snapshots(service, snapshot_id, snapshot_id, exact=True)) == []

    def test_exactly_zeros_that_are_there_equal_zeros_that_are_not(self, ebs: Client, service: Service) -> None:
        parent = completed(ebs, {0: A, 1: ZERO})
        child = completed(ebs, {0: ZERO, 2: ZERO, 3: B}, ParentSnapshotId=parent)
        listed = [Difference(0, "changed"), Difference(2, "added"), Difference(3, "added")]
        assert list(diff_snapshots(service, parent, child)) == listed
        exact = [Difference(0, "removed"), Difference(3, "added")]
        assert list(diff_snapshots(service, parent, child, exact=True)) == exact

    def test_exactly_blocks_rewritten_with_the_same_bytes_are_equal(self, server: ServerProcess, ebs: Client) -> None:
        parent = completed(ebs, {0: A, 1: B, 2: C})
        child = completed(ebs, {0: A, 1: A}, ParentSnapshotId=parent)
        with EagerLister(endpoint_of(server), Options(max_in_flight=4)) as eager:
            listed = [Difference(0, "changed"), Difference(1, "changed"), Difference(2, "changed")]
            assert list(diff_snapshots(eager, parent, child)) == listed
            assert list(diff_snapshots(eager, parent, child, exact=True)) == [Difference(1, "changed")]

    def test_strangers_cannot_be_compared(self, ebs: Client, service: Service) -> None:
        first, second = completed(ebs, {0: A}), completed(ebs, {0: A})
        with pytest.raises(RemoteError, match="UNRELATED_SNAPSHOTS"):
            list(diff_snapshots(service, first, second))

    def test_a_pending_snapshot_is_not_found(self, ebs: Client, service: Service) -> None:
        with pytest.raises(NotFoundError):
            list(diff_snapshots(service, completed(ebs, {}), started(ebs)))

    @pytest.mark.parametrize("seed", range(4))
    def test_random_generations_differ_as_their_bytes_do(self, server: ServerProcess, ebs: Client, seed: int) -> None:
        chance = random.Random(seed)
        first = {index: BLOCKS[chance.randrange(4)] for index in chance.sample(range(40), 15)}
        written = {index: BLOCKS[chance.randrange(4)] for index in chance.sample(range(40), 15)}
        parent = completed(ebs, first)
        child = completed(ebs, written, ParentSnapshotId=parent)
        second = first | written
        with EagerLister(endpoint_of(server), Options(max_in_flight=4)) as eager:
            assert list(diff_snapshots(eager, parent, child, exact=True)) == expected(first, second)
            assert list(diff_snapshots(eager, child, parent, exact=True)) == expected(second, first)


class TestImage:
    def test_changed_added_removed_and_equal_blocks(self, ebs: Client, service: Service) -> None:
        snapshot_id = completed(ebs, {0: A, 1: B, 2: C, 3: ZERO, 4: ZERO})
        image = MemoryImage({0: A, 1: C, 3: ZERO, 4: A, 6: B, 7: ZERO}, GIB)
        found = list(diff_image(service, snapshot_id, image))
        assert found == [
            Difference(1, "changed"),
            Difference(2, "removed"),
            Difference(4, "added"),
            Difference(6, "added"),
        ]

    def test_blocks_past_the_end_of_either_are_zeros(self, ebs: Client, service: Service) -> None:
        snapshot_id = completed(ebs, {0: A, 2047: B})
        small = MemoryImage({0: A}, BLOCK_SIZE)
        assert list(diff_image(service, snapshot_id, small)) == [Difference(2047, "removed")]
        large = MemoryImage({0: A, 2047: B, 2048: C}, 2 * GIB)
        assert list(diff_image(service, snapshot_id, large)) == [Difference(2048, "added")]

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("sequential", [False, True])
    def test_random_images_differ_as_their_bytes_do(
        self, ebs: Client, service: Service, tmp_path: Path, seed: int, sequential: bool
    ) -> None:
        chance = random.Random(seed)
        held = {index: BLOCKS[chance.randrange(4)] for index in chance.sample(range(40), 15)}
        here = {index: BLOCKS[chance.randrange(4)] for index in chance.sample(range(40), 15)}
        snapshot_id = completed(ebs, held)
        image = MemoryImage(here, 40 * BLOCK_SIZE, sequential=sequential)
        assert list(diff_image(service, snapshot_id, image)) == expected(held, here)
        if sequential:
            assert image.read_indexes == list(range(40))
        with DigestTable.create(tmp_path / "index", 2048, {}) as index:
            for block_index, data in held.items():
                index.record(block_index, digest_of(data))
            again = MemoryImage(here, 40 * BLOCK_SIZE, sequential=sequential)
            assert list(diff_image(service, snapshot_id, again, index=index)) == expected(held, here)

    def test_with_an_index_nothing_is_got(self, service: Service, tmp_path: Path) -> None:
        memory = Memory()
        with DigestTable.create(tmp_path / "index", 2048, {}) as index:
            index.record(0, digest_of(A))
            index.record(9, ZERO_DIGEST)
            image = MemoryImage({0: B}, GIB)
            found = list(diff_image(service, "snap-00000000000000000", image, index=index, observer=memory))
        assert found == [Difference(0, "changed")]
        (tally,) = memory.ended
        assert (tally.moved_count, tally.visited_count) == (0, 2)

    def test_holes_of_the_image_are_not_read(self, ebs: Client, service: Service) -> None:
        image = MemoryImage({5: A}, GIB)
        assert list(diff_image(service, completed(ebs, {0: B, 5: A}), image)) == [Difference(0, "removed")]
        assert image.read_indexes == [5]

    def test_an_image_written_to_meanwhile_is_said(self, ebs: Client, service: Service) -> None:
        image = MemoryImage({0: B}, GIB)
        differences = diff_image(service, completed(ebs, {0: A}), image)
        assert next(differences) == Difference(0, "changed")
        image.version += 1
        with pytest.raises(SourceChangedError, match="memory changed while it was compared"):
            next(differences)

    def test_leaving_early_ends_the_work(self, ebs: Client, service: Service) -> None:
        memory = Memory()
        image = MemoryImage(dict.fromkeys(range(100), B), GIB)
        differences = diff_image(service, completed(ebs, {}), image, observer=memory)
        assert isinstance(differences, Generator)
        next(differences)
        differences.close()
        assert len(memory.ended) == 1
        assert len(image.read_indexes) < 100
