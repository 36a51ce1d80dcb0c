"""What a path means as a target, and how files become visible whole."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path

import pytest

from snapstone.client.errors import DeniedError, NoSpaceError, NotFoundError, UsageError
from snapstone.client.images import linux
from snapstone.client.images.contract import Target
from snapstone.client.images.device import DeviceTarget
from snapstone.client.images.part_file import FileTarget
from snapstone.client.images.targets import open_target
from snapstone.core.blocks import BLOCK_SIZE
from tests.unit.client.images.conftest import Attach, Mount, run_as_root
from tests.unit.client.images.qemu_tools import convert, needs_qemu, raw_bytes, raw_disk

SIZE = 3 * BLOCK_SIZE


def open_file(path: Path, size: int = SIZE, *, force: bool = False, existing: bool = False) -> FileTarget:
    target = open_target(path, size, part_name="snap-1", force=force, existing=existing)
    assert isinstance(target, FileTarget)
    return target


def content_of(target: Target, block_index: int) -> bytes:
    into = memoryview(bytearray(BLOCK_SIZE))
    target.read(block_index, into)
    return bytes(into)


def test_nothing_is_under_the_name_before_the_commit(tmp_path: Path, block: memoryview) -> None:
    target = open_file(tmp_path / "image")
    assert target.fresh
    assert not target.resumed
    target.write(1, block)
    target.sync()
    assert os.listdir(tmp_path) == [".image.snap-1.part"]
    target.commit()
    assert os.listdir(tmp_path) == ["image"]
    assert (tmp_path / "image").read_bytes() == bytes(BLOCK_SIZE) + bytes(block) + bytes(BLOCK_SIZE)


def test_the_bytes_are_durable_before_the_name_and_the_name_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, linux.rename_if_absent

    def recorded_sync(fd: int) -> None:
        steps.append(os.readlink(f"/proc/self/fd/{fd}"))
        sync(fd)

    def recorded_rename(source: str, target: str) -> bool:
        steps.append("rename")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(linux, "rename_if_absent", recorded_rename)
    target = open_file(tmp_path / "image")
    target.sync()
    assert steps == [str(tmp_path / ".image.snap-1.part")]
    target.commit()
    assert steps[1:] == [str(tmp_path / ".image.snap-1.part"), "rename", str(tmp_path)]


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    """This process may make no larger files."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, limits[1]))
    yield 8 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_every_end_closes(tmp_path: Path, file_size_limit: int) -> None:
    before = os.listdir("/proc/self/fd")
    open_file(tmp_path / "image").leave()
    open_file(tmp_path / "image").discard()
    open_file(tmp_path / "image").commit()
    with pytest.raises(UsageError, match="File too large"):
        open_file(tmp_path / "other", file_size_limit + 1)
    assert os.listdir("/proc/self/fd") == before


def test_eight_tebibytes_with_two_blocks_take_the_room_of_two(tmp_path: Path, block: memoryview) -> None:
    target = open_file(tmp_path / "image", 8 << 40)
    target.write(0, block)
    target.write(16_777_215, block)
    target.commit()
    status = (tmp_path / "image").stat()
    assert status.st_size == 8 << 40
    assert status.st_blocks * 512 < 3 * BLOCK_SIZE


def test_what_was_left_is_resumed(tmp_path: Path, block: memoryview) -> None:
    target = open_file(tmp_path / "image")
    target.write(2, block)
    target.leave()
    again = open_file(tmp_path / "image")
    assert again.resumed
    assert again.fresh
    assert content_of(again, 2) == bytes(block)
    assert content_of(again, 0) == bytes(BLOCK_SIZE)
    again.commit()
    assert (tmp_path / "image").read_bytes() == bytes(2 * BLOCK_SIZE) + bytes(block)


def test_what_is_discarded_leaves_nothing(tmp_path: Path, block: memoryview) -> None:
    target = open_file(tmp_path / "image")
    target.write(2, block)
    target.discard()
    assert os.listdir(tmp_path) == []
    assert not open_file(tmp_path / "image").resumed


