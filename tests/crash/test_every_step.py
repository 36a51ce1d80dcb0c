"""A client that is killed at every step: what comes out of the same call afterwards is right, whichever step it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_process import SOURCE, ServerProcess

LIMIT_SECONDS = 240.0
LEAST_STEPS = 40
"""Fewer would mean that the steps are not counted any more."""


@pytest.mark.parametrize("kind", ["upload", "changed", "download"])
def test_a_kill_at_any_step_costs_nothing(kind: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with ServerProcess(tmp_path / "data") as server:
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash.stepwise", kind, str(work)],
            env=server.environment() | {"PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == {}
    assert outcome["step_count"] >= LEAST_STEPS
