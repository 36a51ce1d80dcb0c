"""The pace under simulated servers in virtual time, and with real threads."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from snapstone.client.api.pace import CATCH_UP_SECONDS, LEAST_LIMIT, START_LIMIT, Gate, Pace
from snapstone.client.errors import InterruptedTransferError, UsageError
from tests.unit.client.api.simulated_server import SimulatedServer, press
from tests.unit.client.api.virtual_time import DeadlockError, VirtualTime

THREAD_COUNT = 64
SECONDS = 40


class Run:
    """One simulated run: 64 threads that send without a pause."""

    def __init__(
        self,
        *,
        seconds: int = SECONDS,
        thread_count: int = THREAD_COUNT,
        max_per_second: float | None = None,
        changes: dict[int, Callable[[SimulatedServer], None]] | None = None,
        latency: float = 0.02,
        cores: int | None = None,
        core_seconds: float = 0.0,
        quota: float | None = None,
        fault_share: float = 0.0,
        stray_share: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        self.world = VirtualTime()
        self.server = SimulatedServer(
            self.world,
            latency=latency,
            cores=cores,
            core_seconds=core_seconds,
            quota=quota,
            fault_share=fault_share,
            stray_share=stray_share,
            jitter=jitter,
        )
        self.pace = Pace(thread_count, max_per_second, clock=self.world.clock, gate=self.world.gate)
        self.limits: list[int] = []
        self.sent_counts = [0] * thread_count
        self._seconds = seconds
        self._changes = changes or {}
        self.world.run([self._thread(number) for number in range(thread_count)] + [self._each_second])

    def _thread(self, number: int) -> Callable[[], None]:
        def send() -> None:
            self.sent_counts[number] = press(self.world, self.server, self.pace, self._seconds)

        return send

    def _each_second(self) -> None:
        for second in range(self._seconds):
            if second in self._changes:
                self._changes[second](self.server)
            self.limits.append(self.pace.limit)
            self.world.sleep(second + 1 - self.world.now)

    def per_second(self, first_second: int, last_second: int) -> float:
        """Requests that the quota admits."""
        answers = sum(self.server.count(kind, first_second, last_second) for kind in ("ok", "fault", "stray"))
        return answers / (last_second - first_second)

    def throttled_share(self, first_second: int, last_second: int) -> float:
        throttled = self.server.count("throttled", first_second, last_second)
        return throttled / (throttled + self.per_second(first_second, last_second) * (last_second - first_second))


@pytest.mark.parametrize("latency", [0.001, 0.02, 0.1])
@pytest.mark.parametrize("quota", [50, 200])
def test_the_rate_settles_at_the_quota_with_few_throttles(quota: float, latency: float) -> None:
    run = Run(quota=quota, latency=latency, jitter=0.5)

    assert run.per_second(5, SECONDS) >= 0.97 * quota
    assert run.throttled_share(5, SECONDS) <= 0.03
    assert run.throttled_share(0, SECONDS) <= 0.06


def test_the_rate_settles_at_awss_quota_of_1000_puts_a_second() -> None:
    run = Run(quota=1000, latency=0.1, thread_count=128, seconds=25, jitter=0.5)

    assert run.per_second(8, 25) >= 0.95 * 1000
    assert run.throttled_share(8, 25) <= 0.02


def test_a_tenth_of_faults_neither_lowers_the_rate_below_the_quota_nor_the_limit() -> None:
    quota = Run(quota=200, latency=0.02, fault_share=0.1, jitter=0.5)
    free = Run(latency=0.1, fault_share=0.1, jitter=0.5)

    assert quota.per_second(5, SECONDS) >= 0.95 * 200
    assert quota.throttled_share(5, SECONDS) <= 0.02
    assert free.per_second(10, SECONDS) >= 0.9 * THREAD_COUNT / 0.1


@pytest.mark.parametrize("stray_share", [0.01, 0.03])
@pytest.mark.parametrize("quota", [50, 200])
def test_stray_throttles_do_not_lower_the_rate_below_the_quota(quota: float, stray_share: float) -> None:
    run = Run(quota=quota, stray_share=stray_share, jitter=0.5)

    assert run.per_second(5, SECONDS) >= 0.9 * quota
    assert run.throttled_share(5, SECONDS) <= 0.06


def test_a_lifted_quota_is_found_within_seconds() -> None:
    run = Run(quota=200, changes={15: lambda server: server.set_quota(1000)})

    assert run.per_second(10, 15) <= 205
    assert run.per_second(25, SECONDS) >= 0.95 * 1000
    assert run.throttled_share(0, SECONDS) <= 0.02


def test_a_quota_that_is_gone_is_forgotten_within_seconds() -> None:
    run = Run(quota=50, changes={15: lambda server: server.set_quota(None)})

    assert run.per_second(30, SECONDS) >= 0.9 * THREAD_COUNT / 0.02


def test_a_lowered_quota_is_obeyed_at_once() -> None:
    run = Run(quota=1000, changes={15: lambda server: server.set_quota(50)})

    assert run.per_second(17, SECONDS) >= 0.97 * 50
    assert run.throttled_share(17, SECONDS) <= 0.03
    assert run.server.count("throttled", 15, 17) <= 200


def test_two_cores_on_the_same_machine_are_not_crowded() -> None:
    run = Run(latency=0.0005, cores=2, core_seconds=0.0015, jitter=0.9)

    assert run.per_second(1, SECONDS) >= 0.98 * 2 / 0.0015
    assert max(run.limits) <= 2 * START_LIMIT


def test_a_server_that_is_now_faster_and_now_slower_is_not_crowded_either() -> None:
    speeds = random.Random(1)

    def become(core_seconds: float) -> Callable[[SimulatedServer], None]:
        return lambda server: setattr(server, "core_seconds", core_seconds)

    changes = {second: become(0.004 * speeds.uniform(0.7, 1.3)) for second in range(SECONDS)}
    run = Run(latency=0.0005, cores=2, core_seconds=0.004, jitter=0.9, changes=changes)

    assert sum(run.limits) / len(run.limits) <= 2 * START_LIMIT


def test_the_limit_stays_near_the_knee() -> None:
    # 16 cores of 10 ms each, 20 ms away: 48 in flight use all of it, and 1600 a second is the most
    run = Run(latency=0.02, cores=16, core_seconds=0.01, jitter=0.5)

    assert run.per_second(10, SECONDS) >= 0.93 * 1600


def test_a_far_server_gets_as_many_in_flight_as_are_allowed() -> None:
    run = Run(latency=0.1, seconds=20, jitter=0.5)

    assert run.limits[5] == THREAD_COUNT
    assert run.per_second(5, 20) >= 0.93 * THREAD_COUNT / 0.1


def test_a_leap_of_latency_is_answered_by_more_in_flight() -> None:
    def go_far(server: SimulatedServer) -> None:
        server.latency, server.core_seconds = 0.2, 0.0

    run = Run(latency=0.0005, cores=2, core_seconds=0.0015, changes={10: go_far})

    assert max(run.limits[:10]) <= 2 * START_LIMIT
    assert run.limits[-1] == THREAD_COUNT
    assert run.per_second(25, SECONDS) >= 0.9 * THREAD_COUNT / 0.2


def test_an_outage_leaves_few_in_flight_and_its_end_brings_all_back() -> None:
    def fail(server: SimulatedServer) -> None:
        server.fault_share = 1.0

    def heal(server: SimulatedServer) -> None:
        server.fault_share = 0.0

    run = Run(latency=0.1, changes={10: fail, 20: heal}, seconds=30)

    assert run.limits[19] == LEAST_LIMIT
    assert run.per_second(23, 30) >= 0.9 * THREAD_COUNT / 0.1


def test_the_hard_cap_is_kept_and_used() -> None:
    run = Run(max_per_second=100, latency=0.01, seconds=20)

    assert run.per_second(0, 20) == pytest.approx(100, rel=0.02)


def test_a_hard_cap_below_one_a_second_is_kept() -> None:
    run = Run(max_per_second=0.2, latency=0.01, seconds=48, thread_count=4)

    # at 0, 5, 10, ... 45
    assert run.server.count("ok", 0, 48) == 10


def test_a_cap_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 0"):
        Pace(8, 0)


def test_a_cut_leaves_most_of_a_measured_quota() -> None:
    """From the first settled second on, no second falls below nine tenths of it: each cut costs a few percent."""
    run = Run(quota=200, latency=0.02)
    assert min(run.per_second(second, second + 1) for second in range(5, SECONDS)) >= 0.9 * 200


def test_nobody_starves() -> None:
    for run in (Run(quota=200, seconds=20), Run(latency=0.0005, cores=2, core_seconds=0.0015, seconds=10)):
        assert min(run.sent_counts) >= 0.9 * max(run.sent_counts) - 2


def test_the_rate_stays_when_nobody_needs_it() -> None:
    world = VirtualTime()
    server = SimulatedServer(world, latency=0.01, quota=50)
    pace = Pace(8, clock=world.clock, gate=world.gate)

    def send_then_idle() -> None:
        press(world, server, pace, 10)
        at_rest = pace.rate
        assert at_rest is not None
        while world.now < 60:
            with pace.turn():
                world.sleep(0.1)
        assert pace.rate is not None
        assert pace.rate <= 1.2 * at_rest

    world.run([send_then_idle])


def test_a_burst_of_throttles_cuts_once() -> None:
    now = 10.0
    pace = Pace(32, clock=lambda: now)
    for second in range(3):
        for _ in range(100):
            now = 10.0 + second + 0.01
            with pace.turn():
                pass
    now = 13.0
    turns = [pace.turn() for _ in range(8)]
    for turn in turns:
        turn.__enter__()
    rates = []
    for turn in turns:
        now += 0.01
        turn.throttled()
        turn.__exit__(None, None, None)
        rates.append(pace.rate)

    # 100 a second were measured; the first throttle may be a mishap, the second of a burst cuts to 70 %
    assert rates[0] is None
    assert len(set(rates[1:])) == 1
    assert rates[1] == pytest.approx(70, rel=0.02)


def test_an_exception_is_neither_success_nor_failure_and_gives_the_place_back() -> None:
    pace = Pace(1)
    for _ in range(10):
        with pytest.raises(ValueError, match="invalid literal"), pace.turn():
            int("no number")
    assert pace.in_flight == 0


def test_a_stop_ends_the_waiting_of_all() -> None:
    pace = Pace(1)
    stop = threading.Event()
    ended = []

    def wait() -> None:
        with pytest.raises(InterruptedTransferError), pace.turn(stop):
            pass
        ended.append(1)

    with pace.turn():
        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        stop.set()
        for thread in threads:
            thread.join()
    assert len(ended) == 5
    with pace.turn(stop):
        assert pace.in_flight == 1


def test_who_gives_up_while_it_keeps_the_time_hands_that_on() -> None:
    world = VirtualTime()
    pace = Pace(8, 0.5, clock=world.clock, gate=world.gate)
    stop = threading.Event()
    started: list[float] = []

    def give_up() -> None:
        world.sleep(0.1)
        with pytest.raises(InterruptedTransferError), pace.turn(stop):
            pass

    def hold_on(second: float) -> Callable[[], None]:
        def take() -> None:
            world.sleep(second)
            with pace.turn():
                started.append(world.now)

        return take

    def say_stop() -> None:
        world.sleep(1.0)
        stop.set()

    world.run([hold_on(0.0), give_up, hold_on(0.2), hold_on(0.3), say_stop])
    assert started == pytest.approx([0.0, 2.0 - CATCH_UP_SECONDS, 4.0 - CATCH_UP_SECONDS])


def test_an_interrupted_wait_leaves_no_place_behind() -> None:
    class Interrupting(Gate):
        def wait(self, seconds: float | None) -> None:
            raise KeyboardInterrupt

    pace = Pace(1, gate=Interrupting)
    with pace.turn(), pytest.raises(KeyboardInterrupt):
        pace.turn().__enter__()
    assert pace.in_flight == 0
    with pace.turn():
        assert pace.in_flight == 1


def test_real_threads_never_exceed_the_limit_and_all_come_through() -> None:
    pace = Pace(8, 4000)
    lock = threading.Lock()
    in_flight = most = done = 0

    def work() -> None:
        nonlocal in_flight, most, done
        for number in range(60):
            with pace.turn() as turn:
                with lock:
                    in_flight += 1
                    most = max(most, in_flight)
                time.sleep(0.0002)
                if number % 7 == 0:
                    turn.failed()
                with lock:
                    in_flight -= 1
                    done += 1

    threads = [threading.Thread(target=work) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == 24 * 60
    assert most <= 8
    assert pace.in_flight == 0


def test_the_simulation_notices_a_deadlock() -> None:
    world = VirtualTime()

    with pytest.raises(DeadlockError):
        world.run([lambda: world.gate().wait(None), lambda: world.sleep(1)])
