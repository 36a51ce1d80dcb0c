"""Copies of files: every byte, the holes, the rights, and never over something that is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from snapstone.client.errors import SourceChangedError
from snapstone.client.images import part_file
from snapstone.client.images.part_file import copy_file


def sparse_file(path: Path) -> bytes:
    """4 MiB with data at 1 MiB, and at the very end."""
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(os.urandom(100_000))
        file.seek((4 << 20) - 3)
        file.write(b"end")
    return path.read_bytes()


def test_a_copy_has_every_byte_and_keeps_the_holes(tmp_path: Path) -> None:
    content = sparse_file(tmp_path / "original")
    copy_file(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert (tmp_path / "copy").stat().st_blocks * 512 < 1 << 20


def test_a_copy_in_many_steps_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_file, "STEP_SIZE", 4_096)
    content = sparse_file(tmp_path / "original")
    copy_file(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_system_that_does_not_copy_by_itself_is_helped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    content = sparse_file(tmp_path / "original")
    copy_file(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_that_gets_shorter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    sparse_file(tmp_path / "original")
    with pytest.raises(SourceChangedError, match=f"original has {4 << 20} bytes now, but had {4 << 20}"):
        copy_file(tmp_path / "original", tmp_path / "copy")


def test_a_hole_at_the_end_is_copied(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"begin")
    os.truncate(tmp_path / "original", 1 << 20)
    copy_file(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"begin".ljust(1 << 20, b"\0")


def test_a_copy_has_the_rights_of_the_original(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"secret")
    (tmp_path / "original").chmod(0o600)
    copy_file(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"new")
    (tmp_path / "copy").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        copy_file(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"old"
