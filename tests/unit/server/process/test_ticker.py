"""The background thread: it goes on after an error, and ends when asked."""

from __future__ import annotations

import logging
import threading

import pytest

from snapstone.server.process.heartbeat import Ticker
from tests.unit.server.loopback import PATIENCE_SECONDS


def test_a_tick_that_fails_is_logged_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    ticks: list[int] = []
    again = threading.Event()

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 1:
            raise ZeroDivisionError
        again.set()

    ticker = Ticker(tick, seconds=0.01)
    with caplog.at_level(logging.ERROR, "snapstone.server.process.heartbeat"):
        ticker.start()
        assert again.wait(PATIENCE_SECONDS)
        assert ticker.stop()
    assert [record.message for record in caplog.records] == ["tick failed"]
    assert caplog.records[0].exc_info is not None


def test_no_tick_begins_after_the_stop() -> None:
    ticks: list[int] = []
    began = threading.Event()

    def tick() -> None:
        ticks.append(1)
        began.set()

    ticker = Ticker(tick, seconds=60.0)
    ticker.start()
    assert began.wait(PATIENCE_SECONDS)
    assert ticker.stop()
    assert ticks == [1]
