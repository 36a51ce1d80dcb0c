"""A snapshot as a file: every way to read gives the volume's bytes, at the cost of the blocks that hold them."""

from __future__ import annotations

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from snapstone.client import Client
from snapstone.client.errors import DamagedError, NotFoundError, UsageError
from snapstone.client.library.reader import SnapshotReader
from tests.conformance.given import BLOCK_SIZE, A, B, C, completed, failed, started
from tests.server_process import Client as Boto3Client
from tests.unit.client.library.counting import Counting, wait_until

GIB = 1_073_741_824


def numbered(indexes: range) -> dict[int, bytes]:
    """A block for each index whose bytes tell which it is."""
    return {index: index.to_bytes(4, "big") * (BLOCK_SIZE // 4) for index in indexes}


def got(service: Counting, count: int) -> list[int]:
    """The blocks that were got, once there are so many of them."""
    wait_until(lambda: len(service.got) == count)
    return sorted(service.got)


def test_every_read_across_borders_gives_the_bytes_that_were_written(client: Client, ebs: Boto3Client) -> None:
    written = {0: A, 1: B, 4: C}
    volume = b"".join(written.get(index, bytes(BLOCK_SIZE)) for index in range(6))
    choice = random.Random(7)
    with client.open(completed(ebs, written)) as reader:
        for _ in range(200):
            offset = choice.randrange(len(volume))
            length = choice.choice([0, 1, 511, 4_096, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE])
            expected = volume[offset : offset + length].ljust(length, b"\0")
            assert reader.pread(offset, length) == expected
            reader.seek(offset)
            assert reader.read(length) == expected
            assert reader.tell() == offset + length


def test_absent_blocks_read_as_zeros_and_are_not_asked_for(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotReader(service, completed(ebs, {3: A})) as reader:
        assert reader.read(3 * BLOCK_SIZE) == bytes(3 * BLOCK_SIZE)
        assert reader.pread(GIB - 5, 100) == bytes(5)
    assert service.got == []


def test_the_end_is_the_volumes_and_nothing_is_behind_it(client: Client, ebs: Boto3Client) -> None:
    with client.open(completed(ebs, {2047: A}, VolumeSize=1)) as reader:
        assert (reader.size, reader.seek(0, io.SEEK_END)) == (GIB, GIB)
        assert reader.read() == b""
        assert reader.read(1) == b""
        assert reader.seek(-3, io.SEEK_END) == GIB - 3
        assert reader.read(10) == A[-3:]
        assert reader.seek(-2, io.SEEK_CUR) == GIB - 2
        assert reader.readall() == A[-2:]
        assert reader.seek(GIB + 10) == GIB + 10
        assert reader.read(1) == b""
        assert reader.pread(GIB + 10, 1) == b""
        with pytest.raises(ValueError, match="before the beginning: -1"):
            reader.seek(-1)
        with pytest.raises(ValueError, match="not be negative"):
            reader.pread(-1, 1)


def test_it_is_a_file_for_who_wants_lines_or_text(client: Client, ebs: Boto3Client) -> None:
    with client.open(completed(ebs, {0: A, 1: B})) as reader:
        assert (reader.readable(), reader.seekable(), reader.writable()) == (True, True, False)
        buffered = io.BufferedReader(reader)
        assert buffered.readline() == b"stackd-ebs-synthetic-a\n"
        assert buffered.peek(6)[:6] == b"stackd"
        buffered.seek(0)
        text = io.TextIOWrapper(buffered, "ascii")
        assert [next(text) for _ in range(2)] == ["stackd-ebs-synthetic-a\n"] * 2
        text.detach()
        buffered.detach()


def test_readinto_fills_buffers_of_any_kind(client: Client, ebs: Boto3Client) -> None:
    with client.open(completed(ebs, {0: A})) as reader:
        words = memoryview(bytearray(64)).cast("I")
        assert reader.readinto(words) == 64
        assert words.tobytes() == A[:64]


def test_a_read_of_one_block_lists_one_page_and_gets_one_block(client: Client, ebs: Boto3Client) -> None:
    snapshot_id = completed(ebs, {0: A, 134_217_727: B}, VolumeSize=65_536)
    service = Counting(client.service)
    with SnapshotReader(service, snapshot_id) as reader:
        assert reader.size == 2**46
        assert reader.pread(2**46 - 3, 3) == B[-3:]
    assert (service.got, service.page_count) == ([134_217_727], 1)


def test_blocks_are_kept_up_to_the_limit_of_the_cache(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    snapshot_id = completed(ebs, numbered(range(4)))
    with SnapshotReader(service, snapshot_id, cache_block_count=3, read_ahead_count=0) as reader:
        for index in (0, 1, 2, 0, 3, 0, 2, 1):
            assert reader.pread(index * BLOCK_SIZE, 4) == index.to_bytes(4, "big")
    assert service.got == [0, 1, 2, 3, 1]


def test_small_reads_of_one_block_get_it_once(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotReader(service, completed(ebs, {0: A, 1: B})) as reader:
        assert b"".join(reader.read(4_096) for _ in range(BLOCK_SIZE // 4_096)) == A
    assert service.got.count(0) == 1


def test_who_jumps_is_not_read_ahead_of(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotReader(service, completed(ebs, numbered(range(40)))) as reader:
        for index in (30, 3, 17, 8):
            reader.pread(index * BLOCK_SIZE, BLOCK_SIZE)
    assert service.got == [30, 3, 17, 8]


def test_who_reads_in_order_is_read_ahead_of_twice_as_far_as_it_came(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotReader(service, completed(ebs, numbered(range(60)))) as reader:
        for read_count, reached in ((1, 1), (1, 4), (1, 7), (17, 26), (1, 37), (1, 38)):
            reader.read(read_count * BLOCK_SIZE)
            assert got(service, reached) == list(range(reached))


def test_holes_push_no_block_out_of_the_cache(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotReader(service, completed(ebs, {0: A, 20: B}), cache_block_count=3, read_ahead_count=1) as reader:
        assert reader.read(20 * BLOCK_SIZE) == A + bytes(19 * BLOCK_SIZE)
        assert reader.pread(0, 10) == A[:10]
    assert service.got == [0]


def test_one_large_read_gets_blocks_in_parallel_and_not_more_than_the_limit(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    snapshot_id = completed(ebs, numbered(range(40)))
    with SnapshotReader(service, snapshot_id, read_ahead_count=4, cache_block_count=9) as reader:
        service.hold.clear()
        opening = threading.Timer(0.5, service.hold.set)
        opening.start()
        assert reader.read(40 * BLOCK_SIZE) == b"".join(numbered(range(40)).values())
        opening.join()
    assert service.most_in_flight == 5
    assert sorted(service.got) == list(range(40))
    ahead = [index for index, thread in zip(service.got, service.getters, strict=True) if thread.startswith("read-")]
    assert sorted(ahead) == list(range(1, 40))


def test_many_threads_read_one_reader_and_each_block_is_got_once(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    snapshot_id = completed(ebs, numbered(range(20)))
    with SnapshotReader(service, snapshot_id) as reader, ThreadPoolExecutor(8) as pool:
        places = [index * BLOCK_SIZE + 400 for index in range(20)] * 8
        random.Random(3).shuffle(places)
        found = pool.map(lambda place: reader.pread(place, 4), places)
        assert list(found) == [(place // BLOCK_SIZE).to_bytes(4, "big") for place in places]
    assert service.doubled == []
    assert sorted(service.got) == list(range(20))


def test_damage_is_raised_and_not_remembered(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    with SnapshotReader(service, completed(ebs, {0: A})) as reader:
        service.failures[0] = DamagedError("block 0")
        with pytest.raises(DamagedError, match="block 0"):
            reader.read(1)
        assert reader.tell() == 0
        assert reader.read(3) == A[:3]


def test_a_closed_reader_reads_nothing(client: Client, ebs: Boto3Client) -> None:
    reader = client.open(completed(ebs, {0: A}))
    reader.close()
    reader.close()
    for call in (reader.tell, lambda: reader.read(1), lambda: reader.pread(0, 1), lambda: reader.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_closing_ends_a_read_in_another_thread(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    reader = SnapshotReader(service, completed(ebs, numbered(range(30))), read_ahead_count=2)
    service.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader.read, 30 * BLOCK_SIZE)
        wait_until(lambda: service.in_flight == 3)
        reader.close()
        service.hold.set()
        with pytest.raises(UsageError, match="closed"):
            reading.result()


def test_what_cannot_be_read_is_not_found_when_it_is_opened(client: Client, ebs: Boto3Client) -> None:
    for snapshot_id in (started(ebs), failed(ebs), "snap-0123456789abcdef0"):
        with pytest.raises(NotFoundError, match=snapshot_id):
            client.open(snapshot_id)


def test_a_read_ahead_that_does_not_fit_into_the_cache_is_refused(client: Client, ebs: Boto3Client) -> None:
    with pytest.raises(UsageError, match="less than half of the cache's 8"):
        client.open(completed(ebs, {}), cache_block_count=8, read_ahead_count=4)
