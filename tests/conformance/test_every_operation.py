"""Each operation offered, by boto3, by the AWS CLI of today (PyPI) and by the AWS CLI that Debian has."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
from botocore import xform_name
from tests.conformance.every_operation import SUBJECTS, Call
from tests.server_process import ServerProcess

from snapstone.service.operations import OPERATIONS

PYPI_CLI: Final = Path(".tools/awscli/bin/aws").absolute()
DEBIAN_CLI: Final = Path("/usr/bin/aws")
COMMAND_LIMIT_SECONDS: Final = 60.0

UNKNOWN_COMMAND: Final = 252
"""Exit code of version 2 for a command that it does not have (version 1 has them all)."""

YOUNGER_THAN_DEBIANS_CLI: Final = frozenset(
    {
        ("ec2", "LockSnapshot"),
        ("ec2", "UnlockSnapshot"),
        ("ec2", "DescribeLockedSnapshots"),
        ("ec2", "EnableSnapshotBlockPublicAccess"),
        ("ec2", "DisableSnapshotBlockPublicAccess"),
        ("ec2", "GetSnapshotBlockPublicAccessState"),
        ("kms", "RotateKeyOnDemand"),
        ("kms", "ListKeyRotations"),
    }
)
"""Operations of 2023 and 2024; its release 2.9.19 is of 2023-01."""

Taken = set[tuple[str, str]]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of its own: settings of a region change on the way."""
    with ServerProcess(tmp_path / "data") as server:
        yield server


def boto3_call(server: ServerProcess, taken: Taken) -> Call:
    clients: dict[str, Any] = {}

    def call(service: str, operation: str, **members: Any) -> Any:
        client = clients.setdefault(service, server.client(service))
        answer = getattr(client, xform_name(operation))(**members)
        taken.add((service, operation))
        del answer["ResponseMetadata"]
        if "BlockData" in answer:
            answer["BlockData"] = answer["BlockData"].read()
        return answer

    return call


def cli_call(server: ServerProcess, taken: Taken, program: Path, folder: Path, unknown: Taken) -> Call:
    assert program.exists(), f"{program} is not set up: make clients"
    by_boto3 = boto3_call(server, set())
    session = botocore.session.get_session()

    def call(service: str, operation: str, **members: Any) -> Any:
        if (service, operation) in unknown:
            return by_boto3(service, operation, **members)
        model = session.get_service_model(service).operation_model(operation)
        blobs = {name: members.pop(name) for name in list(members) if isinstance(members[name], bytes)}
        command = [
            *(str(program), service, xform_name(operation, "-"), "--endpoint-url", server.endpoint, "--output", "json"),
            *("--cli-input-json", json.dumps(members)),
        ]
        for name, content in blobs.items():
            (folder / name).write_bytes(content)
            streamed = "" if name == "BlockData" else "fileb://"
            command += [f"--{xform_name(name, '-')}", f"{streamed}{folder / name}"]
        if operation == "GetSnapshotBlock":
            command[-2:] = [f"--{xform_name(name, '-')}={value}" for name, value in members.items()]
            command.append(str(folder / "out"))
        done = subprocess.run(
            command,
            env=server.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (command[1:3], done.returncode, done.stderr)
        taken.add((service, operation))
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        if operation == "GetSnapshotBlock":
            answer["BlockData"] = (folder / "out").read_bytes()
        return with_bytes(answer, model.output_shape.members if model.output_shape else {})

    return call


def with_bytes(answer: dict[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the CLI with its blobs, which it prints as base64, as bytes."""
    return {
        name: b64decode(value) if isinstance(value, str) and shapes[name].type_name == "blob" else value
        for name, value in answer.items()
    }


def offered() -> Taken:
    return {(service, operation) for service, operations in OPERATIONS.items() for operation in operations}


def test_boto3_takes_every_operation(own_server: ServerProcess) -> None:
    taken: Taken = set()
    for subject in SUBJECTS:
        subject(boto3_call(own_server, taken))
    assert taken == offered()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_cli_of_pypi_takes_them(own_server: ServerProcess, tmp_path: Path, subject: Callable[[Call], None]) -> None:
    by_boto3: Taken = set()
    taken: Taken = set()
    subject(boto3_call(own_server, by_boto3))
    subject(cli_call(own_server, taken, PYPI_CLI, tmp_path, set()))
    assert taken == by_boto3


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_cli_of_debian_takes_those_it_knows(
    own_server: ServerProcess, tmp_path: Path, subject: Callable[[Call], None]
) -> None:
    by_boto3: Taken = set()
    taken: Taken = set()
    subject(boto3_call(own_server, by_boto3))
    subject(cli_call(own_server, taken, DEBIAN_CLI, tmp_path, set(YOUNGER_THAN_DEBIANS_CLI)))
    assert taken == by_boto3 - YOUNGER_THAN_DEBIANS_CLI


@pytest.mark.parametrize(("service", "operation"), sorted(YOUNGER_THAN_DEBIANS_CLI))
def test_the_cli_of_debian_really_does_not_know_the_others(service: str, operation: str) -> None:
    done = subprocess.run(
        [str(DEBIAN_CLI), service, xform_name(operation, "-")], capture_output=True, text=True, check=False
    )
    assert done.returncode == UNKNOWN_COMMAND
    assert re.search("Invalid choice|argument operation", done.stderr)
