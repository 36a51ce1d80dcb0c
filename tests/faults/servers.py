"""Servers that are started, killed and looked at: as people start them, or forked from a process that is loaded."""

from __future__ import annotations

import configparser
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, Final
from urllib.parse import urlsplit

from bench.signing import Endpoint

from tests.faults.client import Client
from tests.faults.library import Control, build

TREE: Final = Path(__file__).parents[2]
SOURCE: Final = Path(os.environ.get("FAULTS_SOURCE", str(TREE / "src")))
"""The server that is tried; of another tree where FAULTS_SOURCE names it, to hold the bench against it."""

START_LIMIT_SECONDS: Final = 180.0
STOP_LIMIT_SECONDS: Final = 60.0
"""Generous: the machine may be busy with a hundred servers."""
REGION: Final = "us-east-1"

NOWHERE: Final = Endpoint("", 0, "", "")
"""Where a server is that is not ready."""


OF_IMAGES: Final = {"SNAPSTONE_ACCEPT_COPIED_FOLDER": "1"}
"""What a power cut leaves, and a folder to be damaged, are made file by file here, with other inodes."""


class StartError(Exception):
    """A server that ended, or was not ready in time, where it should have served; says what it said."""


def environment() -> dict[str, str]:
    """Of every process that is started here: nothing of AWS's or Snapstone's variables, and the tree that is tried."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SNAPSTONE_", "FAULTS_"))}
    return kept | {"PYTHONPATH": f"{SOURCE}:{TREE}", "PYTHONSAFEPATH": "1"}


def arguments(data: Path, workers: int, options: Sequence[str] = ()) -> list[str]:
    """Of `snapstone`, for a server on a folder."""
    return [
        "serve", "--data", str(data), "--port", "0", "--workers", str(workers), "--log-format", "json",
        "--log-level", "warning", "--pin-workers", "off", *options,
    ]  # fmt: skip


def log_of(data: Path) -> Path:
    """Where a server's log goes: beside the recorded folder, which is the data folder's parent."""
    return data.parent.with_name(f"{data.parent.name}.log")


@dataclass
class Running:
    """A server that is ready."""

    data: Path
    process_id: int
    log: Path
    endpoint: Endpoint
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    """What time clients believe it is."""

    def client(self) -> Client:
        """A connection of its own."""
        return Client(self.endpoint, self.now)

    @property
    def workers(self) -> list[int]:
        """Process ids of the processes that it has started."""
        with suppress(OSError):
            children = Path(f"/proc/{self.process_id}/task/{self.process_id}/children").read_text()
            return [int(each) for each in children.split()]
        return []

    def kill(self) -> None:
        """kill -9 of all of its processes at once."""
        for process_id in [self.process_id, *self.workers]:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)

    def said(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def endpoint_of(data: Path) -> Endpoint:
    """Where the server of a folder is, with its administrator's key."""
    url = urlsplit(json.loads((data / "server.json").read_text())["endpoint"])
    pair = configparser.ConfigParser()
    pair.read_string((data / "credentials").read_text())
    section = pair[pair.sections()[0]]
    assert url.hostname is not None
    assert url.port is not None
    return Endpoint(url.hostname, url.port, section["aws_access_key_id"], section["aws_secret_access_key"], REGION)


class Server:
    """`snapstone serve` as a process of its own, under the library where a control file is given."""

    def __init__(
        self,
        data: Path,
        *,
        workers: int = 1,
        control: Control | None = None,
        recordings: Path | None = None,
        options: Sequence[str] = (),
        log: Path | None = None,
        limit_seconds: float = START_LIMIT_SECONDS,
    ) -> None:
        """Returns once it is ready. Raises StartError."""
        log = log or log_of(data)
        variables = environment()
        if control is not None:
            variables |= control.environment(data.parent, recordings)
        with log.open("ab") as said:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", "snapstone", *arguments(data, workers, options)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=variables,
            )
        try:
            _await_line(self._process.stdout, b"listening", limit_seconds)
            self.running = Running(data, self._process.pid, log, endpoint_of(data))
        except BaseException as error:
            Running(data, self._process.pid, log, NOWHERE).kill()
            self._process.wait()
            if isinstance(error, (TimeoutError, EOFError)):
                raise StartError(f"{type(error).__name__} {error}\n{_tail(log)}") from None
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def stop(self) -> int:
        """Ask it to end; returns its exit code. One that does not end in time is killed, and TimeoutExpired raised."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_LIMIT_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """kill -9 of everything."""
        self.running.kill()
        self._process.kill()
        self._process.wait()
        _await_end(self.running.data)

    def wait(self, seconds: float) -> int | None:
        """Its exit code, once it has ended by itself; None if it goes on."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class Starter:
    """Forks servers from a loaded process. One at a time is up."""

    def __init__(self) -> None:
        self._unread = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.starter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment() | OF_IMAGES | {"LD_PRELOAD": str(build())},
            cwd=TREE,
        )

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a server that is up is not touched."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(STOP_LIMIT_SECONDS)

    def start(
        self,
        data: Path,
        control: Control | None = None,
        recordings: Path | None = None,
        options: Sequence[str] = (),
    ) -> Running:
        """A server that is ready. Raises StartError with what it said if it is not, or ends."""
        log = log_of(data)
        log.unlink(missing_ok=True)
        if recordings is not None:
            recordings.mkdir(parents=True, exist_ok=True)
        request = {
            "arguments": arguments(data, 1, options),
            "log": str(log),
            "root": str(data.parent),
            "control": None if control is None else str(control.path),
            "recordings": None if recordings is None else str(recordings),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        child = int(self._read()["pid"])
        running = Running(data, child, log, NOWHERE)
        try:
            is_ready = self._read()["ready"]
        except TimeoutError:
            running.kill()
            self._read()
            raise StartError(f"not ready after {START_LIMIT_SECONDS} s\n{_tail(log)}") from None
        if not is_ready:
            raise StartError(_tail(log))
        running.endpoint = endpoint_of(data)
        return running

    def _read(self) -> Any:
        """The starter's next answer: two may come at once."""
        if b"\n" not in self._unread:
            self._unread += _await_line(self._process.stdout, b"", START_LIMIT_SECONDS)
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)


def end(running: Running) -> None:
    """kill -9, and wait until its locks are free."""
    running.kill()
    _await_end(running.data)


def _await_end(data: Path) -> None:
    """Wait until no process has a file of the folder open as its lock."""
    import fcntl

    try:
        lock = os.open(data / "server.lock", os.O_RDWR)
    except OSError:
        return
    try:
        deadline = monotonic() + STOP_LIMIT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert monotonic() < deadline, f"{data} is still locked {STOP_LIMIT_SECONDS} s after kill -9"
                sleep(0.005)
    finally:
        os.close(lock)


def _await_line(stream: IO[bytes] | None, part: bytes, limit_seconds: float) -> bytes:
    """The next line that holds `part`. Raises TimeoutError, and EOFError at the end."""
    assert stream is not None
    deadline, gathered = monotonic() + limit_seconds, b""
    while not re.search(rb"^.*" + re.escape(part) + rb".*\n", gathered, re.MULTILINE):
        left = deadline - monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            raise TimeoutError(f"nothing within {limit_seconds} s")
        got = os.read(stream.fileno(), 65_536)
        if not got:
            raise EOFError("it ended")
        gathered += got
    return gathered


def sentence_in(said: str) -> str:
    """The sentence with which a server ended; nothing if it ended by a traceback. Its log may hold others'."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("{")]
    return lines[-1] if lines and lines[-1].startswith("snapstone: ") else ""


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:] if log.exists() else ""
