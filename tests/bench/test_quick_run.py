"""The benchmark runs from end to end; what it measures in a quick run says nothing and is not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def test_a_quick_run_measures_everything_and_gets_right_answers(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [
        sys.executable,
        "-m",
        "bench",
        "--quick",
        "--no-peer",
        "--scratch",
        str(tmp_path),
        "--json",
        str(results),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line["name"] for line in json.loads(results.read_text())["measures"]}
    for measure in (
        "PutSnapshotBlock",
        "GetSnapshotBlock",
        "ListChangedBlocks",
        "ListSnapshotBlocks",
        "start",
        "upload of 50 MiB",
        "download of 50 MiB",
        "upload again",
        "upload of a sparse image",
        "under a quota",
    ):
        assert any(measure in name for name in lines), f"no line about {measure} among {sorted(lines)}"