def test_a_part_that_was_cut_off_at_its_beginning_gets_its_size(tmp_path: Path, block: memoryview) -> None:
    (tmp_path / ".image.snap-1.part").touch()
    target = open_file(tmp_path / "image")
    target.write(0, block)
    target.commit()
    assert (tmp_path / "image").stat().st_size == SIZE


def test_an_existing_file_is_not_touched_without_force(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"old")
    with pytest.raises(UsageError, match="already exists; use --force"):
        open_file(tmp_path / "image")
    assert os.listdir(tmp_path) == ["image"]


def test_with_force_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path, block: memoryview) -> None:
    (tmp_path / "image").write_bytes(b"old")
    target = open_file(tmp_path / "image", force=True)
    target.write(0, block)
    assert (tmp_path / "image").read_bytes() == b"old"
    target.commit()
    assert (tmp_path / "image").read_bytes() == bytes(block) + bytes(2 * BLOCK_SIZE)


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, block: memoryview) -> None:
    target = open_file(tmp_path / "image")
    target.write(0, block)
    (tmp_path / "image").write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match="was created in the meantime"):
        target.commit()
    assert (tmp_path / "image").read_bytes() == b"somebody else's"
    target = open_file(tmp_path / "image", force=True)
    assert target.resumed
    target.commit()
    assert (tmp_path / "image").read_bytes() == bytes(block) + bytes(2 * BLOCK_SIZE)


@pytest.mark.usefixtures("root")
def test_a_replaced_file_hands_on_its_owner_and_its_permissions_before_the_first_byte(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"secret")
    os.chown(tmp_path / "image", 12_345, 54_321)
    os.chmod(tmp_path / "image", 0o640)
    target = open_file(tmp_path / "image", force=True)
    assert stat.S_IMODE((tmp_path / ".image.snap-1.part").stat().st_mode) == 0o640
    target.commit()
    status = (tmp_path / "image").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12_345, 54_321, 0o640)


def test_a_file_that_may_only_be_read_is_replaced_and_resumed(
    public_folder: Path, as_nobody: Callable[[], None], block: memoryview
) -> None:
    (public_folder / "own").mkdir()
    os.chmod(public_folder / "own", 0o777)
    as_nobody()
    image = public_folder / "own" / "image"
    image.write_bytes(b"old")
    image.chmod(0o444)
    open_file(image, force=True).leave()
    target = open_file(image, force=True)
    assert target.resumed
    target.write(0, block)
    target.commit()
    assert image.read_bytes()[:BLOCK_SIZE] == block
    assert stat.S_IMODE(image.stat().st_mode) == 0o444


def test_discarding_after_a_commit_that_failed_keeps_what_was_written(tmp_path: Path) -> None:
    target = open_file(tmp_path / "image")
    (tmp_path / "image").write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match="run the same command with --force to replace it"):
        target.commit()
    target.discard()
    target.leave()
    assert sorted(os.listdir(tmp_path)) == [".image.snap-1.part", "image"]


@needs_qemu
def test_parts_of_different_formats_do_not_meet(tmp_path: Path) -> None:
    target = open_target(tmp_path / "image", SIZE, part_name="snap-1", format="qcow2")
    target.leave()
    assert not open_file(tmp_path / "image").resumed


def test_changes_are_applied_to_a_copy_and_the_old_image_stays_whole(tmp_path: Path, block: memoryview) -> None:
    old = os.urandom(SIZE)
    (tmp_path / "image").write_bytes(old)
    target = open_file(tmp_path / "image", existing=True)
    assert not target.fresh
    assert content_of(target, 0) == old[:BLOCK_SIZE]
    target.write(1, block)
    target.write_zeros(2)
    target.sync()
    assert (tmp_path / "image").read_bytes() == old
    target.commit()
    assert (tmp_path / "image").read_bytes() == old[:BLOCK_SIZE] + bytes(block) + bytes(BLOCK_SIZE)
    assert os.listdir(tmp_path) == ["image"]


