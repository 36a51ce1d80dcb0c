"""A qemu-nbd of one's own that serves one image to this process, and does not outlive it, however this process ends.

- The listening socket is made here and handed over, and every connection is made at once: nothing waits for a socket to
  appear, and its name and folder are gone before the first byte is read. A qemu-nbd that dies closes all connections,
  which is how it is noticed.
- A shell stands between: it waits for the end of a pipe whose other end only this process holds, and then ends qemu-nbd
  (SIGTERM: it finishes what it is at and closes the image). The kernel closes the pipe of a killed process, too.
- Both have a session of their own, so that a Ctrl-C in the terminal ends the work here first, and them in order.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from snapstone.client.errors import StalledError
from snapstone.client.images.nbd import NbdConnection, ServerGoneError
from snapstone.client.images.qemu_img import environment, plain, refusal, tool

CONNECTION_COUNT: Final = 8
"""Requests that one qemu-nbd gets at a time. It serves all of them from one thread; more do not make it faster."""

END_SECONDS: Final = 60.0
"""For qemu-nbd to write what it holds and close the image; then it is killed."""

MAX_WORDS_SIZE: Final = 4_096
"""Bytes of the last that qemu-nbd said which are repeated in an error."""

_GUARD_NAME: Final = "snapstone-guard"
_GUARD: Final = """
exec 3<&0 </dev/null
LISTEN_FDS=1 sh -c 'export LISTEN_PID=$$; exec "$@"' sh "$@" >/dev/null &
served=$!
exec 3<&-
read -r line <&1
while kill "$served"; do sleep 0.1; done 2>/dev/null &
wait "$served"
status=$?
kill "$!" 2>/dev/null
exit "$status"
"""
"""Standard input is the listening socket, which becomes qemu-nbd's descriptor 3; standard output is the pipe.

SIGTERM is sent again and again: a qemu-nbd that has just begun forgets the first.
"""


class ImageServer:
    """qemu-nbd, serving `path`. `conversation` is for any number of threads."""

    def __init__(self, path: Path, image_format: str, *, writable: bool) -> None:
        self._path = path
        self._format = image_format
        self._ending = threading.Lock()
        self._status = 0
        self._said = ""
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._alive: int | None
        self._guard, self._alive, sockets = _start(self._command(writable), self._words)
        try:
            self._connections = [NbdConnection(connected) for connected in sockets]
        except ServerGoneError as error:
            _close_all(sockets)
            self._wait()
            raise refusal(path, image_format, self._said) from error
        except BaseException:
            _close_all(sockets)
            self._wait()
            raise
        self._idle: queue.LifoQueue[NbdConnection] = queue.LifoQueue()
        for connection in self._connections:
            self._idle.put(connection)
        self.size = self._connections[0].size
        """Bytes of the image."""

    @contextlib.contextmanager
    def conversation(self) -> Iterator[NbdConnection]:
        """A connection of one's own, for a request or a few."""
        connection = self._idle.get()
        try:
            yield connection
        except ServerGoneError as error:
            raise self._gone() from error
        except StalledError as error:
            raise StalledError(f"{self._path}: {error}") from error
        finally:
            self._idle.put(connection)

    def end(self) -> str | None:
        """End qemu-nbd, which closes the image in order; returns what went wrong, if anything did."""
        for connection in self._take_idle():
            connection.disconnect()
            self._idle.put(connection)  # Whoever comes too late is told so by it, and does not wait for ever.
        for connection in self._connections:
            connection.abort()
        status = self._wait()
        return None if status == 0 else f"{_manner(status)}: {self._said}"

    def _take_idle(self) -> list[NbdConnection]:
        idle = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        return idle

    def _command(self, writable: bool) -> list[str]:
        access = "--discard=unmap" if writable else "--read-only"
        options = (f"--format={self._format}", f"--shared={CONNECTION_COUNT}", access)
        return [tool("qemu-nbd"), *options, "--", str(self._path)]

    def _wait(self) -> int:
        """Let the guard go, and with it qemu-nbd. Ends both by force if they do not end by themselves."""
        with self._ending:
            if self._alive is not None:
                _let_go(self._alive)
                self._alive = None
            if not self._words.closed:
                self._status = _wait_or_kill(self._guard)
                self._said = _last_words(self._words)
                self._words.close()
            return self._status

    def _gone(self) -> ServerGoneError:
        manner = _manner(self._wait())
        return ServerGoneError(f"qemu-nbd, which opened {self._path}, ended unexpectedly ({manner}): {self._said}")


def _start(command: Sequence[str], words: IO[bytes]) -> tuple[subprocess.Popen[bytes], int, list[socket.socket]]:
    """The guard, the end of the pipe that keeps it waiting, and the connections, on which nothing was said yet."""
    with (
        tempfile.TemporaryDirectory(prefix="snapstone-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
    ):
        sockets = _connect(listener, folder)
        until, alive = os.pipe()
        try:
            guard = subprocess.Popen(
                ("/bin/sh", "-c", _GUARD, _GUARD_NAME, *command),
                stdin=listener.fileno(),
                stdout=until,
                stderr=words,
                env=environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(alive)
            raise
        finally:
            os.close(until)
        return guard, alive, sockets


def _connect(listener: socket.socket, folder: str) -> list[socket.socket]:
    """Connections that wait to be accepted. The name of a socket is short: so `folder`, which may not be, is opened."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        name = f"/proc/self/fd/{descriptor}/nbd"
        listener.bind(name)
        listener.listen(CONNECTION_COUNT)
        sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(CONNECTION_COUNT)]
        for it in sockets:
            it.connect(name)
        return sockets
    finally:
        os.close(descriptor)


def _let_go(alive: int) -> None:
    """End the guard's waiting, even where a fork of this process holds the pipe, too."""
    with contextlib.suppress(BrokenPipeError):
        os.write(alive, b"\n")
    os.close(alive)


def _wait_or_kill(guard: subprocess.Popen[bytes]) -> int:
    try:
        return guard.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(guard.pid, signal.SIGKILL)
        return guard.wait()


def _last_words(words: IO[bytes]) -> str:
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - MAX_WORDS_SIZE))
    lines = words.read().splitlines(keepends=True)
    return plain(b"".join(line for line in lines if not line.startswith(_GUARD_NAME.encode())))


def _close_all(sockets: Sequence[socket.socket]) -> None:
    for connected in sockets:
        connected.close()


def _manner(status: int) -> str:
    """How a process ended, from the status that a shell has for it."""
    signal_number = -status if status < 0 else status - 128
    return f"killed by signal {signal_number}" if signal_number > 0 else f"exit status {status}"
