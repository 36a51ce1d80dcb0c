"""Sources and targets in QEMU's formats, held against qemu-img and e2fsck."""

from __future__ import annotations

import errno
import os
import queue
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapstone.client.errors import ClientError, DamagedError, DeniedError, NoSpaceError, NotFoundError, UsageError
from snapstone.client.images import qemu
from snapstone.client.images.contract import Source, Target
from snapstone.client.images.nbd import NbdConnection, ServerGoneError
from snapstone.client.images.qemu import open_qemu_source, open_qemu_target
from snapstone.core.blocks import BLOCK_SIZE

from .conftest import Mount
from .qemu_tools import convert, needs_qemu, raw_bytes, raw_disk, source_bytes, tool

pytestmark = needs_qemu

ODD_SIZE = 20 * BLOCK_SIZE + 3 * 512
"""No whole number of blocks; QEMU's images are whole sectors."""

WRITABLE = ["qcow2", "vmdk", "vdi", "vhdx", "vpc", "qed"]


@contextmanager
def opened(image: Path, image_format: str) -> Iterator[Source]:
    source = open_qemu_source(image, image_format)
    try:
        yield source
    finally:
        source.close()


def new_target(image: Path, size: int = ODD_SIZE, image_format: str = "qcow2", *, existing: bool = False) -> Target:
    return open_qemu_target(image, size, part_name="the.part", force=False, format=image_format, existing=existing)


def block_of(content: bytes, block_index: int) -> memoryview:
    start = block_index * BLOCK_SIZE
    return memoryview(content[start : start + BLOCK_SIZE].ljust(BLOCK_SIZE, b"\0"))


