"""Token buckets that all server processes share, in one small mapped file, and the guard that takes from them.

A bucket is a fingerprint of whose it is, and the time at which it will be full again. A full one is the same as none,
so its place may be taken by another: that bounds the file. The file is a cache: losing it fills every bucket.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Final

from snapstone.core.limit_errors import AccountThrottledError, SnapshotThrottledError
from snapstone.core.token_bucket import Rate, take
from snapstone.service.quotas import Quotas
from snapstone.wire.call import Call

BUCKET_COUNT: Final = 16_384
"""Buckets that can be less than full at once; 256 KiB."""

PROBE_COUNT: Final = 8
"""Places in which a bucket may lie. Where all are taken by others, the one that is full soonest gives way."""

_BUCKET: Final = struct.Struct("<QQ")


class SharedBuckets:
    """Buckets by name; safe from many threads and processes."""

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        """`now_ns` is a clock that all processes read alike and that nobody sets back."""
        self._now_ns = now_ns
        self._threads = Lock()  # A lock of the file is one for all who share its descriptor.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = BUCKET_COUNT * _BUCKET.size
        os.ftruncate(self._file, size)
        self._buckets = mmap.mmap(self._file, size)

    def take(self, name: str, rate: Rate) -> bool:
        """Take one token from a bucket; False where it is empty."""
        digest = blake2b(name.encode(), digest_size=8).digest()
        fingerprint = int.from_bytes(digest, "little") or 1
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                return self._take(fingerprint, rate)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        self._buckets.close()
        os.close(self._file)

    def _take(self, fingerprint: int, rate: Rate) -> bool:
        place, full_at_ns = self._find(fingerprint)
        after = take(full_at_ns, self._now_ns(), rate)
        if after is not None:
            _BUCKET.pack_into(self._buckets, place, fingerprint, after)
        return after is not None

    def _find(self, fingerprint: int) -> tuple[int, int]:
        """Where the bucket lies or may lie, and when it will be full (0 where it is not there)."""
        soonest: tuple[int, int] | None = None
        for probe in range(PROBE_COUNT):
            place = (fingerprint + probe) % BUCKET_COUNT * _BUCKET.size
            owner, full_at_ns = _BUCKET.unpack_from(self._buckets, place)
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