def test_changes_that_were_cut_off_are_resumed_in_the_copy(tmp_path: Path, block: memoryview) -> None:
    old = os.urandom(SIZE)
    (tmp_path / "image").write_bytes(old)
    target = open_file(tmp_path / "image", existing=True)
    assert not target.resumed
    target.write(1, block)
    target.leave()
    again = open_file(tmp_path / "image", existing=True)
    assert again.resumed
    assert not again.fresh
    assert content_of(again, 1) == bytes(block)
    again.commit()
    assert (tmp_path / "image").read_bytes() == old[:BLOCK_SIZE] + bytes(block) + old[2 * BLOCK_SIZE :]


def test_changes_may_make_an_image_larger(tmp_path: Path, block: memoryview) -> None:
    (tmp_path / "image").write_bytes(b"a" * BLOCK_SIZE)
    target = open_file(tmp_path / "image", existing=True)
    target.write(2, block)
    target.commit()
    assert (tmp_path / "image").read_bytes() == b"a" * BLOCK_SIZE + bytes(BLOCK_SIZE) + bytes(block)


def test_an_image_that_is_larger_stays_so(tmp_path: Path, block: memoryview) -> None:
    (tmp_path / "image").write_bytes(b"a" * 3 * BLOCK_SIZE)
    target = open_file(tmp_path / "image", 2 * BLOCK_SIZE, existing=True)
    target.write(0, block)
    target.write_zeros(2)
    target.commit()
    assert (tmp_path / "image").read_bytes() == bytes(block) + b"a" * BLOCK_SIZE + bytes(BLOCK_SIZE)


def test_a_full_disk_is_resumed_when_there_is_room(tmp_path: Path, attach: Attach, mount: Mount) -> None:
    (tmp_path / "disk").touch()
    os.truncate(tmp_path / "disk", 8 << 20)
    device = attach(tmp_path / "disk")
    run_as_root("mkfs.ext4", "-q", str(device))
    folder = mount(str(device))
    (folder / "other").write_bytes(os.urandom(4 << 20))
    blocks = [memoryview(mmap(-1, BLOCK_SIZE)) for _ in range(8)]
    for content in blocks:
        content[:] = os.urandom(BLOCK_SIZE)
    target = open_file(folder / "image", 8 * BLOCK_SIZE)
    written: list[int] = []

    def write_all() -> None:
        for block_index, content in enumerate(blocks):
            target.write(block_index, content)
            written.append(block_index)

    with pytest.raises(NoSpaceError, match="free some space and run the same command"):
        write_all()
    assert written
    target.leave()
    (folder / "other").unlink()
    again = open_file(folder / "image", 8 * BLOCK_SIZE)
    assert again.resumed
    assert [content_of(again, block_index) for block_index in written] == blocks[: len(written)]
    for block_index in range(len(written), 8):
        again.write(block_index, blocks[block_index])
    again.commit()
    assert (folder / "image").read_bytes() == b"".join(blocks)


@needs_qemu
def test_changes_are_applied_in_the_images_own_format(tmp_path: Path, block: memoryview) -> None:
    old = raw_disk(tmp_path / "raw", SIZE).read_bytes()
    image = convert(tmp_path / "raw", tmp_path / "image", "qcow2")
    target = open_target(image, SIZE, part_name="snap-1", existing=True)
    target.write(1, block)
    target.commit()
    assert raw_bytes(image, "qcow2") == old[:BLOCK_SIZE] + bytes(block) + old[2 * BLOCK_SIZE :]


@needs_qemu
def test_a_new_image_has_the_format_that_is_said(tmp_path: Path, block: memoryview) -> None:
    target = open_target(tmp_path / "image", SIZE, part_name="snap-1", format="qcow2")
    target.write(2, block)
    target.commit()
    assert raw_bytes(tmp_path / "image", "qcow2") == bytes(2 * BLOCK_SIZE) + bytes(block)


def test_changes_need_an_image(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="needs an existing image"):
        open_file(tmp_path / "image", existing=True)


@pytest.mark.parametrize("points_to", ["image", "nowhere"])
def test_a_link_to_a_file_is_not_followed_even_with_force(tmp_path: Path, points_to: str) -> None:
    (tmp_path / "image").write_bytes(b"old")
    (tmp_path / "link").symlink_to(points_to)
    with pytest.raises(UsageError, match=f"symbolic link to {tmp_path / points_to}; use that path"):
        open_file(tmp_path / "link", force=True)
    assert sorted(os.listdir(tmp_path)) == ["image", "link"]


