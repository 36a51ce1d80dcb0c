"""The channel between a worker and its supervisor: nobody waits, and an end is noticed after what was said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snapstone.server.process.worker_channel import TEXT_LIMIT, Channel, Message, MessageKind, open_channel

Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = open_channel()
    yield pair
    for end in pair:
        end.close()


def test_messages_arrive_whole_and_in_order(ends: Ends) -> None:
    supervisor, worker = ends
    assert worker.send(MessageKind.BEAT)
    assert worker.send(MessageKind.FAILED, "no such file: ü")
    assert supervisor.receive() == [Message(MessageKind.BEAT), Message(MessageKind.FAILED, "no such file: ü")]
    assert supervisor.receive() == []
    assert supervisor.send(MessageKind.PROBLEM, "one is missing")
    assert worker.receive() == [Message(MessageKind.PROBLEM, "one is missing")]


def test_what_was_said_before_an_end_is_heard(ends: Ends) -> None:
    supervisor, worker = ends
    supervisor.send(MessageKind.PROBLEM, "never read")
    worker.send(MessageKind.FAILED, "because")
    worker.close()
    assert supervisor.receive() == [Message(MessageKind.FAILED, "because")]
    assert supervisor.is_closed
    assert not supervisor.send(MessageKind.SOUND)


def test_a_side_that_does_not_read_holds_nobody_up(ends: Ends) -> None:
    supervisor, worker = ends
    sent = 0
    while worker.send(MessageKind.BEAT):
        sent += 1
        assert sent < 1_000_000
    assert len(supervisor.receive()) == sent
    assert worker.send(MessageKind.BEAT)


def test_a_long_text_is_cut(ends: Ends) -> None:
    supervisor, worker = ends
    assert worker.send(MessageKind.STUCK, "x" * (TEXT_LIMIT + 1))
    assert supervisor.receive() == [Message(MessageKind.STUCK, "x" * TEXT_LIMIT)]
