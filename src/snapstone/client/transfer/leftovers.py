"""Files that a killed process began and never put in place: they are told from those in the making by lock and age."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from snapstone.client.transfer.folders import state_failure

LEFTOVER_SECONDS: Final = 3_600.0
"""Younger files are left alone: their maker may be about to lock them."""


def remove_leftovers(folder: Path, now: float | None = None) -> None:
    """Remove the `*.new` files of a folder that nobody writes any more."""
    old = (time.time() if now is None else now) - LEFTOVER_SECONDS
    for path in folder.glob("*.new"):
        try:
            _remove_if_left(path, old)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise state_failure(path, error) from error


def _remove_if_left(path: Path, old: float) -> None:
    if path.stat().st_mtime > old:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