def test_a_link_to_a_folder_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    open_file(tmp_path / "link" / "image").commit()
    assert os.listdir(tmp_path / "folder") == ["image"]


def test_places_that_are_no_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [(tmp_path, "is a directory"), (tmp_path / "pipe", "neither"), (Path("/dev/null"), "neither")]:
        with pytest.raises(UsageError, match=reason):
            open_file(path, force=True)
    with pytest.raises(UsageError, match="standard output"):
        open_file(Path("-"))
    with pytest.raises(UsageError, match="0 bytes"):
        open_file(tmp_path / "image", 0)


def test_an_image_may_be_one_byte(tmp_path: Path) -> None:
    open_file(tmp_path / "image", 1).commit()
    assert (tmp_path / "image").read_bytes() == b"\0"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such directory"):
        open_file(tmp_path / "absent" / "image")


def test_a_device_that_is_not_there_does_not_become_a_file() -> None:
    with pytest.raises(NotFoundError, match="no such device: /dev/snapstone-absent"):
        open_file(Path("/dev/snapstone-absent"))
    assert not Path("/dev/snapstone-absent").exists()


def test_a_size_that_a_file_may_not_have_is_said_and_nothing_stays(tmp_path: Path, file_size_limit: int) -> None:
    with pytest.raises(UsageError, match="cannot be made 8388609 bytes long: File too large"):
        open_file(tmp_path / "image", file_size_limit + 1)
    assert os.listdir(tmp_path) == []


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    target = open_file(tmp_path / "image")
    with pytest.raises(UsageError, match="another process is writing"):
        open_file(tmp_path / "image")
    target.leave()


def test_a_file_behind_a_mounted_loop_device_is_not_replaced(tmp_path: Path, attach: Attach, mount: Mount) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 4 << 20)
    device = attach(image)
    run_as_root("mkfs.ext4", "-q", str(device))
    folder = mount(str(device))
    with pytest.raises(UsageError, match=f"is behind {device.name}, which is mounted at {folder}"):
        open_file(image, force=True)
    with pytest.raises(UsageError, match=f"is behind {device.name}, which is mounted at {folder}"):
        open_file(image, existing=True)


def test_a_device_is_written_in_place(tmp_path: Path, attach: Attach, block: memoryview) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(SIZE))
    device = attach(image)
    with pytest.raises(UsageError, match="--force"):
        open_target(device, SIZE, part_name="snap-1")
    with pytest.raises(UsageError, match="omit the format qcow2"):
        open_target(device, SIZE, part_name="snap-1", force=True, format="qcow2")
    target = open_target(device, SIZE, part_name="snap-1", force=True)
    assert isinstance(target, DeviceTarget)
    target.write(1, block)
    target.commit()
    assert device.read_bytes() == bytes(BLOCK_SIZE) + bytes(block) + bytes(BLOCK_SIZE)


def test_a_folder_without_rights_is_said(public_folder: Path, as_nobody: Callable[[], None]) -> None:
    as_nobody()
    with pytest.raises(DeniedError, match="Permission denied"):
        open_file(public_folder / "image")


def test_a_folder_that_may_not_be_entered_is_said(public_folder: Path, as_nobody: Callable[[], None]) -> None:
    (public_folder / "closed").mkdir(mode=0o700)
    as_nobody()
    with pytest.raises(DeniedError, match="Permission denied"):
        open_file(public_folder / "closed" / "image")


def test_a_user_without_rights_writes_his_own_image(
    public_folder: Path, as_nobody: Callable[[], None], block: memoryview
) -> None:
    (public_folder / "own").mkdir()
    os.chmod(public_folder / "own", 0o777)
    as_nobody()
    target = open_file(public_folder / "own" / "image")
    target.write(2, block)
    target.commit()
    assert (public_folder / "own" / "image").read_bytes() == bytes(2 * BLOCK_SIZE) + bytes(block)
