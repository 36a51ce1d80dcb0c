"""The copy that an increment is applied to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from snapstone.client.errors import DamagedError, NoSpaceError
from snapstone.client.images import linux, part_file
from snapstone.client.images.part_file import start_part_from_copy
from tests.unit.client.images.conftest import Attach, Mount, run_as_root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"in the middle")
    return path


def test_the_copy_is_the_image_and_as_sparse(image: Path, tmp_path: Path) -> None:
    part = tmp_path / ".image.x.part"
    start_part_from_copy(image, part)
    assert part.stat().st_size == 1 << 40
    assert part.stat().st_blocks == image.stat().st_blocks
    with part.open("rb") as file:
        file.seek(1 << 39)
        assert file.read(14) == b"in the middle\0"
    assert sorted(os.listdir(tmp_path)) == [".image.x.part", "image"]


def test_what_an_interrupted_copy_left_is_done_anew(image: Path, tmp_path: Path) -> None:
    (tmp_path / ".image.x.copy").write_bytes(b"half a copy")
    start_part_from_copy(image, tmp_path / ".image.x.part")
    assert sorted(os.listdir(tmp_path)) == [".image.x.part", "image"]
    assert (tmp_path / ".image.x.part").stat().st_size == 1 << 40


def test_a_copy_that_is_interrupted_leaves_nothing(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(original: Path, copy: Path) -> None:
        copy.write_bytes(b"half a copy")
        raise KeyboardInterrupt

    monkeypatch.setattr(linux, "clone_file", lambda source_fd, target_fd: False)
    monkeypatch.setattr(part_file, "copy_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_part_from_copy(image, tmp_path / ".image.x.part")
    assert os.listdir(tmp_path) == ["image"]


@pytest.mark.parametrize(("make", "size"), [("mkfs.btrfs", 256 << 20), ("mkfs.xfs", 320 << 20)])
def test_a_file_system_that_shares_bytes_needs_no_room_for_the_copy(
    tmp_path: Path, attach: Attach, mount: Mount, make: str, size: int
) -> None:
    (tmp_path / "disk").touch()
    os.truncate(tmp_path / "disk", size)
    device = attach(tmp_path / "disk")
    run_as_root(make, "-q", str(device))
    folder = mount(str(device))
    room = os.statvfs(folder)
    content = os.urandom(1 << 20) * (room.f_bavail * room.f_frsize * 6 // 10 >> 20)
    (folder / "image").write_bytes(content)
    start_part_from_copy(folder / "image", folder / ".image.x.part")
    assert (folder / ".image.x.part").read_bytes() == content


def test_where_the_file_system_shares_bytes_nothing_is_copied(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(source_fd: int, target_fd: int) -> bool:
        os.write(target_fd, b"shared")
        return True

    monkeypatch.setattr(linux, "clone_file", share)
    start_part_from_copy(image, tmp_path / ".image.x.part")
    assert (tmp_path / ".image.x.part").read_bytes() == b"shared"


def test_a_copy_without_room_is_refused_before_it_begins(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = mount("-t", "tmpfs", "-o", "size=2m", "tmpfs")
    (folder / "image").write_bytes(os.urandom(1_200_000))
    copied: list[Path] = []
    monkeypatch.setattr(part_file, "copy_file", lambda image, copy: copied.append(copy))
    with pytest.raises(NoSpaceError, match="bytes free, but"):
        start_part_from_copy(folder / "image", folder / ".image.x.part")
    assert copied == []
    assert os.listdir(folder) == ["image"]


def test_a_disk_that_fills_up_meanwhile_keeps_the_image_and_no_copy(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mount("-t", "tmpfs", "-o", "size=2m", "tmpfs")
    content = os.urandom(1_200_000)
    (folder / "image").write_bytes(content)
    monkeypatch.setattr(part_file, "check_space", lambda path, needed_bytes: None)
    with pytest.raises(NoSpaceError, match="No space left"):
        start_part_from_copy(folder / "image", folder / ".image.x.part")
    assert os.listdir(folder) == ["image"]
    assert (folder / "image").read_bytes() == content


def test_a_copy_whose_sync_failed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image").write_bytes(b"content")
    calls, sync = [], os.fsync

    def fail_the_copys(descriptor: int) -> None:
        """The first sync is that of an empty file where the file system cannot share bytes."""
        calls.append(os.fstat(descriptor).st_size)
        if calls[-1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_the_copys)
    with pytest.raises(DamagedError, match="be copied to"):
        start_part_from_copy(tmp_path / "image", tmp_path / ".image.part")
    assert os.listdir(tmp_path) == ["image"]


def test_bytes_that_are_shared_and_cannot_be_made_durable_are_no_copy(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(linux, "clone_file", lambda source_fd, target_fd: bool(os.write(target_fd, b"shared")))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DamagedError, match="be copied to"):
        start_part_from_copy(image, tmp_path / ".image.x.part")
    assert os.listdir(tmp_path) == ["image"]


def test_a_copy_whose_name_cannot_be_made_durable_is_told(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fail_the_folders(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_the_folders)
    with pytest.raises(DamagedError, match="be copied to"):
        start_part_from_copy(image, tmp_path / ".image.x.part")
