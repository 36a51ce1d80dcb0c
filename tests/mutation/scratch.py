"""A copy of the tree in which a module is changed and tests are run: nothing of the working tree is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).parents[2]
SOURCE: Final = Path("src/snapstone")

MEMORY_LIMIT_KIB: Final = 16 << 20
"""Addresses of one test run: a change that allocates for ever ends there, and not the machine."""

SHARED: Final = (".tools", ".venv")
"""Of the working tree: what tests use and do not write to."""


class Outcome(Enum):
    """What became of one run of tests."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"


class Scratch:
    """One copy, for one run at a time. Removed by `close`."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="snapstone-mutation-"))
        self.tree = self._root / "tree"
        self.failed_test = ""
        """Of the last run that failed."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=TREE,
            stdout=subprocess.PIPE,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (TREE / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TREE / name, self.tree / name)
        for name in SHARED:
            (self.tree / name).symlink_to(TREE / name)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self._root, ignore_errors=True)

    def read(self, module: Path) -> bytes:
        """A module's text as it is in the copy."""
        return (self.tree / SOURCE / module).read_bytes()

    def write(self, module: Path, content: bytes) -> None:
        """Replace a module (a path below `src/snapstone`), and what Python compiled of it, known by size and second."""
        path = self.tree / SOURCE / module
        path.write_bytes(content)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()

    def run(self, arguments: Sequence[str], limit_seconds: float) -> Outcome:
        """Run pytest until a test fails; it and what it has started are killed at the limit."""
        command = [
            *("sh", "-c", f'ulimit -v {MEMORY_LIMIT_KIB}; exec "$@"', "sh"),
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            f"--basetemp={self._root / 'tests'}",
            *arguments,
        ]
        variables = os.environ | {"PYTHONPATH": str(self.tree / "src"), "FAULTS_SOURCE": str(self.tree / "src")}
        with (self._root / "output").open("w+") as output:
            process = subprocess.Popen(
                command, cwd=self.tree, env=variables, stdout=output, stderr=output, start_new_session=True
            )
            try:
                code = process.wait(limit_seconds)
            except subprocess.TimeoutExpired:
                return Outcome.TIMED_OUT
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            output.seek(0)
            said = output.read().splitlines()
        if code in (0, 5):  # 5: there was no test to be run
            return Outcome.PASSED
        blamed = [line.split()[1] for line in said if line.startswith(("FAILED ", "ERROR tests"))]
        self.failed_test = blamed[0] if blamed else (said or [""])[-1]
        return Outcome.FAILED
