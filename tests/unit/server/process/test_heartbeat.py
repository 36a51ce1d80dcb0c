"""Heartbeats: sent while the vitals are sound, and who hears what of problems."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from snapstone.server.process import heartbeat as heartbeat_module
from snapstone.server.process.heartbeat import Heartbeat, LoneMonitor, Vitals
from snapstone.server.process.worker_channel import Channel, Message, MessageKind, open_channel
from snapstone.service.health import Health
from snapstone.system.processes import ProcessState


@dataclass
class Worker:
    """A heartbeat, and the supervisor's end of its channel."""

    supervisor: Channel
    heartbeat: Heartbeat
    signals: list[tuple[int, int]] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)

    def hear(self, condition: Callable[[list[Message]], bool]) -> bool:
        deadline = time.monotonic() + 10
        while not condition(self.heard):
            if time.monotonic() > deadline:
                return False
            self.heard += self.supervisor.receive()
            time.sleep(0.01)
        return True


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.02)
    supervisor, end = open_channel()
    made = Worker(supervisor, Heartbeat(end))
    monkeypatch.setattr(os, "kill", lambda process_id, number: made.signals.append((process_id, number)))
    made.heartbeat.start()
    yield made
    supervisor.close()
    made.heartbeat._thread.join(10)
    end.close()


def vitals_of(answer: Callable[[], object | None]) -> Vitals:
    vitals = Vitals(lambda: ProcessState(frozenset({"S"}), 0))
    vitals.watch("work", answer, 3)
    return vitals


def beats(messages: list[Message]) -> int:
    return messages.count(Message(MessageKind.BEAT))


def test_it_beats_before_there_is_anything_to_look_at(worker: Worker) -> None:
    assert worker.hear(lambda heard: beats(heard) >= 3)


def test_it_says_what_hangs_and_beats_no_more(worker: Worker) -> None:
    worker.heartbeat.attach(vitals_of(lambda: 7), Health())
    assert worker.hear(lambda heard: heard[-1:] != [] and heard[-1].kind is MessageKind.STUCK)
    stuck = worker.heard[-1].text
    assert stuck.startswith("work has made no progress")
    assert "heartbeat" in stuck, "the stacks of all threads are in it"
    time.sleep(0.2)
    assert worker.supervisor.receive() == []


def test_a_stop_may_take_its_time(worker: Worker) -> None:
    worker.heartbeat.attach(vitals_of(lambda: 7), Health())
    worker.heartbeat.detach()
    assert worker.hear(lambda heard: beats(heard) >= 12)
    assert {message.kind for message in worker.heard} == {MessageKind.BEAT}


def test_problems_of_the_supervisor_are_told_by_health_also_those_from_before(worker: Worker) -> None:
    health = Health()
    worker.supervisor.send(MessageKind.PROBLEM, "1 of 2 server processes are missing")
    assert worker.hear(lambda heard: beats(heard) >= 5)
    worker.heartbeat.attach(vitals_of(lambda: None), health)
    [problem] = health.problems()
    assert (problem.subject, problem.unready) == ("processes", False)
    worker.supervisor.send(MessageKind.SOUND)
    assert worker.hear(lambda _: health.problems() == [])


def test_the_end_of_the_supervisor_ends_the_worker(worker: Worker) -> None:
    worker.supervisor.close()
    worker.heartbeat._thread.join(10)
    assert worker.signals == [(os.getpid(), signal.SIGTERM)]


def test_a_process_alone_tells_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.02)
    answers: list[int | None] = [7]
    health, monitor = Health(), LoneMonitor()
    monitor.attach(vitals_of(lambda: answers[0]), health)
    deadline = time.monotonic() + 10
    while not health.problems():
        assert time.monotonic() < deadline
    [problem] = health.problems()
    assert (problem.subject, problem.unready) == ("progress", True)
    answers[0] = None
    while health.problems():
        assert time.monotonic() < deadline
    monitor.detach()
