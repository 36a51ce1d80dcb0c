"""Calls of the kernel, with the real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.client.images import linux


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_a_hole_reads_as_zeros_and_keeps_the_size(fd: int) -> None:
    os.write(fd, b"x" * 20_000)
    if not linux.punch_hole(fd, 4_096, 8_192):
        pytest.skip("this file system knows no holes")
    assert os.pread(fd, 30_000, 0) == b"x" * 4_096 + bytes(8_192) + b"x" * (20_000 - 12_288)


def test_what_the_kernel_refuses_for_another_reason_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(OSError, match="descriptor"):
        linux.punch_hole(fd, 0, 4_096)
    os.close(fd)


def test_a_file_is_no_device(fd: int) -> None:
    os.write(fd, b"12345")
    assert linux.device_size(fd) == 5
    assert not linux.flush_device(fd)
    assert not linux.zero_device(fd, 0, 4_096)


def test_a_file_system_is_synced_by_any_of_its_folders(tmp_path: Path) -> None:
    assert linux.sync_file_system(str(tmp_path))
    assert not linux.sync_file_system(str(tmp_path / "absent"))


def test_what_was_just_written_is_cached_and_a_hole_is_not(fd: int) -> None:
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, b"x" * 8_192, 0)
    if linux.is_cached(fd, 0, 8_192) is None:
        pytest.skip("this kernel does not say what is cached")
    assert linux.is_cached(fd, 0, 8_192)
    assert not linux.is_cached(fd, 0, 12_288)
    assert not linux.is_cached(fd, 1 << 19, 4_096)


def test_on_a_machine_whose_calls_are_numbered_otherwise_nothing_is_known(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "_has_cachestat", False)
    assert linux.is_cached(fd, 0, 4_096) is None


def test_a_file_shares_the_bytes_of_another_or_says_that_it_cannot(fd: int, tmp_path: Path) -> None:
    os.write(fd, b"original")
    with (tmp_path / "clone").open("w+b") as clone:
        shared = linux.clone_file(fd, clone.fileno())
        assert clone.read() == (b"original" if shared else b"")


def test_a_rename_to_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        linux.rename_if_absent(str(tmp_path / "new"), str(tmp_path / "old"))
    assert (tmp_path / "old").read_bytes() == b"old"
    assert linux.rename_if_absent(str(tmp_path / "new"), str(tmp_path / "free"))
    assert (tmp_path / "free").read_bytes() == b"new"
