"""Kinds of file systems; what is made on a copy-on-write one is tried on a real one in tests/faults."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstone.storage import file_system
from snapstone.storage.file_system import COPY_ON_WRITE, is_copy_on_write, is_read_only, make_in_place


def test_the_kind_of_a_file_system_is_what_statfs_says(tmp_path: Path) -> None:
    kind = int(os.popen(f"stat -f -c %t '{tmp_path}'").read(), 16)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert is_copy_on_write(descriptor) == (kind in COPY_ON_WRITE)
    finally:
        os.close(descriptor)


def test_a_kind_that_is_listed_is_copy_on_write_and_no_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = int(os.popen(f"stat -f -c %t '{tmp_path}'").read(), 16)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        for listed, expected in [({kind}, True), ({kind + 1}, False), (set(), False)]:
            monkeypatch.setattr(file_system, "COPY_ON_WRITE", listed)
            assert is_copy_on_write(descriptor) is expected
    finally:
        os.close(descriptor)


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content")
    make_in_place(tmp_path / "there")
    assert (tmp_path / "there").read_text() == "content"
    assert os.listdir(tmp_path) == ["there"]


@pytest.mark.parametrize(("options", "stopped"), [("rw", False), ("rw,emergency_ro", True), ("rw,shutdown", True)])
def test_a_file_system_that_was_stopped_says_so_in_its_mount_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, stopped: bool
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "20 1 0:99999 / /other rw - ext4 /dev/x rw,emergency_ro\n"
        f"21 1 {os.major(device)}:{os.minor(device)} / / rw,relatime - ext4 /dev/y {options}\n"
    )
    monkeypatch.setattr(file_system, "MOUNTS", mounts)
    assert is_read_only(tmp_path) == stopped
