"""The pool of block buffers: bounded, aligned, each lent to one borrower at a time."""

from __future__ import annotations

import ctypes
from threading import Timer
from time import monotonic

import pytest

from snapstone.core.errors import OverloadedError
from snapstone.storage.record import (
    BORROW_WAIT_SECONDS,
    ZERO_BLOCK,
    BufferPool,
    RecordBuffer,
    aligned_buffer,
)


def test_the_limits_are_those_that_are_documented() -> None:
    assert BORROW_WAIT_SECONDS == 30


def test_a_buffer_is_a_header_and_a_block_in_one_aligned_stretch() -> None:
    buffer = BufferPool(1).borrow()
    assert (buffer.header.nbytes, buffer.payload.nbytes, buffer.record.nbytes) == (4_096, 524_288, 528_384)
    assert ctypes.addressof(ctypes.c_char.from_buffer(buffer.record)) % 4_096 == 0
    buffer.header[:1], buffer.payload[-1:] = b"h", b"p"
    assert bytes(buffer.record[:1]) == b"h"
    assert bytes(buffer.record[-1:]) == b"p"


def test_no_more_buffers_are_made_than_the_limit() -> None:
    pool = BufferPool(2, wait_seconds=0.01)
    borrowed = [pool.borrow(), pool.borrow()]
    with pytest.raises(OverloadedError) as raised:
        pool.borrow()
    assert raised.value.what == "all 2 block buffers are in use"
    for buffer in borrowed:
        buffer.release()
    assert {id(pool.borrow()), id(pool.borrow())} == {id(buffer) for buffer in borrowed}


def test_the_buffer_handed_back_last_is_lent_first() -> None:
    pool = BufferPool(3)
    first, second = pool.borrow(), pool.borrow()
    first.release()
    second.release()
    assert pool.borrow() is second
    assert pool.borrow() is first


def test_a_borrower_waits_for_a_buffer_that_comes_free_in_time() -> None:
    pool = BufferPool(1, wait_seconds=30)
    buffer = pool.borrow()
    Timer(0.05, buffer.release).start()
    began = monotonic()
    assert pool.borrow() is buffer
    assert monotonic() - began < 20


def test_a_buffer_released_twice_is_lent_once() -> None:
    pool = BufferPool(2, wait_seconds=0.01)
    buffer = pool.borrow()
    buffer.release()
    buffer.release()
    assert pool.borrow() is not pool.borrow()
    with pytest.raises(OverloadedError):
        pool.borrow()


def test_a_buffer_belongs_to_its_pool() -> None:
    first, second = BufferPool(1, wait_seconds=0.01), BufferPool(1, wait_seconds=0.01)
    buffer: RecordBuffer = first.borrow()
    second.borrow()
    buffer.release()
    with pytest.raises(OverloadedError):
        second.borrow()
    assert first.borrow() is buffer


def test_the_zero_block_is_all_zeros_and_takes_no_writes() -> None:
    assert bytes(ZERO_BLOCK.payload) == bytes(524_288)
    assert ZERO_BLOCK.payload.readonly
    ZERO_BLOCK.release()
    ZERO_BLOCK.release()


@pytest.mark.parametrize("size", [4_096, 12_288, 6 << 20])
def test_a_buffer_for_one_use_is_aligned_and_zero(size: int) -> None:
    buffer = aligned_buffer(size)
    assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % 4_096 == 0
    assert bytes(buffer) == bytes(size)
