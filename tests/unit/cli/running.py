"""Commands as processes: what they print, how they end, and what they show on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.server_process import SOURCE, ServerProcess

LIMIT_SECONDS: Final = 60.0
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Client:
    """A user of a server's: environment, with a home of the user's own, and a folder to work in."""

    environment: Mapping[str, str]
    folder: Path

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Begin a command in the folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "snapstone", *arguments],
            env=self.environment,
            cwd=self.folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=LIMIT_SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def output(self, *arguments: str) -> str:
        """What a command that has to succeed, and has nothing to say but its result, prints."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def output_bytes(self, *arguments: str) -> bytes:
        """The same, not as text."""
        command = [sys.executable, "-m", "snapstone", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def client_of(server: ServerProcess, folder: Path) -> Client:
    """A user with nothing in the home folder."""
    environment = {
        name: value
        for name, value in server.environment().items()
        if not name.startswith(("SNAPSTONE_", "XDG_", "_ARGCOMPLETE", "PYTHON", "COLUMNS", "LINES"))
    }
    return Client(environment | {"PYTHONPATH": str(SOURCE), "HOME": str(folder), "TERM": "xterm"}, folder)


def on_terminal(client: Client, *arguments: str, typed: str = "", columns: int = 120) -> tuple[int, str]:
    """Run a command on a terminal of its own, with `typed` at the keyboard; exit code, and all that it showed."""
    process_id, terminal = pty.fork()
    if process_id == 0:
        signal.alarm(int(LIMIT_SECONDS))
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.chdir(client.folder)
        os.execve(sys.executable, [sys.executable, "-m", "snapstone", *arguments], dict(client.environment))
    os.write(terminal, typed.encode())
    shown = b""
    while piece := _read(terminal):
        shown += piece
    _, status = os.waitpid(process_id, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), _ESCAPE.sub("", shown.decode()).replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """Linux answers EIO when the last process has let the terminal go."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
