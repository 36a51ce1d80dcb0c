"""The scripts that the project began with, word for word, against a fresh server that they know by AWS_* alone.

They lie in `seed/` as they were given: one line for the AWS CLI, one script for a region, one for every region.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.server_process import ServerProcess

SCRIPTS: Final = Path(__file__).with_name("seed")
AWS: Final = Path(".tools/awscli/bin/aws").absolute()
LIMIT_SECONDS: Final = 120.0

Run = Callable[..., str]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on an empty data folder, where nothing has been set yet."""
    with ServerProcess(tmp_path / "data") as process:
        yield process


@pytest.fixture
def run(fresh: ServerProcess, tmp_path: Path) -> Run:
    """Run a command in an empty folder, told of the server by its environment alone; returns what it prints."""
    folder = tmp_path / "client"
    folder.mkdir()

    def run_command(*command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd=folder,
            env=fresh.environment(region="eu-west-1"),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_command


def is_encrypted_by_default(server: ServerProcess, region: str) -> bool:
    return bool(server.client("ec2", region=region).get_ebs_encryption_by_default()["EbsEncryptionByDefault"])


def test_the_line_for_the_cli_turns_encryption_on(fresh: ServerProcess, run: Run) -> None:
    assert AWS.exists(), "the AWS CLI is not set up: make clients"
    prompt, program, *arguments = shlex.split((SCRIPTS / "enable.sh").read_text())
    assert (prompt, program) == ("$", "aws")
    for _ in range(2):
        assert json.loads(run(AWS, *arguments, "--output", "json")) == {"EbsEncryptionByDefault": True}
    assert is_encrypted_by_default(fresh, "eu-west-1")
    assert not is_encrypted_by_default(fresh, "eu-west-2")


def test_the_script_for_one_region_turns_encryption_on_once(fresh: ServerProcess, run: Run) -> None:
    first = run(sys.executable, SCRIPTS / "one_region.py")
    assert "Checking AWS Region: eu-west-1" in first
    assert "Not activated, activation in progress" in first
    assert "Setup default EBS Encryption for region eu-west-1 :  True" in first
    assert is_encrypted_by_default(fresh, "eu-west-1")
    assert not is_encrypted_by_default(fresh, "us-east-1")
    second = run(sys.executable, SCRIPTS / "one_region.py")
    assert "Activated, nothing to do" in second
    assert "Not activated" not in second


def test_the_script_for_every_region_turns_encryption_on_everywhere_once(fresh: ServerProcess, run: Run) -> None:
    regions = [each["RegionName"] for each in fresh.client("ec2").describe_regions()["Regions"]]
    assert {"eu-west-1", "us-east-1"} <= set(regions)
    first = run(sys.executable, SCRIPTS / "every_region.py").splitlines()
    assert [line for line in first if line.startswith("Checking")] == [f"Checking AWS Region: {it}" for it in regions]
    assert first.count("Not activated, activation in progress") == len(regions)
    assert all(is_encrypted_by_default(fresh, region) for region in regions)
    second = run(sys.executable, SCRIPTS / "every_region.py").splitlines()
    assert second.count("Activated, nothing to do") == len(regions)
    assert "Not activated, activation in progress" not in second
