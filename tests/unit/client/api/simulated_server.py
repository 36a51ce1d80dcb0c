"""The other side in virtual time: latency, cores, a quota with one second of burst, faults; and who presses on it."""

from __future__ import annotations

import random
from collections import Counter

from snapstone.client.api.pace import Pace
from tests.unit.client.api.virtual_time import VirtualTime


class SimulatedServer:
    """Answers `ok`, `throttled`, `stray` (throttled too) or `fault`, after the time that it takes.

    All may be changed while it runs.
    """

    def __init__(
        self,
        world: VirtualTime,
        *,
        latency: float,
        cores: int | None = None,
        core_seconds: float = 0.0,
        quota: float | None = None,
        fault_share: float = 0.0,
        stray_share: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        self.world = world
        self.latency = latency
        self.core_seconds = core_seconds
        self.fault_share = fault_share
        self.stray_share = stray_share
        """Part of what the quota admits that is throttled all the same."""
        self.jitter = jitter
        """Each time is drawn from 1 - jitter to 1 + jitter times its mean."""
        self._cores_free_at = [0.0] * cores if cores else []
        self._random = random.Random(5)
        self.set_quota(quota)
        self.answers: Counter[tuple[str, int]] = Counter()
        """Answers of a kind in each second."""

    def set_quota(self, quota: float | None) -> None:
        """Requests a second from now on; the bucket is full."""
        self.quota = quota
        self._tokens = quota or 0.0
        self._filled_at = self.world.now

    def request(self) -> str:
        """One request, from sending to answer."""
        if not self._admit():
            kind = "throttled"
            self.world.sleep(self._drawn(self.latency))
        else:
            drawn = self._random.random()
            stray = self.fault_share <= drawn < self.fault_share + self.stray_share
            kind = "fault" if drawn < self.fault_share else "stray" if stray else "ok"
            self.world.sleep(self._drawn(self.latency) + self._core_time())
        self.answers[kind, int(self.world.now)] += 1
        return kind

    def count(self, kind: str, first_second: int, last_second: int) -> int:
        """Answers of a kind from the begin of one second to the begin of another."""
        return sum(self.answers[kind, second] for second in range(first_second, last_second))

    def _admit(self) -> bool:
        if self.quota is None:
            return True
        now = self.world.now
        self._tokens = min(self.quota, self._tokens + (now - self._filled_at) * self.quota)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _drawn(self, mean: float) -> float:
        return mean * (1 + self.jitter * (2 * self._random.random() - 1))

    def _core_time(self) -> float:
        """Until one of the cores has done its part, in the order of arrival."""
        if not self._cores_free_at:
            return 0.0
        core = min(range(len(self._cores_free_at)), key=self._cores_free_at.__getitem__)
        begin = max(self.world.now, self._cores_free_at[core])
        self._cores_free_at[core] = begin + self._drawn(self.core_seconds)
        return self._cores_free_at[core] - self.world.now


def press(world: VirtualTime, server: SimulatedServer, pace: Pace, until: float) -> int:
    """One thread that sends one request after the other; says how many."""
    count = 0
    while world.now < until:
        with pace.turn() as turn:
            kind = server.request()
            count += 1
            if kind in ("throttled", "stray"):
                turn.throttled()
            elif kind == "fault":
                turn.failed()
    return count
