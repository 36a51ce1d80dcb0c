"""Standard input as a source."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from snapstone.client.errors import UsageError
from snapstone.client.images.sources import RANGE_BLOCK_COUNT, StreamSource
from snapstone.core.blocks import BLOCK_SIZE

Feed = Callable[[bytes, int], StreamSource]


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A stream of a said size, into which a thread writes."""
    sources: list[StreamSource] = []
    threads: list[threading.Thread] = []

    def pour(fd: int, content: bytes) -> None:
        with suppress(BrokenPipeError), os.fdopen(fd, "wb") as pipe:
            pipe.write(content)

    def start(content: bytes, size: int) -> StreamSource:
        read_fd, write_fd = os.pipe()
        threads.append(threading.Thread(target=pour, args=(write_fd, content)))
        threads[-1].start()
        sources.append(StreamSource(read_fd, "-", size))
        return sources[-1]

    yield start
    for source in sources:
        source.close()
    for thread in threads:
        thread.join()


def test_blocks_come_in_order_and_the_last_has_zeros_behind_it(feed: Feed, into: memoryview) -> None:
    content = os.urandom(2 * BLOCK_SIZE + 5)
    source = feed(content, len(content))
    assert list(source.ranges()) == [range(3)]
    got = b""
    for block_index in range(3):
        source.read(block_index, into)
        got += bytes(into)
    assert got == content + bytes(BLOCK_SIZE - 5)


def test_zeros_follow_a_stream_that_ends_early(feed: Feed, into: memoryview) -> None:
    source = feed(b"abc", 4 * BLOCK_SIZE)
    source.read(0, into)
    assert bytes(into) == b"abc" + bytes(BLOCK_SIZE - 3)
    source.read(3, into)
    assert bytes(into) == bytes(BLOCK_SIZE)


def test_no_more_ranges_are_named_after_the_end(feed: Feed, into: memoryview) -> None:
    source = feed(b"abc", 8 << 40)
    ranges = source.ranges()
    assert next(ranges) == range(RANGE_BLOCK_COUNT)
    source.read(0, into)
    assert list(ranges) == []


def test_the_ranges_of_a_long_stream_leave_nothing_out(feed: Feed) -> None:
    source = feed(b"", 300 * BLOCK_SIZE)
    assert list(source.ranges()) == [range(128), range(128, 256), range(256, 300)]


@pytest.mark.parametrize("size", [BLOCK_SIZE, BLOCK_SIZE - 1])
def test_a_stream_longer_than_said_is_refused(feed: Feed, into: memoryview, size: int) -> None:
    source = feed(bytes(size + 1), size)
    with pytest.raises(UsageError, match=f"more than the {size} bytes"):
        source.read(0, into)


def test_a_stream_is_held_to_its_size_in_its_last_block_too(feed: Feed, into: memoryview) -> None:
    source = feed(bytes(BLOCK_SIZE + 6), BLOCK_SIZE + 5)
    source.read(0, into)
    with pytest.raises(UsageError, match=f"more than the {BLOCK_SIZE + 5} bytes"):
        source.read(1, into)


def test_blocks_that_are_left_out_are_thrown_away(feed: Feed, into: memoryview) -> None:
    content = os.urandom(3 * BLOCK_SIZE)
    source = feed(content, len(content))
    source.read(2, into)
    assert into == content[2 * BLOCK_SIZE :]


def test_a_block_that_has_gone_by_is_refused(feed: Feed, into: memoryview) -> None:
    source = feed(bytes(2 * BLOCK_SIZE), 2 * BLOCK_SIZE)
    source.read(0, into)
    with pytest.raises(UsageError, match="block 0 of - was already read"):
        source.read(0, into)


def test_nothing_is_known_of_its_state(feed: Feed) -> None:
    source = feed(b"", BLOCK_SIZE)
    assert source.state() == {}
    assert source.sequential
