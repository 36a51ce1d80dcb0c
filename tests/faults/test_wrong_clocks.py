"""Real servers whose wall clock is set to a wrong time for a while: nothing is destroyed by it, and no put is lost."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import pytest

from tests.faults.library import Control
from tests.server_process import SOURCE, ServerProcess

DAY: Final = 86_400.0
YEAR: Final = 365 * DAY
BLOCK: Final = b"\x17" * 524_288
CHECKSUM: Final = base64.b64encode(hashlib.sha256(BLOCK).digest()).decode()

WRONG_SECONDS: Final = 15.0
"""More than a sweep of every worker."""

LIMIT_SECONDS: Final = 30.0

PUT: Final = """
import boto3, hashlib, base64, sys
block = b"\\x17" * 524_288
checksum = base64.b64encode(hashlib.sha256(block).digest()).decode()
boto3.client("ebs").put_snapshot_block(
    SnapshotId=sys.argv[1], BlockIndex=int(sys.argv[2]), BlockData=block, DataLength=len(block), Checksum=checksum,
    ChecksumAlgorithm="SHA256",
)
print(checksum)
"""


@dataclass
class Machine:
    """A server of two workers, and whatever else runs under the same clock."""

    folder: Path
    control: Control = field(init=False)
    server: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        self.control = Control(self.folder / "control")
        self.start()

    @property
    def variables(self) -> dict[str, str]:
        return self.control.environment(self.folder / "data")

    def start(self) -> None:
        self.server = ServerProcess(self.folder / "data", ["--workers", "2"], self.variables)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A Python process under this machine's clock, with the server's key."""
        environment = self.server.environment() | {"PYTHONPATH": str(SOURCE)} | self.variables
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120
        )

    def snapstone(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "snapstone", *arguments)

    def problems(self) -> dict[str, str]:
        """What one of the workers says is wrong."""
        with urllib.request.urlopen(f"{self.server.endpoint}/ready", timeout=10) as answer:
            document = json.load(answer)
        return {problem["subject"]: problem["message"] for problem in document.get("problems", [])}

    def wait_until_all_workers(self, do_tell: bool) -> None:
        """Wait until ten answers in a row tell of the clock, or none of them does."""
        deadline, agreed = monotonic() + LIMIT_SECONDS, 0
        while agreed < 10:
            assert monotonic() < deadline, "the workers do not agree"
            agreed = agreed + 1 if ("clock" in self.problems()) is do_tell else 0
            sleep(0.05)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "data").mkdir()
    machine = Machine(tmp_path)
    yield machine
    machine.server.stop()


def put(machine: Machine, snapshot_id: str, block_index: int) -> None:
    """Write a block as a client on this machine does, whatever its clock says."""
    done = machine.run("-c", PUT, snapshot_id, str(block_index))
    assert (done.stdout.strip(), done.returncode) == (CHECKSUM, 0), done.stderr


def start(machine: Machine, **members: Any) -> str:
    answer = machine.server.client("ebs").start_snapshot(VolumeSize=1, **members)
    return str(answer["SnapshotId"])


def complete(machine: Machine, snapshot_id: str, count: int) -> str:
    answer = machine.server.client("ebs").complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=count)
    return str(answer["Status"])


def doomed_key(machine: Machine) -> str:
    """A KMS key in its waiting time."""
    kms = machine.server.client("kms")
    key_id = str(kms.create_key()["KeyMetadata"]["KeyId"])
    kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    return key_id


def binned_snapshot(machine: Machine) -> str:
    """A snapshot in the recycle bin."""
    machine.server.client("rbin").create_rule(
        ResourceType="EBS_SNAPSHOT", RetentionPeriod={"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"}
    )
    snapshot_id = start(machine)
    put(machine, snapshot_id, 0)
    assert complete(machine, snapshot_id, 1) == "completed"
    machine.server.client("ec2").delete_snapshot(SnapshotId=snapshot_id)
    return snapshot_id


def bin_of(machine: Machine) -> list[str]:
    return [each["SnapshotId"] for each in machine.server.client("ec2").list_snapshots_in_recycle_bin()["Snapshots"]]


def key_state(machine: Machine, key_id: str) -> str:
    return str(machine.server.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"])


def stay(machine: Machine) -> None:
    """The server runs on."""


def restart(machine: Machine) -> None:
    machine.server.stop()
    machine.start()


def kill(machine: Machine) -> None:
    machine.server.kill()
    machine.start()


@pytest.mark.parametrize("between", [stay, restart, kill])
def test_a_year_ahead_for_fifteen_seconds_destroys_nothing(
    machine: Machine, between: Callable[[Machine], None]
) -> None:
    key_id, binned, pending = doomed_key(machine), binned_snapshot(machine), start(machine, Timeout=10)
    put(machine, pending, 0)

    machine.control.clock_offset_seconds = YEAR
    between(machine)
    machine.wait_until_all_workers(do_tell=True)
    sleep(WRONG_SECONDS)
    put(machine, pending, 1)
    between(machine)
    machine.control.clock_offset_seconds = 0.0
    between(machine)
    machine.wait_until_all_workers(do_tell=False)

    assert key_state(machine, key_id) == "PendingDeletion"
    assert bin_of(machine) == [binned]
    assert complete(machine, pending, 2) == "completed"


def test_an_operator_hears_of_the_clock_and_confirms_it_beside_the_running_server(machine: Machine) -> None:
    key_id, binned, data = doomed_key(machine), binned_snapshot(machine), str(machine.folder / "data")
    assert machine.snapstone("clock", "--data", data).returncode == 0
    machine.control.clock_offset_seconds = YEAR
    machine.wait_until_all_workers(do_tell=True)
    message = machine.problems()["clock"]
    assert "snapstone clock confirm" in message
    assert message in machine.server.log_path.read_text()
    shown = machine.snapstone("clock", "--json", "--data", data)
    assert (shown.returncode, json.loads(shown.stdout)["state"]) == (1, "not trusted")

    confirmed = machine.snapstone("clock", "confirm", "--data", data)
    assert confirmed.returncode == 0, confirmed.stderr
    machine.wait_until_all_workers(do_tell=False)
    assert machine.snapstone("clock", "--data", data).returncode == 0
    sleep(WRONG_SECONDS)
    machine.control.clock_offset_seconds = 0.0
    assert bin_of(machine) == []
    with pytest.raises(machine.server.client("kms").exceptions.NotFoundException):
        key_state(machine, key_id)
    described = machine.server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert binned not in [each["SnapshotId"] for each in described]


def test_an_upload_under_a_clock_two_hours_ahead_completes(machine: Machine, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(BLOCK * 8 + bytes(1 << 20))
    machine.control.clock_offset_seconds = 7_200.0
    uploaded = machine.snapstone("upload", str(image))
    assert uploaded.returncode == 0, uploaded.stderr
    snapshot_id = uploaded.stdout.split()[-1]
    verified = machine.snapstone("verify", snapshot_id)
    assert verified.returncode == 0, verified.stderr
