"""Work done at the same moment by several threads, or by several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from threading import Barrier
from typing import Protocol, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class _Barrier(Protocol):
    """A barrier of threads or of processes."""

    def wait(self) -> int: ...


def racing(count: int, work: Callable[[int], Result]) -> list[Result]:
    """What `work` returns for 0, 1, … `count` − 1, called from as many threads at once."""
    barrier = Barrier(count)

    def started(number: int) -> Result:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(started, range(count)))


_race: _Barrier = Barrier(1)
"""In a process started by `in_processes`: where they wait for each other."""


def _enter_race(race: _Barrier) -> None:
    global _race
    _race = race


def wait_for_the_others() -> None:
    """In a process started by `in_processes`: come here in every one of them, and go on together."""
    _race.wait()


def in_processes(
    count: int,
    work: Callable[[Argument, int], Result],
    argument: Argument,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Result]:
    """What `work` returns for the argument and 0, 1, … `count` − 1, called in as many processes at once."""
    processes = multiprocessing.get_context("spawn")
    race = processes.Barrier(count)
    with ProcessPoolExecutor(count, mp_context=processes, initializer=_enter_race, initargs=(race,)) as pool:
        futures = [pool.submit(work, argument, number) for number in range(count)]
        meanwhile()
        return [future.result() for future in futures]
