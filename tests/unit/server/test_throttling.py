"""Buckets shared through a file: exact across processes' views of it, and bounded."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snapstone.core.token_bucket import NS_PER_SECOND, Rate
from snapstone.server.throttling import BUCKET_COUNT, SharedBuckets

START = 1_000 * NS_PER_SECOND


def buckets_of(tmp_path: Path) -> SharedBuckets:
    """A view of its own of the same buckets, as another process has, with a clock that stands still."""
    return SharedBuckets(tmp_path / "buckets", lambda: START)


def test_two_views_of_the_file_share_each_bucket(tmp_path: Path) -> None:
    first, second = buckets_of(tmp_path), buckets_of(tmp_path)
    let_through = [buckets.take("a", Rate(1, 5)) for _ in range(5) for buckets in (first, second)]
    assert let_through == [True] * 5 + [False] * 5


def test_buckets_of_other_names_are_others(tmp_path: Path) -> None:
    buckets = buckets_of(tmp_path)
    assert buckets.take("a", Rate(1, 1))
    assert not buckets.take("a", Rate(1, 1))
    assert buckets.take("b", Rate(1, 1))


def test_threads_never_take_a_token_twice(tmp_path: Path) -> None:
    buckets = buckets_of(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        let_through = list(pool.map(lambda _: buckets.take("a", Rate(1, 100)), range(400)))
    assert sum(let_through) == 100


def test_more_names_than_places_never_grow_the_file(tmp_path: Path) -> None:
    buckets = buckets_of(tmp_path)
    assert all(buckets.take(str(number), Rate(1, 1)) for number in range(BUCKET_COUNT + 1_000))
    assert (tmp_path / "buckets").stat().st_size == BUCKET_COUNT * 16
    assert (tmp_path / "buckets").stat().st_mode & 0o777 == 0o600


def test_a_bucket_that_cannot_be_written_is_not_counted_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    buckets = buckets_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert all(buckets.take("a", Rate(1, 1)) for _ in range(3))
    assert [record.getMessage() for record in caplog.records] == ["quotas are not counted"]
    assert buckets.take("a", Rate(1, 1))
    assert not buckets.take("a", Rate(1, 1))
