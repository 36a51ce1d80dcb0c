"""A snapshot as a file to write: what was written is what is sealed, once, or nothing is left."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import random
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snapstone.client import Client
from snapstone.client.api.service import Service
from snapstone.client.errors import DamagedError, DeniedError, NotFoundError, RemoteError, UnreachableError, UsageError
from snapstone.client.events import Note, Tally
from snapstone.client.library.composing import HELD_BLOCK_COUNT
from snapstone.client.library.writer import WORKER_COUNT, SnapshotWriter
from snapstone.core.blocks import Digest
from tests.conformance.given import BLOCK_SIZE, ZERO, A, B, C, completed, content, started
from tests.server_process import Client as Boto3Client
from tests.unit.client.library.counting import Counting, wait_until

GIB = 1_073_741_824
MANY = HELD_BLOCK_COUNT + 2 * WORKER_COUNT
"""Blocks enough for some to have been sent before all are written."""


def numbered(index: int) -> bytes:
    """A block whose bytes tell its index."""
    return index.to_bytes(4, "big") * (BLOCK_SIZE // 4)


def write_numbered(writer: SnapshotWriter, indexes: Iterable[int]) -> None:
    """Write a block for each index."""
    for index in indexes:
        writer.write_block(index, numbered(index))


class AccidentError(Exception):
    """What ends a writer's work before its end."""


def write_half(file: SnapshotWriter | io.BufferedWriter[SnapshotWriter]) -> None:
    """Write enough for blocks to be sent, and fail."""
    for index in range(MANY):
        file.write(numbered(index))
    raise AccidentError


class Miscounting(Counting):
    """Says one block more than there are when it completes."""

    def complete_snapshot(self, snapshot_id: str, changed_block_count: int, aggregate: Digest) -> str:
        return super().complete_snapshot(snapshot_id, changed_block_count + 1, aggregate)


