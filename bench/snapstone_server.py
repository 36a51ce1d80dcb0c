"""Snapstone under measurement: this checkout's server, or another's, in a data folder of its own."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from bench.processes import Process, ServerFailedError
from bench.signing import Endpoint

CHECKOUT: Final = Path(__file__).parent.parent
START_TIMEOUT_SECONDS: Final = 120.0


class SnapstoneServer:
    """`snapstone serve` on a free port, ready when constructed; `data` stays when it is stopped.

    Without a worker count it runs as many processes as it does by default.
    """

    def __init__(
        self,
        data: Path,
        worker_count: int | None = None,
        arguments: Sequence[str] = (),
        checkout: Path = CHECKOUT,
    ) -> None:
        self.data = data
        connection_file = data / "server.json"
        connection_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "snapstone", "serve", "--data", str(data), "--port", "0"]
        if worker_count is not None:
            command += ["--workers", str(worker_count)]
        command += arguments
        begun = time.perf_counter()
        self.log = data.parent / f"{data.name}.log"
        self.process = Process(command, self.log, _environment(checkout))
        try:
            host, port = self._address(connection_file)
            self.process.wait_until_answering(host, port, "/ready", START_TIMEOUT_SECONDS)
            self.start_seconds = time.perf_counter() - begun
            self.endpoint = _endpoint(host, port, data / "credentials")
        except BaseException:
            self.process.stop()
            raise

    def __enter__(self) -> SnapstoneServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.stop()

    def _address(self, connection_file: Path) -> tuple[str, int]:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            self.process.check_running()
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                host, _, port = json.loads(connection_file.read_text())["endpoint"].rpartition("//")[2].rpartition(":")
                return host, int(port.rstrip("/"))
            time.sleep(0.005)
        raise ServerFailedError(f"no {connection_file.name} within {START_TIMEOUT_SECONDS} s")


def _environment(checkout: Path) -> dict[str, str]:
    """This process's, with a checkout's code first and without settings for Snapstone: the defaults are measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNAPSTONE_")}
    path = [str(checkout / "src"), str(checkout), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(path)}


def _endpoint(host: str, port: int, credentials: Path) -> Endpoint:
    parsed = configparser.ConfigParser(default_section="")
    parsed.read(credentials)
    profile = parsed["default"] if "default" in parsed else parsed[parsed.sections()[0]]
    return Endpoint(host, port, profile["aws_access_key_id"], profile["aws_secret_access_key"])
