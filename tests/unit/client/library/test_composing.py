"""Blocks on their way: a bounded number, those of one index in order, and what one of them meets is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from snapstone.client.errors import DamagedError
from snapstone.client.library.composing import Sender
from tests.unit.client.library.counting import LIMIT_SECONDS, wait_until


class Line:
    """Where blocks go; each waits until it may arrive."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, bytes]] = []
        self.arrived: list[tuple[int, bytes]] = []
        self.is_open = threading.Event()

    def __call__(self, block_index: int, block: bytearray) -> None:
        self.begun.append((block_index, bytes(block)))
        self.is_open.wait(LIMIT_SECONDS)
        self.arrived.append((block_index, bytes(block)))


def test_the_second_block_of_an_index_begins_when_the_first_has_arrived() -> None:
    line = Line()
    sender = Sender(line, 4)
    sender.send(7, bytearray(b"first"))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(sender.send, 7, bytearray(b"second"))
        assert not second.done()
        threading.Event().wait(0.2)  # time enough for a mistake to show
        assert line.begun == [(7, b"first")]
        line.is_open.set()
        second.result()
    sender.drain()
    assert line.arrived == [(7, b"first"), (7, b"second")]
    assert sender.on_its_way(7) is None
    sender.close()


def test_no_more_blocks_than_workers_are_on_their_way() -> None:
    line = Line()
    sender = Sender(line, 2)

    def send_five() -> None:
        for index in range(5):
            sender.send(index, bytearray(b"x"))

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_five)
        wait_until(lambda: len(line.begun) == 2)
        threading.Event().wait(0.2)  # time enough for a mistake to show
        assert [sender.on_its_way(index) for index in range(5)] == [b"x", b"x", None, None, None]
        line.is_open.set()
        sending.result()
    sender.drain()
    assert sorted(line.arrived) == [(index, b"x") for index in range(5)]
    sender.close()


def test_what_a_block_meets_is_raised_by_whoever_comes_next() -> None:
    def refuse(block_index: int, block: bytearray) -> None:
        raise DamagedError(f"block {block_index}")

    sender = Sender(refuse, 4)
    sender.send(3, bytearray(b"x"))
    with pytest.raises(DamagedError, match="block 3"):
        sender.drain()
    sender.send(4, bytearray(b"x"))
    with pytest.raises(DamagedError, match="block 4"):
        sender.send(4, bytearray(b"y"))
    sender.close()


def test_closing_begins_nothing_more_and_waits_for_what_has_begun() -> None:
    line = Line()
    sender = Sender(line, 1)
    sender.send(0, bytearray(b"x"))
    wait_until(lambda: len(line.begun) == 1)
    opening = threading.Timer(0.1, line.is_open.set)
    opening.start()
    sender.close()
    assert line.arrived == [(0, b"x")]
    with pytest.raises(RuntimeError):
        sender.send(1, bytearray(b"x"))
    opening.join()
