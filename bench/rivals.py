"""Servers that are put under the same load in turn, and what each reached."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from bench.ebs import Client
from bench.load import Job, Outcome, run_load
from bench.processes import Process
from bench.run import new_seed, settle
from bench.signing import Endpoint

Kind = Literal["put", "get"]
Subject = tuple[Kind, int]
"""Kind of request and number of connections."""

VOLUME_SIZE_GIB = 64


@dataclass
class Rates:
    """One server's outcomes, by subject, with what the server used meanwhile."""

    outcomes: dict[Subject, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    server_cpu_ms: dict[Subject, list[float]] = field(default_factory=lambda: defaultdict(list))

    def per_second(self, subject: Subject) -> list[float]:
        """Each repeat's rate."""
        return [outcome.per_second for outcome in self.outcomes[subject]]

    def details(self, subject: Subject) -> dict[str, object]:
        """Everything known of each repeat."""
        return {
            "outcomes": [asdict(outcome) for outcome in self.outcomes[subject]],
            "server_cpu_ms_per_request": self.server_cpu_ms[subject],
        }


class Rival:
    """A server that is put under load repeatedly; its outcomes are added to `rates`."""

    def __init__(
        self,
        endpoint: Endpoint,
        process: Process,
        rates: Rates,
        put_count: int,
        get_pass_count: int = 1,
        *,
        encrypted: bool = False,
    ) -> None:
        self.rates = rates
        self.put_block_count = 0
        self._endpoint = endpoint
        self._process = process
        self._put_count = put_count
        self._get_pass_count = get_pass_count
        self._encrypted = encrypted

    def put_then_get(self, connection_count: int) -> None:
        """Fill a new snapshot with new blocks, seal it, read all of it back."""
        self.get(self.put(connection_count))

    def put(self, connection_count: int) -> Job:
        """Fill a new snapshot with new blocks and seal it."""
        client = Client(self._endpoint)
        snapshot_id = client.start_snapshot(VOLUME_SIZE_GIB, encrypted=self._encrypted)
        job = Job("put", self._endpoint, snapshot_id, new_seed(), self._put_count, connection_count)
        self._measure(job)
        self.put_block_count += self._put_count
        client.complete_snapshot(snapshot_id, self._put_count)
        client.connection.close()
        return job

    def get(self, put: Job) -> None:
        """Read all that a put load wrote, in another order."""
        self._measure(replace(put, kind="get", pass_count=self._get_pass_count))

    def _measure(self, job: Job) -> None:
        subject = (job.kind, job.connection_count)
        settle()
        cpu_begun = self._process.cpu_seconds()
        outcome = run_load(job)
        cpu_ms = 1000 * (self._process.cpu_seconds() - cpu_begun) / outcome.request_count
        self.rates.outcomes[subject].append(outcome)
        self.rates.server_cpu_ms[subject].append(cpu_ms)
