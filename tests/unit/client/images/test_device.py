"""Block devices as sources and targets, with loop devices."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from snapstone.client.errors import DamagedError, DeniedError, NotFoundError, UsageError
from snapstone.client.images import linux
from snapstone.client.images.device import DeviceSource, DeviceTarget, open_device_target
from snapstone.core.blocks import BLOCK_SIZE
from tests.unit.client.images.conftest import Attach, Mount, SplitDisk, run_as_root

PARTITION_START = 1 << 20
SIZE = 4 * BLOCK_SIZE + 4_096


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def device(image: Path, attach: Attach) -> Path:
    return attach(image)


def open_device(device: Path) -> closing[DeviceSource]:
    return closing(DeviceSource(os.open(device, os.O_RDONLY), str(device)))


def whole_content(device: Path, into: memoryview) -> bytes:
    got = b""
    with open_device(device) as source:
        for block_index in range(-(-source.size // BLOCK_SIZE)):
            source.read(block_index, into)
            got += bytes(into)
    return got


def open_target(device: Path, size: int = SIZE) -> DeviceTarget:
    return open_device_target(str(device), size, force=True)


def test_a_device_is_read_whole(device: Path, image: Path, into: memoryview) -> None:
    with open_device(device) as source:
        assert source.size == SIZE
        assert list(source.ranges()) == [range(5)]
        assert not source.sequential
    assert whole_content(device, into) == image.read_bytes() + bytes(BLOCK_SIZE - 4_096)


def test_what_a_mounted_file_system_holds_is_read_and_not_what_was_cached_of_its_device(
    tmp_path: Path, attach: Attach, mount: Mount, into: memoryview
) -> None:
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 8 << 20)
    device = attach(image)
    run_as_root("mkfs.ext4", "-q", str(device))
    folder = mount(str(device))
    device.read_bytes()  # into the device's cache, which the file system's writes do not go through
    needle = b"needle in a haystack " * 200
    (folder / "file").write_bytes(needle)
    assert needle in whole_content(device, into)


def test_a_file_system_on_a_partition_is_written_out_before_the_disk_is_read(
    split_disk: SplitDisk, mount: Mount, into: memoryview
) -> None:
    disk, first, _ = split_disk
    run_as_root("mkfs.ext4", "-q", str(first))
    folder = mount(str(first))
    needle = b"needle in a haystack " * 200
    (folder / "file").write_bytes(needle)
    assert needle in whole_content(disk, into)


def test_what_is_cached_of_a_device_while_it_is_read_is_not_believed(
    device: Path, mount: Mount, into: memoryview
) -> None:
    run_as_root("mkfs.ext4", "-q", "-F", str(device))
    folder = mount(str(device))
    needle = b"needle in a haystack " * 200
    with open_device(device) as source:
        device.read_bytes()
        (folder / "file").write_bytes(needle)
        os.sync()
        got = b""
        for block_index in range(4):
            source.read(block_index, into)
            got += bytes(into)
    assert needle in got


def test_who_uses_a_device_is_known_to_its_reader(device: Path, mount: Mount) -> None:
    with open_device(device) as source:
        assert source.uses == []
    run_as_root("mkfs.ext4", "-q", "-F", str(device))
    folder = mount(str(device))
    with open_device(device) as source:
        assert [use.mount_point for use in source.uses] == [str(folder)]


def test_what_a_mounted_file_system_writes_changes_the_state(device: Path, mount: Mount) -> None:
    run_as_root("mkfs.ext4", "-q", "-F", str(device))
    folder = mount(str(device))
    with open_device(device) as source:
        before = source.state()
        (folder / "file").write_bytes(b"x" * 10_000)
        assert source.state() != before


def test_a_partition_sees_what_is_written_to_it_past_it(split_disk: SplitDisk) -> None:
    disk, first, second = split_disk
    with open_device(first) as source:
        before = source.state()
        with second.open("rb+", buffering=0) as neighbour:
            neighbour.write(b"x")
            os.fsync(neighbour.fileno())
        assert source.state() == before
        with disk.open("rb+", buffering=0) as whole:
            whole.seek(PARTITION_START)
            whole.write(b"x")
            os.fsync(whole.fileno())
        assert source.state() != before


def test_the_state_counts_writes(device: Path) -> None:
    with open_device(device) as source:
        before = source.state()
        assert source.state() == before
        with device.open("rb+") as file:
            file.write(b"x")
        assert source.state() != before


def test_reading_does_not_change_the_state(device: Path, into: memoryview) -> None:
    with open_device(device) as source:
        before = source.state()
        source.read(0, into)
        assert source.state() == before


def test_a_device_with_nothing_in_it_is_said(tmp_path: Path, attach: Attach) -> None:
    (tmp_path / "empty").write_bytes(b"")
    device = attach(tmp_path / "empty")
    fd = os.open(device, os.O_RDONLY)
    with pytest.raises(NotFoundError, match="size of 0 bytes"):
        DeviceSource(fd, str(device))
    os.close(fd)


def test_a_target_takes_blocks_in_any_order_and_keeps_the_rest(
    device: Path, image: Path, block: memoryview, into: memoryview
) -> None:
    old = image.read_bytes()
    target = open_target(device)
    assert not target.fresh
    target.write(3, block)
    target.write(1, block)
    target.read(3, into)
    assert into == block
    target.commit()
    assert device.read_bytes() == (
        old[:BLOCK_SIZE] + bytes(block) + old[2 * BLOCK_SIZE : 3 * BLOCK_SIZE] + bytes(block) + old[4 * BLOCK_SIZE :]
    )


def test_a_commit_flushes_and_every_end_closes(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    before = os.listdir("/proc/self/fd")
    open_target(device).leave()
    open_target(device).discard()
    assert synced == []
    target = open_target(device)
    target.sync()
    assert len(synced) == 1
    target.commit()
    assert len(synced) == 2
    with pytest.raises(UsageError):
        open_target(device, SIZE + 1)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("can_punch", [True, False])
@pytest.mark.parametrize("can_zero", [True, False])
def test_zeros_are_zeros_whatever_the_device_can_do(
    device: Path, image: Path, monkeypatch: pytest.MonkeyPatch, *, can_punch: bool, can_zero: bool
) -> None:
    old = image.read_bytes()
    if not can_punch:
        monkeypatch.setattr(linux, "punch_hole", lambda fd, offset, size: False)
    if not can_zero:
        monkeypatch.setattr(linux, "zero_device", lambda fd, offset, size: False)
    target = open_target(device)
    target.write_zeros(1)
    target.write_zeros(4)
    target.commit()
    assert device.read_bytes() == old[:BLOCK_SIZE] + bytes(BLOCK_SIZE) + old[2 * BLOCK_SIZE : 4 * BLOCK_SIZE] + bytes(
        4_096
    )


def test_zeros_on_a_loop_device_become_a_hole_of_its_file(device: Path, image: Path) -> None:
    held = image.stat().st_blocks
    target = open_target(device)
    target.write_zeros(0)
    target.commit()
    assert image.stat().st_blocks <= held - BLOCK_SIZE // 512


def test_a_larger_device_keeps_what_is_behind_the_image(device: Path, image: Path, block: memoryview) -> None:
    old = image.read_bytes()
    block[600:] = bytes(BLOCK_SIZE - 600)
    target = open_target(device, BLOCK_SIZE + 600)
    target.write(1, block)
    with pytest.raises(DamagedError, match="block 2 holds data past the end"):
        target.write(2, memoryview(b"x" * BLOCK_SIZE))
    target.commit()
    assert device.read_bytes() == old[:BLOCK_SIZE] + bytes(block[:600]) + old[BLOCK_SIZE + 600 :]


def test_a_device_that_is_too_small_is_refused(device: Path) -> None:
    with pytest.raises(UsageError, match=f"has {SIZE} bytes, too few for an image of {SIZE + 1}"):
        open_target(device, SIZE + 1)


def test_a_device_is_not_written_without_force(device: Path) -> None:
    with pytest.raises(UsageError, match="--force"):
        open_device_target(str(device), SIZE, force=False)


def test_a_mounted_device_is_not_written_even_with_force(tmp_path: Path, attach: Attach, mount: Mount) -> None:
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 4 << 20)
    device = attach(image)
    run_as_root("mkfs.ext4", "-q", str(device))
    folder = mount(str(device))
    with pytest.raises(UsageError, match=f"even with --force: it is mounted at {folder}"):
        open_target(device, 4 << 20)


def test_a_device_that_somebody_holds_alone_is_not_written(device: Path) -> None:
    holder = os.open(device, os.O_RDWR | os.O_EXCL)
    with pytest.raises(UsageError, match="it is in use; `lsblk`"):
        open_target(device)
    os.close(holder)
    open_target(device).leave()


def test_two_targets_on_one_device_are_refused(device: Path) -> None:
    target = open_target(device)
    with pytest.raises(UsageError, match="it is in use; `lsblk`"):
        open_target(device)
    target.discard()
    open_target(device).leave()


def test_a_link_to_a_device_means_the_device(device: Path, tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(device)
    target = open_target(tmp_path / "by-id")
    assert target.name == str(device)
    target.leave()


def test_a_user_without_rights_is_told_so(device: Path, as_nobody: Callable[[], None]) -> None:
    assert stat.S_IMODE(os.stat(device).st_mode) & 0o007 == 0
    as_nobody()
    with pytest.raises(DeniedError, match="Permission denied"):
        open_target(device)
