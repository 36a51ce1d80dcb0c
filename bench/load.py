"""The load generator: a process of its own that puts or gets blocks over N connections and says how fast it went.

`python -m bench.load` reads a job as JSON on standard input and writes its outcome as JSON on standard output. Digests,
signatures and tokens are made before the clock starts, so that what is timed is the server's work and the copying of
bytes. Every answer is checked: status, length, checksum and both ends of a block; a sample is read again afterwards and
hashed whole.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from bench.blocks import DistinctBlocks
from bench.connection import Answer, Connection, WrongAnswerError
from bench.ebs import Client, get_head, put_head
from bench.signing import Endpoint, Signer

CHECKOUT: Final = Path(__file__).parent.parent
MAX_CONNECTIONS: Final = 256
MAX_LOAD_SECONDS: Final = 600
"""A load that takes longer has failed; its signatures are valid for 900 s."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do. Block number n is at index n * stride and holds distinct block n % content_count of `seed`."""

    kind: Literal["put", "get"]
    endpoint: Endpoint
    snapshot_id: str
    seed: int
    block_count: int
    connection_count: int
    first_number: int = 0
    stride: int = 1
    content_count: int = 2**63
    pass_count: int = 1
    """How often a get job reads every block."""
    sample_count: int = 16
    """Blocks that a get job reads again and hashes after the clock has stopped."""

    def content(self, number: int) -> int:
        """Which distinct block is at a block number."""
        return number % self.content_count


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job took."""

    request_count: int
    seconds: float
    per_second: float
    latency_ms_p50: float
    latency_ms_p99: float
    latency_ms_max: float
    client_cpu_ms_per_request: float
    connect_count: int


@dataclass(frozen=True, slots=True)
class Task:
    """One request, ready to be sent, and the block that it puts or must bring."""

    number: int
    head: bytes
    checksum: str


class Load:
    """Runs a job's tasks over its connections, from one moment until the last answer."""

    def __init__(self, job: Job) -> None:
        assert 1 <= job.connection_count <= MAX_CONNECTIONS
        self._job = job
        self._blocks = DistinctBlocks(job.seed)
        self._latencies: list[float] = []
        self._failures: list[BaseException] = []

    def run(self) -> Outcome:
        """Do the job; raises the first failure of any connection."""
        job = self._job
        tasks = self._put_tasks() if job.kind == "put" else self._get_tasks()
        work = iter(tasks)
        connections = [Connection(job.endpoint.host, job.endpoint.port) for _ in range(job.connection_count)]
        start = threading.Barrier(job.connection_count + 1)
        threads = [threading.Thread(target=self._serve, args=(c, work, start), daemon=True) for c in connections]
        for connection, thread in zip(connections, threads, strict=True):
            connection.connect()
            thread.start()
        start.wait()
        begun, cpu_begun = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.join()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
        if self._failures:
            raise self._failures[0]
        if job.kind == "get":
            self._check_sample(tasks)
        assert len(self._latencies) == len(tasks)
        return self._outcome(seconds, cpu_seconds, sum(connection.connect_count for connection in connections))

    def _put_tasks(self) -> list[Task]:
        job, signer = self._job, Signer(self._job.endpoint)
        tasks = []
        for number in range(job.first_number, job.first_number + job.block_count):
            digest = self._blocks.digest(job.content(number))
            head = put_head(signer, job.snapshot_id, number * job.stride, digest)
            tasks.append(Task(number, head, b64encode(digest).decode()))
        return tasks

    def _get_tasks(self) -> list[Task]:
        job, signer = self._job, Signer(self._job.endpoint)
        tasks = []
        for block_index, token in Client(job.endpoint).block_tokens(job.snapshot_id):
            number = block_index // job.stride
            head = get_head(signer, job.snapshot_id, block_index, token)
            tasks.append(Task(number, head, b64encode(self._blocks.digest(job.content(number))).decode()))
        if len(tasks) != job.block_count:
            raise WrongAnswerError(f"the listing has {len(tasks)} blocks in place of {job.block_count}")
        tasks *= job.pass_count
        random.Random(job.seed).shuffle(tasks)
        return tasks

    def _serve(self, connection: Connection, work: Iterator[Task], start: threading.Barrier) -> None:
        perform: Callable[[Connection, Task], None] = self._put if self._job.kind == "put" else self._get
        with connection:
            start.wait()
            try:
                for task in work:
                    if self._failures:
                        return
                    begun = time.perf_counter()
                    perform(connection, task)
                    self._latencies.append(time.perf_counter() - begun)
            except (OSError, WrongAnswerError) as failure:
                self._failures.append(failure)

    def _put(self, connection: Connection, task: Task) -> None:
        body, stamp = self._blocks.pieces(self._job.content(task.number))
        answer = connection.exchange((task.head, body, stamp))
        _check(answer, 201, task)

    def _get(self, connection: Connection, task: Task) -> None:
        self._received(connection, task)

    def _received(self, connection: Connection, task: Task) -> memoryview:
        answer = connection.exchange((task.head,))
        _check(answer, 200, task)
        if not self._blocks.is_block(self._job.content(task.number), answer.body):
            raise WrongAnswerError(f"get of block {task.number} brought other bytes")
        return answer.body

    def _check_sample(self, tasks: Sequence[Task]) -> None:
        with Connection(self._job.endpoint.host, self._job.endpoint.port) as connection:
            for task in tasks[: self._job.sample_count]:
                digest = sha256(self._received(connection, task)).digest()
                if b64encode(digest).decode() != task.checksum:
                    raise WrongAnswerError(f"the bytes of block {task.number} do not have its digest")

    def _outcome(self, seconds: float, cpu_seconds: float, connect_count: int) -> Outcome:
        ordered = sorted(self._latencies)
        count = len(ordered)
        return Outcome(
            request_count=count,
            seconds=seconds,
            per_second=count / seconds,
            latency_ms_p50=1000 * ordered[count // 2],
            latency_ms_p99=1000 * ordered[min(count - 1, count * 99 // 100)],
            latency_ms_max=1000 * ordered[-1],
            client_cpu_ms_per_request=1000 * cpu_seconds / count,
            connect_count=connect_count,
        )


def _check(answer: Answer, expected_status: int, task: Task) -> None:
    if answer.status != expected_status:
        raise WrongAnswerError(f"block {task.number}: answered {answer.status}: {bytes(answer.body[:300])!r}")
    checksum = answer.headers.get("x-amz-checksum")
    if checksum != task.checksum:
        raise WrongAnswerError(f"block {task.number}: answered with checksum {checksum} in place of {task.checksum}")


class LoadFailedError(Exception):
    """The load generator ended without an outcome: a request failed or was answered wrongly."""


def run_load(job: Job) -> Outcome:
    """Run a job in a process of its own; raises LoadFailedError with what that process said."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=MAX_LOAD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise LoadFailedError(f"{job.kind} load on port {job.endpoint.port}: {done.stderr.strip()}")
    return Outcome(**json.loads(done.stdout))


def main() -> int:
    """Read a job from standard input, do it, write its outcome."""
    fields = json.load(sys.stdin)
    job = Job(**{**fields, "endpoint": Endpoint(**fields["endpoint"])})
    try:
        outcome = Load(job).run()
    except (OSError, WrongAnswerError) as failure:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr)
        return 1
    json.dump(asdict(outcome), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
