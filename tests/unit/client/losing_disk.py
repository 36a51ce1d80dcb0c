"""A disk that loses what was written before a failed sync, as Linux does: the error comes once, and reads go on well.

It stands behind the calls of this process: what a file would hold after a loss of power is kept in a file of its own.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import pytest

_Pieces = list[tuple[int, bytes]]


class LosingDisk:
    """Files are known by device and inode, so they may be renamed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: str | None = None
        """The next sync of a file or folder whose path has this in it fails; set it again for another one."""
        self._folder = folder
        self._folder.mkdir()
        self._lock = Lock()
        self._pending: dict[tuple[int, int], _Pieces] = defaultdict(list)
        self._pwrite, self._pwritev = os.pwrite, os.pwritev
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "pwritev", self.pwritev)
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._syncing(getattr(os, name)))

    def pwrite(self, descriptor: int, content: bytes | memoryview, offset: int) -> int:
        """Write, and remember until the next sync."""
        size = self._pwrite(descriptor, content, offset)
        self._remember(descriptor, bytes(content[:size]), offset)
        return size

    def pwritev(self, descriptor: int, contents: Sequence[memoryview], offset: int) -> int:
        """The same."""
        size = self._pwritev(descriptor, contents, offset)
        self._remember(descriptor, b"".join(contents)[:size], offset)
        return size

    def after_power_loss(self, path: Path) -> Path:
        """A file with what a loss of power would leave of another."""
        shadow = self._shadow(_key(path.stat()))
        shadow.touch()
        os.truncate(shadow, path.stat().st_size)
        return shadow

    def _syncing(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            key, path = _key(os.fstat(descriptor)), os.readlink(f"/proc/self/fd/{descriptor}")
            with self._lock:
                pieces = self._pending.pop(key, [])
            if self.failing is not None and self.failing in path:
                self.failing = None
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            sync(descriptor)
            self._keep(key, pieces)

        return synced

    def _keep(self, key: tuple[int, int], pieces: _Pieces) -> None:
        shadow = os.open(self._shadow(key), os.O_WRONLY | os.O_CREAT)
        for offset, piece in pieces:
            self._pwrite(shadow, piece, offset)
        os.close(shadow)

    def _remember(self, descriptor: int, content: bytes, offset: int) -> None:
        with self._lock:
            self._pending[_key(os.fstat(descriptor))].append((offset, content))

    def _shadow(self, key: tuple[int, int]) -> Path:
        return self._folder / f"{key[0]}-{key[1]}"


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
