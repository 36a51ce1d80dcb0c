"""Runs Snapstone's own client as a user would: one process per command, the result on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.server_process import SOURCE, ServerProcess

COMMAND_LIMIT_SECONDS: Final = 120.0


class Commands:
    """`snapstone` against one server, with a state folder of its own."""

    def __init__(self, server: ServerProcess, state: Path) -> None:
        self._environment = server.environment() | {"PYTHONPATH": str(SOURCE), "SNAPSTONE_STATE": str(state)}

    def run(self, *arguments: str | Path) -> str:
        """What a command printed; raises CalledProcessError if it failed."""
        done = subprocess.run(
            [sys.executable, "-m", "snapstone", *map(str, arguments)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=True,
        )
        return done.stdout.strip()

    def report(self, *arguments: str | Path) -> dict[str, Any]:
        """The JSON result of a command."""
        reported: dict[str, Any] = json.loads(self.run(*arguments, "--json", "--quiet"))
        return reported
