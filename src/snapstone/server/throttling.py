"""Token buckets that all server processes share, in one small file, and the guard that takes from them.

A bucket is a fingerprint of whose it is, and the time at which it will be full again. A full one is the same as none,
so its place may be taken by another: that bounds the file. The file is a cache: losing it fills every bucket. It is not
mapped: a write to a mapped file on a full disk can kill the process.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from snapstone.core.errors import AccountThrottledError, SnapshotThrottledError
from snapstone.core.token_bucket import Rate, take
from snapstone.service.quotas import Quotas
from snapstone.system.locks import Turn
from snapstone.wire.http import Call

BUCKET_COUNT: Final = 16_384
"""Buckets that can be less than full at once; 256 KiB."""

PROBE_COUNT: Final = 8
"""Places, side by side, in which a bucket may lie. If all are taken, the one that is full soonest gives way."""

_BUCKET: Final = struct.Struct("<QQ")

_log = logging.getLogger(__name__)


class SharedBuckets:
    """Buckets by name; safe from many threads and processes."""

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        """`now_ns` is a clock that is the same in all processes and never goes back."""
        self._now_ns = now_ns
        self._turn = Turn(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._failing = False
        os.ftruncate(self._file, BUCKET_COUNT * _BUCKET.size)

    def take(self, name: str, rate: Rate) -> bool:
        """Take one token from a bucket; False if it is empty. What cannot be written (disk full) is not counted."""
        digest = blake2b(name.encode(), digest_size=8).digest()
        fingerprint = int.from_bytes(digest, "little") or 1
        with self._turn:
            return self._take(fingerprint, rate)

    def close(self) -> None:
        """Close the file."""
        self._turn.close()
        os.close(self._file)

    def _take(self, fingerprint: int, rate: Rate) -> bool:
        place, full_at_ns = self._find(fingerprint)
        after = take(full_at_ns, self._now_ns(), rate)
        if after is not None:
            self._write(place, _BUCKET.pack(fingerprint, after))
        return after is not None

    def _write(self, place: int, bucket: bytes) -> None:
        try:
            os.pwrite(self._file, bucket, place)
        except OSError as error:
            if not self._failing:
                _log.error("quotas are not counted", extra={"fields": {"problem": str(error)}})
            self._failing = True
        else:
            self._failing = False

    def _find(self, fingerprint: int) -> tuple[int, int]:
        """Where the bucket lies or may lie, and when it will be full (0 if it is not there)."""
        start = fingerprint % (BUCKET_COUNT - PROBE_COUNT + 1) * _BUCKET.size
        probed = os.pread(self._file, PROBE_COUNT * _BUCKET.size, start)
        soonest: tuple[int, int] | None = None
        for number, (owner, full_at_ns) in enumerate(_BUCKET.iter_unpack(probed)):
            place = start + number * _BUCKET.size
            if owner == fingerprint:
                return place, full_at_ns
            if soonest is None or full_at_ns < soonest[0]:
                soonest = full_at_ns, place
        assert soonest is not None
        return soonest[1], 0


class Throttle:
    """A guard that refuses calls above their quotas."""

    def __init__(self, quotas: Quotas, buckets: SharedBuckets) -> None:
        self._quotas = quotas
        self._buckets = buckets

    def __call__(self, call: Call) -> None:
        """Raises AccountThrottledError or SnapshotThrottledError."""
        operation = f"{call.service}:{call.operation}"
        place = f"{call.caller.account_id}/{call.caller.region}/{operation}"
        rate = self._quotas.of_account.get(operation)
        if rate is not None and not self._buckets.take(place, rate):
            raise AccountThrottledError
        rate = self._quotas.of_snapshot.get(operation)
        if rate is not None and not self._buckets.take(f"{place}/{call.members.get('SnapshotId')}", rate):
            raise SnapshotThrottledError