def fill(target: Target, content: bytes) -> None:
    """Write all of `content`, last block first."""
    for block_index in reversed(range(-(-len(content) // BLOCK_SIZE))):
        target.write(block_index, block_of(content, block_index))


def nbd_processes(image: Path) -> list[int]:
    """Processes that run qemu-nbd on an image."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"qemu-nbd") and os.fsencode(image) in words:
                found.append(int(entry.name))
    return found


# Sources


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("qcow2", ()),
        ("qcow2", ("-c",)),
        ("qcow2", ("-o", "cluster_size=512,compat=0.10")),
        ("qcow2", ("-o", "extended_l2=on")),
        ("vmdk", ()),
        ("vmdk", ("-o", "subformat=streamOptimized")),
        ("vmdk", ("-o", "subformat=twoGbMaxExtentSparse")),
        ("vmdk", ("-o", "subformat=monolithicFlat")),
        ("vdi", ()),
        ("vhdx", ()),
        ("vpc", ("-o", "force_size=on")),
        ("vpc", ("-o", "force_size=on,subformat=fixed")),
        ("qed", ()),
    ],
)
def test_a_source_reads_what_qemu_img_reads(tmp_path: Path, image_format: str, options: tuple[str, ...]) -> None:
    raw = raw_disk(tmp_path / "raw", ODD_SIZE)
    image = convert(raw, tmp_path / "disk.image", image_format, *options)
    with opened(image, image_format) as source:
        assert source.size == ODD_SIZE
        assert source_bytes(source) == raw.read_bytes()


def test_a_source_reads_through_all_backing_files(tmp_path: Path) -> None:
    lowest = convert(raw_disk(tmp_path / "raw", 10 * BLOCK_SIZE), tmp_path / "lowest.vmdk", "vmdk")
    middle, top = tmp_path / "middle.qcow2", tmp_path / "top.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", "lowest.vmdk", "-F", "vmdk", middle)
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", middle, "-F", "qcow2", top, str(ODD_SIZE))
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 3000000", "-c", "write -z 3M 64k", middle)
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 9 2M 1000", "-c", "write -P 8 10M 512", top)
    with opened(top, "qcow2") as source:
        assert source.size == ODD_SIZE
        assert source_bytes(source) == raw_bytes(top, "qcow2")
        assert set(source.state()) == {str(lowest), str(middle), str(top)}


def test_only_blocks_that_may_hold_data_are_in_the_ranges(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", image, "8T")
    writes = [f"write -P 1 {place} {size}" for place, size in (("0", "64k"), ("1M", "512k"), ("7T", "1M"))]
    tool("qemu-io", "-f", "qcow2", *(word for it in writes for word in ("-c", it)), "-c", "write -z 1T 64M", image)
    seven_tib = 7 * 1024 * 1024 * 2
    with opened(image, "qcow2") as source:
        assert list(source.ranges()) == [range(1), range(2, 3), range(seven_tib, seven_tib + 2)]


def test_an_empty_image_has_no_ranges(tmp_path: Path) -> None:
    tool("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "disk", "1G")
    with opened(tmp_path / "disk", "qcow2") as source:
        assert list(source.ranges()) == []


def test_a_fragmented_image_of_many_extents_is_read_whole(tmp_path: Path) -> None:
    size = 4_000 * 8_192
    content = b"".join(bytes([index % 255 + 1]) * 4_096 + bytes(4_096) for index in range(4_000))
    raw = tmp_path / "raw"
    raw.write_bytes(content)
    image = convert(raw, tmp_path / "disk", "qcow2", "-S", "4k", "-o", "cluster_size=4k")
    with opened(image, "qcow2") as source:
        assert list(source.ranges()) == [range(-(-size // BLOCK_SIZE))]
        assert source_bytes(source) == content


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "raw", 64 * BLOCK_SIZE, stretches=200)
    content = raw.read_bytes()
    image = convert(raw, tmp_path / "disk", "qcow2")
    wrong: list[int] = []

    def read_some(seed: int) -> None:
        block = memoryview(bytearray(BLOCK_SIZE))
        for block_index in random.Random(seed).choices(range(64), k=40):
            source.read(block_index, block)
            if bytes(block) != bytes(block_of(content, block_index)):
                wrong.append(block_index)

    with opened(image, "qcow2") as source:
        threads = [threading.Thread(target=read_some, args=(seed,)) for seed in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_file_system_in_an_image_is_read_whole(tmp_path: Path) -> None:
    if shutil.which("mke2fs") is None:
        pytest.skip("e2fsprogs is not installed")
    files = tmp_path / "files"
    files.mkdir()
    for number in range(50):
        (files / f"file-{number}").write_bytes(random.Random(number).randbytes(number * 3_000))
    raw = tmp_path / "raw"
    tool("mke2fs", "-q", "-t", "ext4", "-d", files, raw, "64M")
    image = convert(raw, tmp_path / "disk", "qcow2", "-c")
    copy = tmp_path / "copy.qcow2"
    target = new_target(copy, 64 << 20)
    with opened(image, "qcow2") as source:
        block = memoryview(bytearray(BLOCK_SIZE))
        for block_index in (index for found in source.ranges() for index in found):
            source.read(block_index, block)
            target.write(block_index, block)
    target.commit()
    read_back = tmp_path / "read-back"
    read_back.write_bytes(raw_bytes(copy, "qcow2"))
    assert read_back.read_bytes() == raw.read_bytes()
    tool("e2fsck", "-fn", read_back)


def test_the_state_changes_with_the_image_and_with_what_it_is_based_on(tmp_path: Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    tool("qemu-img", "create", "-q", "-f", "qcow2", base, "4M")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
    with opened(top, "qcow2") as source:
        before = source.state()
        assert source.state() == before
        os.utime(base, ns=(1, 1))
        after_base = source.state()
        os.utime(top, ns=(1, 1))
        assert before != after_base != source.state() != before


def test_extents_and_data_files_are_in_the_state(tmp_path: Path) -> None:
    split, outside = tmp_path / "split.vmdk", tmp_path / "outside.qcow2"
    tool("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", split, "4M")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", outside, "4M")
    with opened(split, "vmdk") as source:
        assert set(source.state()) == {str(split), str(tmp_path / "split-s001.vmdk")}
    with opened(outside, "qcow2") as source:
        assert set(source.state()) == {str(outside), str(tmp_path / "data")}


def test_a_name_may_have_anything_in_it(tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "raw", BLOCK_SIZE)
    image = convert(raw, tmp_path / "plain", "qcow2").rename(tmp_path / "-nbd:a,b=c 'd' \"$e\" é\n")
    with opened(image, "qcow2") as source:
        assert source_bytes(source) == raw.read_bytes()
        assert set(source.state()) == {str(image)}


def test_an_image_may_be_read_by_two_at_once(tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "raw", BLOCK_SIZE)
    image = convert(raw, tmp_path / "disk", "qcow2")
    with opened(image, "qcow2") as one, opened(image, "qcow2") as other:
        assert source_bytes(one) == source_bytes(other) == raw.read_bytes()


def test_the_folder_for_temporary_files_may_have_a_long_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    image = convert(raw_disk(tmp_path / "raw", BLOCK_SIZE), tmp_path / "disk", "qcow2")
    with opened(image, "qcow2") as source:
        assert source.size == BLOCK_SIZE


# What goes wrong with sources


def test_without_the_tools_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="qemu-utils"):
        open_qemu_source(tmp_path / "disk", "qcow2")


def test_an_image_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="disk"):
        open_qemu_source(tmp_path / "disk", "qcow2")


def test_a_backing_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    tool("qemu-img", "create", "-q", "-f", "qcow2", base, "4M")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
    base.unlink()
    with pytest.raises(NotFoundError, match="base"):
        open_qemu_source(top, "qcow2")


def test_an_image_of_another_format_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="not in qcow2 format"):
        open_qemu_source(raw_disk(tmp_path / "disk", BLOCK_SIZE), "qcow2")


def test_a_format_that_does_not_exist_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="qcow9"):
        open_qemu_source(raw_disk(tmp_path / "disk", BLOCK_SIZE), "qcow9")


def test_an_image_that_must_not_be_read_is_denied(public_folder: Path, as_nobody: Callable[[], None]) -> None:
    image = public_folder / "disk"
    tool("qemu-img", "create", "-q", "-f", "qcow2", image, "4M")
    image.chmod(0)
    as_nobody()
    with pytest.raises(DeniedError, match="Permission denied"):
        open_qemu_source(image, "qcow2")


def test_the_image_of_a_running_machine_is_refused_in_plain_words(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    tool("qemu-img", "create", "-q", "-f", "qcow2", image, "4M")
    machine = new_target(image, 4 << 20, existing=True)
    try:
        with pytest.raises(UsageError, match="running virtual machine"):
            open_qemu_source(tmp_path / "the.part", "qcow2")
    finally:
        machine.discard()


def test_a_damaged_cluster_is_told_with_its_place(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_text(random.Random(1).randbytes(4 * BLOCK_SIZE).hex())
    image = convert(raw, tmp_path / "disk", "qcow2", "-c")
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        file.write(b"\xff" * 100_000)
    with (
        opened(image, "qcow2") as source,
        pytest.raises(DamagedError, match=r"disk: cannot read at byte \d+: Input/out"),
    ):
        source_bytes(source)


def test_a_qemu_nbd_that_is_killed_in_the_middle_is_told(tmp_path: Path) -> None:
    image = convert(raw_disk(tmp_path / "raw", 8 * BLOCK_SIZE), tmp_path / "disk", "qcow2")
    block = memoryview(bytearray(BLOCK_SIZE))
    with opened(image, "qcow2") as source:
        source.read(0, block)
        for pid in nbd_processes(image):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ServerGoneError, match=r"disk, ended unexpectedly \(killed by signal 9\)"):
            source.read(0, block)
        with pytest.raises(ServerGoneError):
            list(source.ranges())


def test_nothing_is_left_of_a_closed_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    image = convert(raw_disk(tmp_path / "raw", BLOCK_SIZE), tmp_path / "disk", "qcow2")
    descriptors = len(os.listdir("/proc/self/fd"))
    with opened(image, "qcow2"):
        assert len(nbd_processes(image)) == 1
        assert list(folder.iterdir()) == []
    assert nbd_processes(image) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_source_that_is_closed_reads_nothing_more_and_may_be_closed_again(tmp_path: Path) -> None:
    image = convert(raw_disk(tmp_path / "raw", BLOCK_SIZE), tmp_path / "disk", "qcow2")
    source = open_qemu_source(image, "qcow2")
    source.close()
    source.close()
    with pytest.raises(ClientError):
        source.read(0, memoryview(bytearray(BLOCK_SIZE)))


def test_a_close_ends_what_other_threads_wait_for(tmp_path: Path) -> None:
    image = convert(raw_disk(tmp_path / "raw", 8 * BLOCK_SIZE), tmp_path / "disk", "qcow2")
    source = open_qemu_source(image, "qcow2")
    started, ends = threading.Barrier(13), queue.SimpleQueue[ClientError]()

    def read_on() -> None:
        block = memoryview(bytearray(BLOCK_SIZE))
        started.wait()
        try:
            while True:
                source.read(0, block)
        except ClientError as error:
            ends.put(error)

    threads = [threading.Thread(target=read_on) for _ in range(12)]
    for thread in threads:
        thread.start()
    started.wait()
    source.close()
    for thread in threads:
        thread.join()
    assert ends.qsize() == 12
    assert nbd_processes(image) == []


# Targets


@pytest.mark.parametrize("image_format", WRITABLE)
def test_a_target_becomes_what_was_written(tmp_path: Path, image_format: str) -> None:
    content = raw_disk(tmp_path / "raw", ODD_SIZE).read_bytes()
    target = new_target(tmp_path / "disk", image_format=image_format)
    assert target.fresh
    fill(target, content)
    target.commit()
    assert raw_bytes(tmp_path / "disk", image_format) == content
    assert not (tmp_path / "the.part").exists()


@pytest.mark.parametrize("image_format", WRITABLE)
def test_what_was_not_written_reads_as_zeros(tmp_path: Path, image_format: str) -> None:
    target = new_target(tmp_path / "disk", 4 * BLOCK_SIZE, image_format)
    target.write(2, memoryview(b"x" * BLOCK_SIZE))
    into = memoryview(bytearray(b"\xee" * BLOCK_SIZE))
    target.read(1, into)
    assert not any(into)
    target.commit()
    assert raw_bytes(tmp_path / "disk", image_format) == bytes(2 * BLOCK_SIZE) + b"x" * BLOCK_SIZE + bytes(BLOCK_SIZE)


def test_zeros_take_no_room_and_read_as_zeros(tmp_path: Path) -> None:
    target = new_target(tmp_path / "disk", 64 * BLOCK_SIZE)
    for block_index in range(64):
        target.write(block_index, memoryview(os.urandom(BLOCK_SIZE)))
    target.sync()
    for block_index in range(64):
        target.write_zeros(block_index)
    target.commit()
    assert raw_bytes(tmp_path / "disk", "qcow2") == bytes(64 * BLOCK_SIZE)
    assert (tmp_path / "disk").stat().st_blocks * 512 < 4 * BLOCK_SIZE


def test_the_last_block_is_cut_at_the_end_of_the_image(tmp_path: Path) -> None:
    target = new_target(tmp_path / "disk", BLOCK_SIZE + 512)
    target.write(1, memoryview(b"x" * 512 + bytes(BLOCK_SIZE - 512)))
    into = memoryview(bytearray(b"\xee" * BLOCK_SIZE))
    target.read(1, into)
    assert into == b"x" * 512 + bytes(BLOCK_SIZE - 512)
    with pytest.raises(DamagedError, match="past the end"):
        target.write(1, memoryview(b"x" * 513 + bytes(BLOCK_SIZE - 513)))
    with pytest.raises(DamagedError, match="past the end"):
        target.write(2, memoryview(b"x" + bytes(BLOCK_SIZE - 1)))
    target.write_zeros(1)
    target.write_zeros(2)
    target.commit()
    assert raw_bytes(tmp_path / "disk", "qcow2") == bytes(BLOCK_SIZE + 512)


def test_a_size_that_is_no_whole_number_of_sectors_is_rounded_up(tmp_path: Path) -> None:
    target = new_target(tmp_path / "disk", 1_000)
    target.write(0, memoryview(b"x" * 1_000 + bytes(BLOCK_SIZE - 1_000)))
    target.commit()
    assert raw_bytes(tmp_path / "disk", "qcow2") == b"x" * 1_000 + bytes(24)


def test_a_target_is_not_seen_under_its_name_before_the_commit(tmp_path: Path) -> None:
    target = new_target(tmp_path / "disk")
    target.write(0, memoryview(bytes(BLOCK_SIZE)))
    target.sync()
    assert not (tmp_path / "disk").exists()
    target.commit()
    assert (tmp_path / "disk").exists()


@pytest.mark.parametrize("broken", ["flush", "file"])
def test_an_image_that_cannot_be_made_durable_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """By qemu-nbd, which has the tables that lead to blocks, or by the kernel."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target = new_target(tmp_path / "disk")
    target.write(0, memoryview(bytes(BLOCK_SIZE)))
    if broken == "flush":
        monkeypatch.setattr(NbdConnection, "flush", fail)
    else:
        monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((OSError, ClientError)):
        target.commit()
    assert not (tmp_path / "disk").exists()


def test_a_target_that_was_left_is_resumed_with_what_was_written(tmp_path: Path) -> None:
    content = raw_disk(tmp_path / "raw", ODD_SIZE).read_bytes()
    first = new_target(tmp_path / "disk")
    fill(first, content)
    first.leave()
    second = new_target(tmp_path / "disk")
    assert second.fresh
    into = memoryview(bytearray(BLOCK_SIZE))
    for block_index in range(21):
        second.read(block_index, into)
        assert into == block_of(content, block_index)
    second.commit()
    assert raw_bytes(tmp_path / "disk", "qcow2") == content


def test_a_target_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    target = new_target(tmp_path / "disk")
    fill(target, bytes(ODD_SIZE))
    target.discard()
    assert list(tmp_path.iterdir()) == []
    assert nbd_processes(tmp_path / "the.part") == []


def test_an_image_is_replaced_by_force_only(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(b"precious")
    with pytest.raises(UsageError, match="--force"):
        new_target(image)
    target = open_qemu_target(image, ODD_SIZE, part_name="the.part", force=True, format="qcow2")
    assert image.read_bytes() == b"precious"
    target.commit()
    assert raw_bytes(image, "qcow2") == bytes(ODD_SIZE)


def test_a_name_that_is_taken_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    target = new_target(tmp_path / "disk")
    (tmp_path / "disk").write_bytes(b"precious")
    with pytest.raises(UsageError, match="in the meantime"):
        target.commit()
    assert (tmp_path / "disk").read_bytes() == b"precious"
    assert raw_bytes(tmp_path / "the.part", "qcow2") == bytes(ODD_SIZE)


def test_a_device_is_no_place_for_an_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        open_qemu_target("/dev/null", ODD_SIZE, part_name="the.part", force=True, format="qcow2")


@pytest.mark.parametrize(("image_format", "size"), [("vpc", 3 << 40), ("no-format", 1 << 20)])
def test_what_a_format_cannot_hold_is_the_callers_mistake(tmp_path: Path, image_format: str, size: int) -> None:
    with pytest.raises(UsageError):
        new_target(tmp_path / "disk", size, image_format)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_size_is_not_gone_on_with(tmp_path: Path) -> None:
    new_target(tmp_path / "disk", 4 << 20).leave()
    with pytest.raises(UsageError, match="has 4194304 bytes"):
        new_target(tmp_path / "disk", 8 << 20)
    assert (tmp_path / "the.part").exists()


def test_a_part_that_another_process_writes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "LOCK_SECONDS", 0.3)
    target = new_target(tmp_path / "disk")
    with pytest.raises(UsageError, match="another process is writing"):
        new_target(tmp_path / "disk")
    target.commit()
    assert raw_bytes(tmp_path / "disk", "qcow2") == bytes(ODD_SIZE)


def test_a_part_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    tool("qemu-img", "create", "-q", "-f", "qcow2", precious, str(ODD_SIZE // 512 * 512))
    (tmp_path / "the.part").symlink_to(precious)
    with pytest.raises(ClientError):
        new_target(tmp_path / "disk")


def test_a_disk_that_is_full_is_told(tmp_path: Path, mount: Mount) -> None:
    small = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs")
    target = new_target(small / "disk", 64 << 20)
    try:
        with pytest.raises(NoSpaceError, match="No space left"):
            fill(target, os.urandom(16 * BLOCK_SIZE))
    finally:
        target.discard()


# Changes to an image that is there


def test_changes_are_applied_to_a_copy_and_seen_at_the_commit(tmp_path: Path) -> None:
    content = raw_disk(tmp_path / "raw", ODD_SIZE).read_bytes()
    image = convert(tmp_path / "raw", tmp_path / "disk", "qcow2", "-o", "cluster_size=128k")
    image.chmod(0o640)
    before = image.read_bytes()
    target = new_target(image, existing=True)
    assert not target.fresh
    target.write(3, memoryview(b"x" * BLOCK_SIZE))
    target.write_zeros(5)
    target.sync()
    assert image.read_bytes() == before
    target.commit()
    changed = bytearray(content)
    changed[3 * BLOCK_SIZE : 4 * BLOCK_SIZE] = b"x" * BLOCK_SIZE
    changed[5 * BLOCK_SIZE : 6 * BLOCK_SIZE] = bytes(BLOCK_SIZE)
    assert raw_bytes(image, "qcow2") == changed
    assert image.stat().st_mode & 0o777 == 0o640
    assert '"cluster-size": 131072' in tool("qemu-img", "info", "--output=json", image)


def test_changes_to_an_overlay_leave_what_it_is_based_on_alone(tmp_path: Path) -> None:
    base = convert(raw_disk(tmp_path / "raw", ODD_SIZE), tmp_path / "base", "qcow2")
    top = tmp_path / "top"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", top)
    before = base.read_bytes()
    target = new_target(top, existing=True)
    target.write_zeros(0)
    target.commit()
    assert base.read_bytes() == before
    assert raw_bytes(top, "qcow2") == bytes(BLOCK_SIZE) + (tmp_path / "raw").read_bytes()[BLOCK_SIZE:]


def test_an_image_that_is_too_small_is_enlarged(tmp_path: Path) -> None:
    raw = raw_disk(tmp_path / "raw", 2 * BLOCK_SIZE + 512)
    image = convert(raw, tmp_path / "disk", "qcow2")
    target = new_target(image, 4 * BLOCK_SIZE, existing=True)
    target.write(3, memoryview(b"x" * BLOCK_SIZE))
    target.commit()
    assert raw_bytes(image, "qcow2") == raw.read_bytes().ljust(3 * BLOCK_SIZE, b"\0") + b"x" * BLOCK_SIZE


def test_an_image_that_is_too_large_is_refused_and_stays(tmp_path: Path) -> None:
    image = convert(raw_disk(tmp_path / "raw", ODD_SIZE), tmp_path / "disk", "qcow2")
    before = image.read_bytes()
    with pytest.raises(UsageError, match="are to be written"):
        new_target(image, BLOCK_SIZE, existing=True)
    assert image.read_bytes() == before
    assert not (tmp_path / "the.part").exists()


def test_changes_need_an_image(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        new_target(tmp_path / "disk", existing=True)


@pytest.mark.parametrize("options", ["subformat=twoGbMaxExtentSparse", "subformat=monolithicFlat"])
def test_an_image_of_several_files_is_not_changed(tmp_path: Path, options: str) -> None:
    image = tmp_path / "disk.vmdk"
    tool("qemu-img", "create", "-q", "-f", "vmdk", "-o", options, image, str(ODD_SIZE // 512 * 512))
    with pytest.raises(UsageError, match="in other files"):
        new_target(image, image_format="vmdk", existing=True)


def test_the_image_of_a_running_machine_is_not_changed(tmp_path: Path) -> None:
    running = new_target(tmp_path / "elsewhere")
    image = tmp_path / "disk"
    image.hardlink_to(tmp_path / "the.part")
    try:
        with pytest.raises(UsageError, match="running virtual machine"):
            open_qemu_target(image, ODD_SIZE, part_name="b.part", force=False, format="qcow2", existing=True)
    finally:
        running.discard()
