"""One serving process: assembled, listening, ticking, until a signal asks it to stop.

As `python -m snapstone.server.worker LISTENING LIFELINE [READY]` it is one of several, started by the supervisor and
given file descriptors; its settings come from the environment. The lifeline's other end closes when the parent is gone,
however it ended; then the worker stops too.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from threading import Thread
from typing import Final

from snapstone.server.assembly import assemble
from snapstone.server.binding import endpoint_of
from snapstone.server.config import Settings, read_settings
from snapstone.server.listener import Listener
from snapstone.server.logs import LogFormat, configure
from snapstone.server.stop_signals import StopSignals
from snapstone.server.ticker import Ticker

FILE_LIMIT: Final = 8_192
"""Descriptors that a worker allows itself, where the system does."""

_log = logging.getLogger("snapstone.server.worker")  # By name: as a process of its own, this module is `__main__`.


def run_worker(settings: Settings, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT; calls `on_ready` once requests are answered."""
    _raise_file_limit()
    service = assemble(settings, endpoint_of(listening))
    signals = StopSignals()
    listener = Listener(listening, service.application, settings.max_connections, shares=settings.workers > 1)
    ticker = Ticker(service.tick)
    # Service models and code stay until the end: looking through them for garbage would hold up every request.
    gc.freeze()
    listener.start()
    ticker.start()
    on_ready()
    while not signals.wait():
        pass
    _log.info("stopping", extra={"fields": {"pid": os.getpid()}})
    cut = listener.stop(settings.stop_grace_seconds)
    if cut:
        _log.warning("requests cut off at the stop", extra={"fields": {"pid": os.getpid(), "requests": cut}})
    if ticker.stop() and not cut:
        service.close()


def main(arguments: list[str]) -> None:
    """Serve as one of several workers."""
    listening, lifeline, *ready = map(int, arguments)
    settings = read_settings({})
    configure(settings.log_level, LogFormat(settings.log_format))
    Thread(target=_stop_with_parent, args=(lifeline,), name="lifeline", daemon=True).start()

    def report() -> None:
        for descriptor in ready:
            os.write(descriptor, b"\n")
            os.close(descriptor)

    run_worker(settings, socket.socket(fileno=listening), report)


def _raise_file_limit() -> None:
    """Open as many files as this process may: connections, segments and the catalog's readers add up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILE_LIMIT if hard == resource.RLIM_INFINITY else min(FILE_LIMIT, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stop_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # Nothing is ever written: it returns when the last other end is closed.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
