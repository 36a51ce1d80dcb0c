"""A real server as a process of its own, on a free port and a data folder, for tests that talk to it from outside."""

from __future__ import annotations

import configparser
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

START_LIMIT_SECONDS: Final = 30.0
STOP_LIMIT_SECONDS: Final = 30.0
REGION: Final = "eu-central-1"
SOURCE: Final = Path(__file__).parents[1] / "src"

Client = Any
"""A boto3 client: boto3 makes its methods at run time, from the service model."""


@dataclass(frozen=True)
class AccessKeyPair:
    """The access key pair of a client."""

    access_key_id: str
    secret_access_key: str


class ServerProcess:
    """`snapstone serve` from the moment it reports ready, until `stop` or `kill`."""

    def __init__(
        self,
        data_folder: Path,
        arguments: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        log: Path | None = None,
        program: Sequence[str] = ("snapstone", "serve"),
    ) -> None:
        """Start on `data_folder`, which may hold an earlier run's data; returns once the server is ready.

        It serves from one process unless the arguments say otherwise. `variables` are added to its environment. Its log
        is appended to a file beside the data folder, or to `log`. `program` is a module that serves, and its arguments.

        Raises RuntimeError, with what the server said, where it ends or is not ready within `START_LIMIT_SECONDS`.
        """
        if "--workers" not in arguments:
            arguments = ["--workers", "1", *arguments]
        self.data_folder = data_folder
        self.log_path = log or data_folder.with_name(data_folder.name + ".log")
        self._log = self.log_path.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *program, "--data", str(data_folder), "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment_without_aws()
            | {"PYTHONPATH": os.pathsep.join((str(SOURCE), str(SOURCE.parent)))}
            | dict(variables or {}),
        )
        try:
            self.ready_line = self._await_ready_line()
            self.endpoint = self.ready_line.split(" listening on ")[1].split(" ")[0]
            self.key = _read_key(data_folder / "credentials")
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process_id(self) -> int:
        """Of the process that was started; workers are its children."""
        return self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.endpoint)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def client(self, service: str, region: str = REGION, key: AccessKeyPair | None = None, path: str = "") -> Client:
        """An unmodified boto3 client of this server, which tries each request once."""
        key = key or self.key
        return boto3.client(
            service,
            endpoint_url=self.endpoint + path,
            region_name=region,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, max_pool_connections=64),
        )

    def environment(self, region: str = REGION) -> dict[str, str]:
        """Variables that make any AWS tool, started as a process, use this server and nothing else."""
        return _environment_without_aws() | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret_access_key,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stop(self) -> int:
        """Ask the server to end (SIGTERM) and wait; returns its exit code. Raises TimeoutExpired if it does not."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_LIMIT_SECONDS)
        finally:
            self._let_go()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would. Harmless if it has ended."""
        self._process.kill()
        self._process.wait(STOP_LIMIT_SECONDS)
        self._let_go()

    def _let_go(self) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _await_ready_line(self) -> str:
        assert self._process.stdout is not None
        deadline = monotonic() + START_LIMIT_SECONDS
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - monotonic()))
            piece = os.read(self._process.stdout.fileno(), 4096) if readable else b""
            if not piece:
                raise RuntimeError(f"the server did not get ready; its log:\n{self.log_path.read_text()}")
            line += piece
        return line.decode()


def _environment_without_aws() -> dict[str, str]:
    """The environment less whatever would point an AWS client elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _read_key(path: Path) -> AccessKeyPair:
    credentials = configparser.ConfigParser()
    credentials.read_string(path.read_text())
    profile = credentials["default"]
    return AccessKeyPair(profile["aws_access_key_id"], profile["aws_secret_access_key"])
