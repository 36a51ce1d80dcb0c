"""The audit log: one line a call, in a file that all server processes append to and that is rotated by size."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.server.audit_record import is_data_event, record_of
from snapstone.wire.call import Call
from snapstone.wire.http import Request, Response

NAME: Final = "audit.jsonl"

_log = logging.getLogger(__name__)


class AuditFile:
    """Appends whole lines; safe from many threads and processes."""

    def __init__(self, folder: Path, size_limit: int, file_count: int) -> None:
        """Files of about `size_limit` bytes; of those that are full, `file_count` are kept."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path, self._size_limit, self._file_count = folder / NAME, size_limit, file_count
        self._threads = Lock()  # A lock of the file is one for all who share its descriptor.
        self._turn = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, line: bytes) -> None:
        """Add one line, which ends in a line feed. Raises OSError."""
        with self._threads:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            try:
                self._append(line)
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _append(self, line: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(file, line)
            size = os.fstat(file).st_size
            if written < len(line):
                os.ftruncate(file, size - written)
                raise OSError("a line was written in part, and taken back")
        finally:
            os.close(file)
        if size >= self._size_limit:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(self._file_count - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{NAME}.{number}")


class Audit:
    """A witness that records calls; those on blocks only where `data_events` is true."""

    def __init__(
        self,
        file: AuditFile,
        data_events: bool,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._file, self._data_events = file, data_events
        self._now_ms, self._new_id = now_ms, new_id

    def __call__(self, request: Request, call: Call | None, response: Response) -> None:
        """Record an answer. A record that cannot be written is logged: the call has been done."""
        if call is not None and not self._data_events and is_data_event(call.service, call.operation):
            return
        record = record_of(request, call, response, self._now_ms(), self._new_id())
        try:
            self._file.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            fields = {"request_id": request.request_id, "problem": str(error)}
            _log.error("a call is missing from the audit log", extra={"fields": fields})
