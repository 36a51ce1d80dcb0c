"""The cache of blocks: what is kept, what is dropped, and who is told of failures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from snapstone.client.errors import DamagedError, InterruptedTransferError, UsageError
from snapstone.client.library.reader import BlockCache


class AtOnce(Executor):
    """Does what is submitted before `submit` returns."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


class Loader:
    """Blocks that hold their index; failures by index, each once."""

    def __init__(self) -> None:
        self.loaded: list[int] = []
        self.failures: dict[int, BaseException] = {}

    def __call__(self, block_index: int) -> memoryview:
        self.loaded.append(block_index)
        if block_index in self.failures:
            raise self.failures.pop(block_index)
        return memoryview(bytes([block_index]))


def test_the_block_that_was_not_used_for_longest_is_dropped() -> None:
    load = Loader()
    cache = BlockCache(load, 2)
    for index in (1, 2, 1, 3, 1, 2):
        assert bytes(cache.get(index)) == bytes([index])
    assert load.loaded == [1, 2, 3, 2]


def test_a_block_read_ahead_is_there_when_it_is_needed() -> None:
    load = Loader()
    cache = BlockCache(load)
    cache.prefetch([1, 2], AtOnce())
    cache.prefetch([2, 1], AtOnce())
    assert bytes(cache.get(2)) == b"\2"
    assert load.loaded == [1, 2]


def test_a_block_that_could_not_be_read_ahead_is_tried_again_when_it_is_needed() -> None:
    load = Loader()
    load.failures[7] = DamagedError("then")
    cache = BlockCache(load)
    cache.prefetch([7], AtOnce())
    assert bytes(cache.get(7)) == b"\7"
    assert load.loaded == [7, 7]


def test_all_who_wait_for_a_block_learn_of_its_failure_and_the_next_tries_again() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def load(block_index: int) -> memoryview:
        if begun.is_set():
            return memoryview(b"well")
        begun.set()
        may_end.wait()
        raise DamagedError("once")

    cache = BlockCache(load)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, 0)
        begun.wait()
        second = pool.submit(cache.get, 0)
        may_end.set()
        assert isinstance(first.exception(), DamagedError)
        second_failure = second.exception()
    assert second_failure is first.exception() or bytes(second.result()) == b"well"
    assert bytes(cache.get(0)) == b"well"


def test_ctrl_c_in_one_thread_is_no_block_and_no_ctrl_c_in_another() -> None:
    waiting: list[Future[memoryview]] = []

    def load(block_index: int) -> memoryview:
        if waiting:
            return memoryview(b"well")
        waiting.append(cache._claim(block_index)[0])
        raise KeyboardInterrupt

    cache = BlockCache(load)
    with pytest.raises(KeyboardInterrupt):
        cache.get(0)
    assert isinstance(waiting[0].exception(), InterruptedTransferError)
    assert bytes(cache.get(0)) == b"well"


def test_reading_ahead_after_the_end_keeps_nobody_waiting() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    load = Loader()
    cache = BlockCache(load)
    cache.prefetch([1], pool)
    assert load.loaded == []
    assert bytes(cache.get(1)) == b"\1"


def test_a_cleared_cache_is_empty() -> None:
    load = Loader()
    cache = BlockCache(load)
    cache.get(1)
    cache.clear()
    cache.get(1)
    assert load.loaded == [1, 1]


def test_errors_of_the_family_are_raised_as_they_are() -> None:
    load = Loader()
    load.failures[1] = UsageError("closed")
    with pytest.raises(UsageError, match="closed"):
        BlockCache(load).get(1)
