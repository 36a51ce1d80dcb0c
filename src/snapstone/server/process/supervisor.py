"""`snapstone serve`: one process that serves, or a parent that starts several and keeps them running.

Workers are fresh interpreters that accept on one shared socket: nothing is forked from a process that has threads.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable

from snapstone.server.config import Settings
from snapstone.server.folder.data_folder import LASTING, DataFolder, RunningServer, use_data_folder
from snapstone.server.folder.root_key import ensure_root_key
from snapstone.server.folder.watch import FolderWatch, open_space_guard, require_space
from snapstone.server.http.listener import bind, endpoint_of
from snapstone.server.process.worker_pool import WorkerPool
from snapstone.system.processes import StopSignals

_log = logging.getLogger(__name__)


class FolderLostError(Exception):
    """The server was stopped while its data folder was not the one it had opened; the message says what is wrong."""


def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; calls `on_ready` with the endpoint once requests are answered.

    Raises SettingsError, DataFolderError and WorkerFailedError if it cannot begin, FolderLostError at its end.
    """
    with use_data_folder(settings.data, settings.accept_copied_folder) as folder, bind(settings) as listening:
        if not settings.read_only:
            require_space(open_space_guard(folder))
        ensure_root_key(settings, folder)
        _prepare_catalog(settings, folder)
        endpoint = endpoint_of(listening)
        server = RunningServer(endpoint, os.getpid(), settings.region)
        watch = FolderWatch(folder.path, LASTING)

        def announce() -> None:
            nonlocal server
            server = folder.announce(server)
            _log.info(
                "ready", extra={"fields": {"endpoint": endpoint, "pid": os.getpid(), "workers": settings.workers}}
            )
            on_ready(endpoint)

        try:
            if settings.workers == 1:
                _serve_here(settings, listening, announce)
            else:
                _serve_by_workers(settings, listening, watch, announce)
            change = watch.look()
        finally:
            folder.withdraw(server)
            watch.close()
        if change is not None:
            raise FolderLostError(f"{change}; the server lost it while running, and what was stored there with it")


def _serve_here(settings: Settings, listening: socket.socket, announce: Callable[[], None]) -> None:
    from snapstone.server.process.worker import run_worker  # The parent of workers has no use for all that it imports.

    run_worker(settings, listening, announce)


def _serve_by_workers(
    settings: Settings, listening: socket.socket, watch: FolderWatch, announce: Callable[[], None]
) -> None:
    pool = WorkerPool(settings, listening, watch.look, worker_arguments=(json.dumps(watch.identities),))
    try:
        pool.start()
        signals = StopSignals()
        announce()
        while not signals.wait(pool.look()):
            pass
        listening.close()
    finally:
        pool.stop()


def _prepare_catalog(settings: Settings, folder: DataFolder) -> None:
    """Done before workers start; its imports are loaded only now, not with this module."""
    from snapstone.server.process.preparation import prepare_catalog

    prepare_catalog(settings, folder)
