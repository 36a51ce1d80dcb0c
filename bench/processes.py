"""Server processes under measurement: started, watched through /proc, ended by their process ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.connection import Connection

STOP_TIMEOUT_SECONDS: Final = 20.0
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class ServerFailedError(Exception):
    """A server did not start, or exited unexpectedly."""


class Process:
    """One server and its children, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def check_running(self) -> None:
        """Raise where the server has ended, with the end of its log."""
        if self._child.poll() is not None:
            said = self.log.read_text(errors="replace")[-2000:]
            raise ServerFailedError(f"the server ended with status {self._child.returncode}:\n{said}")

    def wait_until_answering(self, host: str, port: int, path: str, timeout_seconds: float) -> None:
        """Wait until `path` answers 200."""
        head = f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            self.check_running()
            with contextlib.suppress(OSError), Connection(host, port) as connection:
                if connection.exchange([head]).status == 200:
                    return
            time.sleep(0.005)
        raise ServerFailedError(f"{path} did not answer 200 within {timeout_seconds} s; the server's log: {self.log}")

    def process_ids(self) -> list[int]:
        """The server's process and all that descend from it."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    children.setdefault(_parent_id(folder), []).append(int(folder.name))
        found = [self._child.pid]
        for process_id in found:
            found += children.get(process_id, [])
        return found

    def peak_rss_mib(self) -> list[float]:
        """The most memory each process has had resident so far (VmHWM)."""
        peaks = []
        for process_id in self.process_ids():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process_id}/status").read_text()
                peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
        return peaks

    def cpu_seconds(self) -> float:
        """Processor time, user and system, that the server's processes have used so far."""
        ticks = 0
        for process_id in self.process_ids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_SECOND

    def stop(self) -> None:
        """Ask the server to end and wait; end it by force if it does not."""
        if self._child.poll() is not None:
            return
        descendants = self.process_ids()[1:]
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            for process_id in descendants:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)

    def kill(self) -> None:
        """End the server and all its processes at once, as a crash does."""
        for process_id in self.process_ids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        self._child.wait()


def _parent_id(folder: Path) -> int:
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
