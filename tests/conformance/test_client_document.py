"""docs/client.md: the Python examples of its chapters on the library run, one after the other, on a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.server_process import SOURCE, ServerProcess

DOCUMENT: Final = SOURCE.parent / "docs" / "client.md"
LIMIT_SECONDS: Final = 60.0
REGISTRATION: Final = (
    "import fsspec\n"
    "fsspec.register_implementation('snapstone', 'snapstone.client.library.filesystem.SnapstoneFileSystem', True)\n"
)
"""What the entry point does where the project is installed, and not only on the path."""


def test_every_example_runs(server: ServerProcess, tmp_path: Path) -> None:
    chapters = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    ours = "".join(chapter for chapter in chapters if chapter.startswith(("The library\n", "Paginators and waiters")))
    examples = re.findall(r"^```python\n(.*?)^```$", ours, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 6
    done = subprocess.run(
        [sys.executable, "-c", REGISTRATION + "\n".join(examples)],
        cwd=tmp_path,
        env=server.environment() | {"PYTHONPATH": str(SOURCE), "SNAPSTONE_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["0", "1", "7"]
