"""One serving process: assembled, listening, ticking, until a signal asks it to stop.

As `python -m snapstone.server.process.worker LISTENING CHANNEL IDENTITIES` it is one of several, started by the
supervisor and given two file descriptors and what the data folder's files were when the server opened them; its
settings come from the environment. By the channel the two talk (`worker_channel.py`); it closes when the parent is
gone, however it ended, and then the worker stops too.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from snapstone.server.config import Settings, SettingsError, read_settings
from snapstone.server.folder.data_folder import WATCHED, DataFolderError
from snapstone.server.folder.watch import WATCH_SECONDS, FolderWatch, GateKeeper, Identities, find_change
from snapstone.server.http.listener import Listener, endpoint_of
from snapstone.server.logs import LogFormat, configure
from snapstone.server.process.assembly import ServerParts, WriteTurns, assemble
from snapstone.server.process.heartbeat import Heartbeat, LoneMonitor, Monitor, Ticker, Vitals
from snapstone.server.process.worker_channel import MessageKind, inherited_channel
from snapstone.system.processes import StopSignals

FILE_LIMIT: Final = 8_192
"""Descriptors that a worker allows itself, if the system does."""

TURN_LOOKS: Final = 15
"""Looks, one a second, after which a turn to write that has not been given back is one that hangs. Transactions take
milliseconds, the longest steps of background work some seconds."""

ACCEPT_LOOKS: Final = 15
"""Looks after which an accepting thread that has not come round hangs; it comes round each second."""

TICK_LOOKS: Final = 3600
"""Looks after which one tick of the background work hangs: to drop the writes of a large snapshot takes minutes."""

_log = logging.getLogger(
    "snapstone.server.process.worker"
)  # By name: as a process of its own, this module is `__main__`.


def run_worker(
    settings: Settings,
    listening: socket.socket,
    on_ready: Callable[[], object],
    monitor: Monitor | None = None,
    expected: Identities = MappingProxyType({}),
) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT; calls `on_ready` once requests are answered.

    `monitor` learns what must make progress; without one, `/ready` reports what does not. `expected` is what the data
    folder's files must be. Raises DataFolderError if they are not.
    """
    _raise_file_limit()
    _require(settings, expected)
    service = assemble(settings, endpoint_of(listening))
    signals = StopSignals()
    listener = Listener(listening, service.application, settings.max_connections, shares=settings.workers > 1)
    monitor = monitor or LoneMonitor()
    watch = FolderWatch(settings.data, WATCHED)
    keeper = GateKeeper(watch, service.engine.gate, service.engine.health, monitor.start_anew)

    def tick() -> None:
        if keeper.look():  # Background work makes files, too.
            service.tick()

    ticker = Ticker(tick)
    watcher = Ticker(keeper.look, WATCH_SECONDS, "folder watch")  # By itself, for a tick may take its time.
    _require(settings, expected)
    # Service models and code stay until the end: looking through them for garbage would hold up every request.
    gc.freeze()
    listener.start()
    ticker.start()
    watcher.start()
    monitor.attach(vitals_of(service, listener, ticker), service.engine.health)
    on_ready()
    while not signals.wait():
        pass
    _log.info("stopping", extra={"fields": {"pid": os.getpid()}})
    monitor.detach()
    cut = listener.stop(settings.stop_grace_seconds)
    if cut:
        _log.warning("requests cut off when stopping", extra={"fields": {"pid": os.getpid(), "requests": cut}})
    if ticker.stop() and not cut:
        service.close()


def vitals_of(service: ServerParts, listener: Listener, ticker: Ticker) -> Vitals:
    """The threads that must make progress in a serving process."""
    vitals = Vitals()
    vitals.watch("the thread that accepts connections", lambda: listener.round_count, ACCEPT_LOOKS)
    for name, turns in service.turns.items():
        vitals.watch(f"a turn to write {name}", _turn_of(turns), TURN_LOOKS)

    def tick() -> int | None:
        waits = any(turns.awaits_turn for turns in service.turns.values())
        return None if waits else ticker.tick_under_way

    vitals.watch("background work", tick, TICK_LOOKS)
    return vitals


def main(arguments: list[str]) -> None:
    """Serve as one of several workers."""
    channel = inherited_channel(int(arguments[1]))
    heartbeat = Heartbeat(channel)
    heartbeat.start()
    try:
        settings = read_settings({})
        configure(settings.log_level, LogFormat(settings.log_format))
        listening = socket.socket(fileno=int(arguments[0]))
        expected = {name: tuple(identity) for name, identity in json.loads(arguments[2]).items()}
        run_worker(settings, listening, lambda: channel.send(MessageKind.READY), heartbeat, expected)
    except (DataFolderError, SettingsError) as error:
        channel.send(MessageKind.REFUSED, error.message)
        sys.exit(1)
    except Exception as error:
        channel.send(MessageKind.FAILED, f"{type(error).__name__}: {error}")
        raise


def _turn_of(turns: WriteTurns) -> Callable[[], int | None]:
    return lambda: turns.turn


def _require(settings: Settings, expected: Identities) -> None:
    """Start nothing, and so make nothing, in a folder that is not the server's."""
    change = find_change(settings.data, expected)
    if change is not None:
        raise DataFolderError(f"{change} (data folder {settings.data})")


def _raise_file_limit() -> None:
    """Open as many files as this process may: connections, segments and the catalog's readers add up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILE_LIMIT if hard == resource.RLIM_INFINITY else min(FILE_LIMIT, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main(sys.argv[1:])