class Undeletable(Counting):
    """Denies deletion, and writes down what an observer is told."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.notes: list[Note] = []
        self.observer = self

    def delete_snapshot(self, snapshot_id: str) -> None:
        raise DeniedError("not yours")

    def begin(self, tally: Tally) -> None:
        """Nothing to write down."""

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def end(self, tally: Tally) -> None:
        """Nothing to write down."""


def states(client: Client) -> dict[str, str]:
    """What snapshots there are, and in which state."""
    return {one.snapshot_id: one.state for one in client.snapshots()}


def test_whole_blocks_are_sealed_when_the_with_block_ends(client: Client, ebs: Boto3Client) -> None:
    with client.create(1, description="by hand", tags={"k": "v"}) as writer:
        assert states(client)[writer.snapshot_id] == "pending"
        writer.write_block(2047, A)
        writer.write_block(0, B)
        writer.write_block(5, ZERO)
    assert content(ebs, writer.snapshot_id) == {0: B, 5: ZERO, 2047: A}
    described = client.describe(writer.snapshot_id)
    assert (described.state, described.description, described.tags) == ("completed", "by hand", {"k": "v"})
    assert writer.closed


def test_the_last_of_several_writes_to_a_block_counts(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotWriter(service, volume_size_gib=1) as writer:
        writer.write_block(3, A)
        for index in range(10, 10 + HELD_BLOCK_COUNT):
            writer.write_block(index, numbered(index))
        writer.write_block(3, B)
        for index in range(10, 10 + HELD_BLOCK_COUNT):
            writer.write_block(index, numbered(index))
        writer.write_block(3, C)
    assert content(ebs, writer.snapshot_id)[3] == C
    sent = [digest for index, digest in service.put if index == 3]
    assert sent == [hashlib.sha256(data).digest() for data in (A, B, C)]


def test_blocks_are_sent_in_parallel_and_memory_is_bounded(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    service.hold.clear()
    with SnapshotWriter(service, volume_size_gib=1) as writer, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_numbered, writer, range(MANY))
        wait_until(lambda: service.in_flight == WORKER_COUNT)
        assert not writing.done()
        service.hold.set()
        writing.result()
    assert service.most_in_flight == WORKER_COUNT
    assert content(ebs, writer.snapshot_id) == {index: numbered(index) for index in range(MANY)}


def test_pieces_in_any_order_make_the_volume_that_a_buffer_would_be(client: Client, tmp_path: Path) -> None:
    volume = bytearray(6 * BLOCK_SIZE)
    choice = random.Random(11)
    with client.create(1, spill_folder=tmp_path) as writer:
        for _ in range(60):
            size = choice.choice([1, 100, 4_096, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE])
            offset = choice.randrange(len(volume) - size)
            piece = bytes(size) if choice.random() < 0.3 else choice.randbytes(size)
            volume[offset : offset + size] = piece
            assert writer.pwrite(offset, piece) == size
    with client.open(writer.snapshot_id) as reader:
        assert reader.read(len(volume)) == volume
    assert list(tmp_path.iterdir()) == []


def test_pieces_over_a_parent_keep_the_rest_of_its_blocks(client: Client, ebs: Boto3Client) -> None:
    parent_id = completed(ebs, {0: A, 1: B})
    with client.create(parent_id=parent_id) as writer:
        assert writer.size == GIB
        writer.pwrite(10, b"here")
        writer.pwrite(2 * BLOCK_SIZE + 7, b"there")
    there = bytes(7) + b"there" + bytes(BLOCK_SIZE - 12)
    assert content(ebs, writer.snapshot_id) == {0: A[:10] + b"here" + A[14:], 1: B, 2: there}


def test_a_larger_child_is_written_behind_its_parents_end(client: Client, ebs: Boto3Client) -> None:
    with client.create(2, parent_id=completed(ebs, {0: A})) as writer:
        writer.pwrite(2 * GIB - 3, b"end")
    assert content(ebs, writer.snapshot_id) == {0: A, 4095: bytes(BLOCK_SIZE - 3) + b"end"}


def test_zeros_make_a_block_only_where_something_is(client: Client, ebs: Boto3Client) -> None:
    with client.create(parent_id=completed(ebs, {0: A, 1: A})) as writer:
        writer.pwrite(0, ZERO)
        writer.pwrite(BLOCK_SIZE, bytes(10))
        writer.pwrite(2 * BLOCK_SIZE, bytes(20 * BLOCK_SIZE + 5))
    assert content(ebs, writer.snapshot_id) == {0: ZERO, 1: bytes(10) + A[10:]}


def test_zeros_over_what_was_written_here_are_written(client: Client, ebs: Boto3Client) -> None:
    with client.create(1) as writer:
        writer.pwrite(0, A)
        writer.pwrite(0, ZERO)
        writer.pwrite(BLOCK_SIZE, B)
        writer.pwrite(BLOCK_SIZE + 100, bytes(50))
    assert content(ebs, writer.snapshot_id) == {0: ZERO, 1: B[:100] + bytes(50) + B[150:]}


def test_zeros_over_a_block_that_was_sent_are_sent_too(client: Client, ebs: Boto3Client) -> None:
    with client.create(1) as writer:
        write_numbered(writer, range(1, MANY))
        writer.pwrite(BLOCK_SIZE, ZERO)
    assert content(ebs, writer.snapshot_id)[1] == ZERO


def test_a_block_that_is_written_to_again_and_again_is_held(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    half = HELD_BLOCK_COUNT // 2
    with SnapshotWriter(service, volume_size_gib=1) as writer:
        for turn in range(4):
            writer.pwrite(turn, b"x")
            write_numbered(writer, range(1 + turn * half, 1 + (turn + 1) * half))
    assert [index for index, _ in service.put].count(0) == 1
    assert content(ebs, writer.snapshot_id)[0] == b"xxxx" + bytes(BLOCK_SIZE - 4)


def test_it_is_a_file_that_anything_can_be_copied_into(client: Client, ebs: Boto3Client) -> None:
    with client.create(1) as writer:
        shutil.copyfileobj(io.BytesIO(A + B + b"tail"), writer, 10_000)
        assert writer.tell() == 2 * BLOCK_SIZE + 4
        assert writer.seek(-4, io.SEEK_END) == GIB - 4
        assert writer.write(b"last") == 4
        assert (writer.writable(), writer.seekable(), writer.readable()) == (True, True, False)
    tail, last = b"tail" + bytes(BLOCK_SIZE - 4), bytes(BLOCK_SIZE - 4) + b"last"
    assert content(ebs, writer.snapshot_id) == {0: A, 1: B, 2: tail, 2047: last}


def test_closing_inside_of_a_with_block_leaves_the_decision_to_its_end(client: Client, ebs: Boto3Client) -> None:
    with client.create(1) as writer, io.BufferedWriter(writer, 8_192) as buffered:
        buffered.write(b"through a buffer")
    assert content(ebs, writer.snapshot_id) == {0: b"through a buffer" + bytes(BLOCK_SIZE - 16)}

    with pytest.raises(AccidentError), client.create(1) as writer, io.BufferedWriter(writer) as buffered:
        write_half(buffered)
    assert writer.snapshot_id not in states(client)


def test_complete_seals_without_a_with_block(client: Client, ebs: Boto3Client) -> None:
    writer = client.create(1)
    writer.write(A)
    assert writer.complete() == writer.snapshot_id
    writer.close()
    writer.abort()
    assert content(ebs, writer.snapshot_id) == {0: A}
    for call in (writer.complete, lambda: writer.write(A), lambda: writer.write_block(0, A), writer.tell):
        with pytest.raises(ValueError, match=r"closed|already completed or deleted"):
            call()


def test_nothing_written_seals_an_empty_snapshot_or_a_twin_of_the_parent(client: Client, ebs: Boto3Client) -> None:
    with client.create(1) as empty:
        pass
    assert content(ebs, empty.snapshot_id) == {}
    with client.create(parent_id=completed(ebs, {4: C})) as twin:
        pass
    assert content(ebs, twin.snapshot_id) == {4: C}


def test_an_exception_in_the_with_block_deletes_the_snapshot(client: Client) -> None:
    with pytest.raises(AccidentError), client.create(1) as writer:
        write_half(writer)
    assert writer.snapshot_id not in states(client)
    assert writer.closed


def test_closing_without_completing_deletes_the_snapshot(client: Client) -> None:
    writer = client.create(1)
    writer.write(A)
    writer.close()
    assert writer.snapshot_id not in states(client)


def test_what_a_block_meets_on_its_way_ends_the_writing_and_deletes_the_snapshot(client: Client) -> None:
    service = Counting(client.service)
    service.failures[3] = DamagedError("block 3")
    with pytest.raises(DamagedError, match="block 3"), SnapshotWriter(service, volume_size_gib=1) as writer:
        write_numbered(writer, range(10))
    assert writer.snapshot_id not in states(client)


def test_where_deleting_is_denied_the_observer_is_told_and_the_cause_stays(client: Client) -> None:
    service = Undeletable(client.service)
    with pytest.raises(AccidentError), SnapshotWriter(service, volume_size_gib=1) as writer:
        raise AccidentError
    (note,) = service.notes
    assert (note.kind, note.facts) == ("warning", {"snapshot_id": writer.snapshot_id})
    assert "not yours" in note.message
    client.delete(writer.snapshot_id)


def test_a_start_that_is_refused_leaves_no_file_open(client: Client, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(RemoteError):
            client.create(1, encrypted=False, kms_key_arn="arn:aws:kms:eu-central-1:123456789012:key/none")
        with pytest.raises(UsageError, match=r"spill folder .*/missing: No such file"):
            client.create(1, spill_folder=tmp_path / "missing")
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_an_endpoint_that_cannot_be_reached_is_not_asked_to_delete(client: Client) -> None:
    service = Counting(client.service)
    service.failures[3] = UnreachableError("block 3")
    with pytest.raises(UnreachableError), SnapshotWriter(service, volume_size_gib=1) as writer:
        writer.write_block(3, A)
    assert states(client)[writer.snapshot_id] == "pending"
    client.delete(writer.snapshot_id)


def test_a_snapshot_that_ends_in_error_is_no_success(client: Client, ebs: Boto3Client) -> None:
    service = Miscounting(client.service)
    with pytest.raises(DamagedError, match="ended in error"), SnapshotWriter(service, volume_size_gib=1) as writer:
        writer.write_block(0, A)
    assert writer.snapshot_id not in states(client)


def test_a_snapshot_that_somebody_else_sealed_takes_no_block(client: Client, ebs: Boto3Client) -> None:
    writer = client.create(1)
    ebs.complete_snapshot(SnapshotId=writer.snapshot_id, ChangedBlocksCount=0)
    writer.write_block(0, A)
    with pytest.raises(RemoteError, match="already completed"):
        writer.complete()


def test_who_is_forgotten_seals_nothing_and_warns(client: Client) -> None:
    def begun() -> str:
        writer = client.create(1)
        writer.write(A)
        return writer.snapshot_id

    def forgotten() -> str:
        snapshot_id = begun()
        gc.collect()
        return snapshot_id

    with pytest.warns(ResourceWarning, match="was neither completed nor aborted"):
        snapshot_id = forgotten()
    assert states(client)[snapshot_id] == "pending"
    client.delete(snapshot_id)


def test_a_part_of_a_block_that_left_can_be_changed_only_with_a_spill(client: Client, tmp_path: Path) -> None:
    def write_back_and_forth(writer: SnapshotWriter) -> None:
        write_numbered(writer, range(MANY))
        writer.pwrite(1, b"late")

    with pytest.raises(UsageError, match="pass a spill_folder"), client.create(1) as refused:
        write_back_and_forth(refused)
    assert refused.snapshot_id not in states(client)
    with client.create(1, spill_folder=tmp_path) as writer:
        write_back_and_forth(writer)
    with client.open(writer.snapshot_id) as reader:
        assert reader.read(8) == b"\0late\0\0\0"
        assert reader.read(BLOCK_SIZE - 8) == bytes(BLOCK_SIZE - 8)
        assert reader.read(4) == b"\0\0\0\1"


def test_a_block_on_its_way_can_be_changed_and_arrives_after_what_it_was(client: Client) -> None:
    service = Counting(client.service)
    service.hold.clear()
    with SnapshotWriter(service, volume_size_gib=1) as writer:
        write_numbered(writer, range(5, 5 + HELD_BLOCK_COUNT + 2))
        wait_until(lambda: service.in_flight == 2)
        writer.pwrite(5 * BLOCK_SIZE + 1, b"late")
        opening = threading.Timer(0.3, service.hold.set)
        opening.start()
    opening.join()
    changed = b"\0late" + numbered(5)[5:]
    sent = [digest for index, digest in service.put if index == 5]
    assert sent == [hashlib.sha256(data).digest() for data in (numbered(5), changed)]
    assert service.doubled == []
    with client.open(writer.snapshot_id) as reader:
        assert reader.pread(5 * BLOCK_SIZE, BLOCK_SIZE) == changed


def test_many_threads_write_one_snapshot(client: Client, ebs: Boto3Client) -> None:
    with client.create(1) as writer, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: writer.pwrite(index * 131_072, bytes([index + 1]) * 131_072), range(200)))
    volume = b"".join(bytes([index + 1]) * 131_072 for index in range(200))
    found = content(ebs, writer.snapshot_id)
    assert b"".join(found[index] for index in range(50)) == volume


def test_what_does_not_fit_is_refused(client: Client, ebs: Boto3Client) -> None:
    parent_id = completed(ebs, {}, VolumeSize=2)
    for size in (None, 0, -1, 65_537):
        with pytest.raises(UsageError, match="volume size"):
            client.create(size)
    with pytest.raises(UsageError, match="from 2"):
        client.create(1, parent_id=parent_id)
    with pytest.raises(NotFoundError):
        client.create(parent_id=started(ebs))
    with client.create(1) as writer:
        with pytest.raises(UsageError, match="3 bytes; a block has 524288"):
            writer.write_block(0, b"abc")
        with pytest.raises(UsageError, match="block 2048 is outside"):
            writer.write_block(2048, A)
        with pytest.raises(UsageError, match="block -1 is outside"):
            writer.write_block(-1, A)
        with pytest.raises(UsageError, match="do not fit"):
            writer.pwrite(GIB - 1, b"ab")
        with pytest.raises(UsageError, match="do not fit"):
            writer.pwrite(-1, b"a")
        with pytest.raises(ValueError, match="outside the volume"):
            writer.seek(GIB + 1)
        with pytest.raises(TypeError):
            writer.write_block(0, BLOCK_SIZE)  # type: ignore[arg-type]
    assert content(ebs, writer.snapshot_id) == {}
