"""Snapstone's command line client under measurement: this checkout's, as a process that is timed from start to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.signing import Endpoint
from bench.snapstone_server import CHECKOUT

TIMEOUT_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 0.05
"""Between two checks of the memory of a client."""


class ClientFailedError(Exception):
    """A client, ours or a peer, ended otherwise than well."""


def timed(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Run a command to its end; returns the seconds that took and what it wrote to standard output."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise ClientFailedError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return seconds, done.stdout.strip()


class SnapstoneClient:
    """The commands against one server, with a state folder of its own."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self._environment = _environment(endpoint, folder)

    def upload(self, image: Path, parent_id: str | None = None) -> tuple[float, str]:
        """Seconds until the snapshot is completed, and its id."""
        return timed(self.upload_command(image, parent_id), self._environment)

    def download(self, snapshot_id: str, target: Path) -> float:
        """Seconds until the file is there, durable."""
        return timed(self.download_command(snapshot_id, target), self._environment)[0]

    def upload_command(self, image: Path, parent_id: str | None = None) -> list[str]:
        """What `upload` runs."""
        parent = [] if parent_id is None else ["--parent", parent_id]
        return [sys.executable, "-m", "snapstone", "upload", "--quiet", str(image), *parent]

    def download_command(self, snapshot_id: str, target: Path) -> list[str]:
        """What `download` runs."""
        return [sys.executable, "-m", "snapstone", "download", "--quiet", snapshot_id, str(target)]

    def watched(self, command: Sequence[str]) -> tuple[float, str, float]:
        """As `timed`, and the peak of resident memory in MiB."""
        begun, peak_mib = time.perf_counter(), 0.0
        with subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            while True:
                try:
                    output, errors = child.communicate(timeout=LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    peak_mib = max(peak_mib, _peak_mib(child.pid))
                    if time.perf_counter() - begun > TIMEOUT_SECONDS:
                        child.kill()
        seconds = time.perf_counter() - begun
        if child.returncode != 0:
            raise ClientFailedError(f"{' '.join(command)}: status {child.returncode}: {errors.strip()[-2000:]}")
        return seconds, output.strip(), peak_mib


def _peak_mib(process_id: int) -> float:
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:  # It has just ended.
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), default=0.0)


def _environment(endpoint: Endpoint, folder: Path) -> dict[str, str]:
    """This process's, without settings for AWS or Snapstone, pointed at the endpoint."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SNAPSTONE_", "AWS_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), *filter(None, [kept.get("PYTHONPATH")])]),
        "SNAPSTONE_STATE": str(folder),
        "AWS_ENDPOINT_URL": f"http://{endpoint.host}:{endpoint.port}",
        "AWS_ACCESS_KEY_ID": endpoint.access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoint.secret_access_key,
        "AWS_REGION": endpoint.region,
        "AWS_DEFAULT_REGION": endpoint.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
