"""A process in which everything a server needs is loaded, and which forks a server whenever it is requested one.

A fresh interpreter takes half a second to load; a thousand recoveries would take ten minutes for that alone. A fork of
this process runs the very command, `snapstone serve`, from the reading of its arguments on. Requests and answers are
lines of JSON on standard input and output; servers.py is the other side.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import snapstone.cli.commands.serve
import snapstone.server.process.supervisor
import snapstone.server.process.worker
import snapstone.wire.endpoints
from snapstone.cli.main import main as snapstone_main
from snapstone.service.operations import OPERATIONS
from snapstone.wire.models import Operation, load_operations
from tests.faults.library import attach, die_with_parent


def main() -> None:
    """Fork servers until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    die_with_parent()
    _keep_models()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        ready, report = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ready)
            _serve(request, report)
        os.close(report)
        _answer({"pid": child})
        with os.fdopen(ready, "rb") as said:
            _answer({"ready": b"listening" in said.readline()})


def _serve(request: dict[str, Any], report: int) -> None:
    """Be the server; never returns."""
    status = 70
    try:
        os.setsid()
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (report, 1), (log, 2)):
            os.dup2(source, target)
            os.close(source)
        if request["control"] is not None:
            recordings = request["recordings"]
            attach(Path(request["control"]), Path(request["root"]), None if recordings is None else Path(recordings))
        status = snapstone_main(request["arguments"])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()  # as the interpreter would
    finally:
        os._exit(status)


def _keep_models() -> None:
    """Compile the service models once, for all servers."""
    kept = {service: load_operations(service, functions) for service, functions in OPERATIONS.items()}

    def operations_of(service: str, _names: object) -> dict[str, Operation]:
        return dict(kept[service])

    endpoints: Any = snapstone.wire.endpoints
    endpoints.load_operations = operations_of


def _answer(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
