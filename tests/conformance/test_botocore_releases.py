"""The main job through boto3 releases years apart: older ones sign bodies that newer ones leave unsigned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.server_process import ServerProcess

PROGRAM: Final = Path(__file__).with_name("client_round.py")
LIMIT_SECONDS: Final = 60.0


@pytest.mark.parametrize(
    "python",
    [".tools/boto3-2021/bin/python", ".tools/boto3-2023/bin/python", sys.executable],
    ids=["boto3 of 2021", "boto3 of 2023", "boto3 of today"],
)
def test_the_main_job_and_its_faults_look_the_same(server: ServerProcess, python: str) -> None:
    assert Path(python).exists(), "this boto3 is not set up: make clients"
    done = subprocess.run(
        [Path(python).absolute(), PROGRAM, server.endpoint],
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
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
