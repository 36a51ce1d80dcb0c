"""`snapstone upload` and its like as processes, against a server, and what the server was asked meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from tests.server_process import SOURCE, ServerProcess

COMMAND_LIMIT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.01

CLIENT_GONE: Final = 499
"""Stands for the status of a request whose client hung up before it was answered."""

LOGGING_ALL: Final = ("--log-level", "debug", "--log-format", "json")
"""Options of a server whose log is to be read by `Requests`."""


class ClientCommand:
    """The command line client with a state folder of its own."""

    def __init__(self, server: ServerProcess, state: Path, endpoint: str | None = None) -> None:
        self.state = state
        self._environment = server.environment() | {"PYTHONPATH": str(SOURCE), "SNAPSTONE_STATE": str(state)}
        if endpoint is not None:
            self._environment["AWS_ENDPOINT_URL"] = endpoint

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Begin a command; whoever asks for it ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "snapstone", *map(str, arguments)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path) -> str:
        """Run a command that has to succeed; returns what it wrote to standard output, without the line's end."""
        with self.start(*arguments) as process:
            return finish(process)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a command that has to succeed; returns what it wrote to standard output."""
    try:
        output, errors = process.communicate(timeout=COMMAND_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
    assert process.returncode == 0, f"status {process.returncode}: {errors}"
    return output.rstrip("\n")


@dataclass(frozen=True)
class Request:
    """One line of the server's log about a request for a block."""

    at_seconds: float
    method: str
    snapshot_id: str
    block_index: int
    status: int
    fault: str | None
    """What was injected, if anything."""


class Requests:
    """The requests for blocks that a server with `LOGGING_ALL` has answered since this was made."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._place = log.stat().st_size

    def __iter__(self) -> Iterator[Request]:
        with self._log.open("rb") as file:
            file.seek(self._place)
            for line in file:
                if b"/blocks/" in line and line.endswith(b"\n"):
                    yield _request(line)

    def done(self, method: str) -> Counter[int]:
        """How often each block was put, or read, with success."""
        return Counter(r.block_index for r in self if r.method == method and r.status < 300)

    def wait_for(self, method: str, count: int, is_over: Callable[[], bool]) -> None:
        """Return once so many blocks were put, or read, or `is_over` says that no more will be."""
        deadline = monotonic() + COMMAND_LIMIT_SECONDS
        while self.done(method).total() < count and not is_over():
            assert monotonic() < deadline, f"no {count} blocks by {method} after {COMMAND_LIMIT_SECONDS} s"
            sleep(POLL_SECONDS)


def _request(line: bytes) -> Request:
    facts = json.loads(line)
    _, _, snapshot_id, _, block_index = facts["target"].split("/")
    at_seconds = datetime.fromisoformat(facts["time"]).timestamp()
    status, fault = facts.get("status", CLIENT_GONE), facts.get("injected_fault")
    return Request(at_seconds, facts["method"], snapshot_id, int(block_index), status, fault)
