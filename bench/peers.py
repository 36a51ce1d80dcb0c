"""The peer: moto's server, in an environment of its own, behind the same load."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

from bench.connection import Connection
from bench.processes import Process
from bench.signing import Endpoint

HERE: Final = Path(__file__).parent
ENVIRONMENT: Final = HERE / ".peers"
REQUIREMENTS: Final = HERE / "peers.txt"
START_TIMEOUT_SECONDS: Final = 60.0
HOST: Final = "127.0.0.1"


def prepare() -> Path:
    """The folder of the peers' programs; reinstalled if the locked requirements have changed."""
    stamp = ENVIRONMENT / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    programs = ENVIRONMENT / "venv" / "bin"
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        print(f"installing the peers of {REQUIREMENTS.name} into {ENVIRONMENT}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(programs.parent)], check=True)
        install = ["install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(REQUIREMENTS)]
        subprocess.run([str(programs / "python"), "-m", "pip", *install], check=True)
        stamp.write_text(wanted)
    return programs


class MotoServer:
    """moto_server on a free port of loopback. It keeps every block in memory: `reset` empties it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.endpoint = Endpoint(HOST, _free_port(), "moto", "moto")
        command = [str(programs / "moto_server"), "-H", HOST, "-p", str(self.endpoint.port)]
        self.process = Process(command, folder / "moto.log", os.environ)
        try:
            self.process.wait_until_answering(HOST, self.endpoint.port, "/moto-api/", START_TIMEOUT_SECONDS)
        except BaseException:
            self.process.stop()
            raise

    def __enter__(self) -> MotoServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.stop()

    def reset(self) -> None:
        """Forget all snapshots and their blocks."""
        head = f"POST /moto-api/reset HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n".encode()
        with Connection(self.endpoint.host, self.endpoint.port) as connection:
            assert connection.exchange([head]).status == 200


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
