"""The main job through boto3 releases years apart: older ones sign bodies that newer ones leave unsigned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.server_process import SOURCE, ServerProcess

PROGRAM: Final = Path(__file__).with_name("client_round.py")
LIMIT_SECONDS: Final = 60.0


SEEN: Final = {
    "statuses": ["completed", "completed"],
    "listed": [0, 5],
    "changed": [5],
    "read": True,
    "description": "Größe",
    "pending": ["ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"],
    "mismatch": ["InvalidSignatureException"],
    "constraint": "1 validation error detected: Value '10001' at 'maxResults' failed to satisfy constraint: "
    "Member must have value less than or equal to 10000",
}


def seen(command: list[str], environment: dict[str, str]) -> object:
    """What the program saw."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("release", ["boto3-2021", "boto3-2023"])
def test_older_releases_see_the_same(server: ServerProcess, release: str) -> None:
    python = Path(".tools", release, "bin/python").absolute()
    assert python.exists(), f"{release} is not set up: make clients"
    assert seen([str(python), str(PROGRAM), server.endpoint], server.environment()) == SEEN


def test_todays_release_needs_aws_endpoint_url_alone(server: ServerProcess) -> None:
    assert seen([sys.executable, str(PROGRAM)], server.environment()) == SEEN


def test_what_snapstone_env_prints_is_all_that_a_client_needs(server: ServerProcess) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["PYTHONPATH"] = str(SOURCE)
    script = f"""
        set -eu
        eval "$({sys.executable} -m snapstone env --data {server.data_folder})"
        exec {sys.executable} {PROGRAM}
    """
    assert seen(["bash", "-c", script], environment) == SEEN
