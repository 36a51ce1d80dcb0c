"""Block devices as /sys shows them; the tree is one of our own, with a disk, two partitions and a mapped device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstone.client.images.linux import BlockDevice, loop_devices


def stat_line(*, written: int = 0, discarded: int = 0) -> str:
    """The 17 fields of Documentation/block/stat.rst; those that do not matter here hold 7."""
    fields = [7] * 17
    fields[6], fields[13] = written, discarded
    return " ".join(str(field) for field in fields) + "\n"


def add_device(sys: Path, place: str, number: str, stat: str = "", *, partition: int | None = None) -> Path:
    folder = sys / "devices" / place
    (folder / "holders").mkdir(parents=True)
    (folder / "dev").write_text(number + "\n")
    (folder / "stat").write_text(stat or stat_line())
    if partition is not None:
        (folder / "partition").write_text(f"{partition}\n")
    for index in (sys / "dev" / "block" / number, sys / "block" / folder.name):
        index.parent.mkdir(parents=True, exist_ok=True)
        index.symlink_to(folder)
    return folder


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    disk = add_device(tmp_path, "pci/sda", "8:0", stat_line(written=1_000, discarded=90))
    (disk / "queue").mkdir()
    (disk / "queue" / "iostats").write_text("1\n")
    add_device(tmp_path, "pci/sda/sda1", "8:1", stat_line(written=600, discarded=50), partition=1)
    second = add_device(tmp_path, "pci/sda/sda2", "8:2", stat_line(written=300), partition=2)
    mapped = add_device(tmp_path, "virtual/dm-0", "253:0")
    (mapped / "dm").mkdir()
    (mapped / "dm" / "name").write_text("vg-root\n")
    (second / "holders" / "dm-0").symlink_to(mapped)
    return tmp_path


def device(sys: Path, minor: int, major: int = 8) -> BlockDevice:
    return BlockDevice.of(os.makedev(major, minor), sys)


def test_a_disk_knows_its_partitions(sys: Path) -> None:
    assert [part.name for part in device(sys, 0).partitions()] == ["sda1", "sda2"]
    assert [part.number for part in device(sys, 0).partitions()] == [os.makedev(8, 1), os.makedev(8, 2)]
    assert not device(sys, 0).is_partition


def test_a_partition_knows_its_disk(sys: Path) -> None:
    assert device(sys, 2).is_partition
    assert device(sys, 2).whole.name == "sda"
    assert device(sys, 2).partitions() == []


def test_a_mapped_device_is_called_by_both_its_names(sys: Path) -> None:
    assert [holder.name for holder in device(sys, 2).holders()] == ["dm-0 (vg-root)"]
    assert device(sys, 1).holders() == []


def test_a_disk_counts_what_is_written_to_any_part_of_it(sys: Path) -> None:
    assert device(sys, 0).written() == {"sectors_written": 1_000, "sectors_discarded": 90}


def test_a_partition_counts_its_own_writes_and_those_past_all_partitions(sys: Path) -> None:
    # Past the partitions 1,000 - 600 - 300 = 100 sectors were written, and 90 - 50 - 0 = 40 discarded.
    assert device(sys, 1).written() == {"sectors_written": 600 + 100, "sectors_discarded": 50 + 40}


def test_an_old_kernel_counts_no_discards(sys: Path) -> None:
    (sys / "devices" / "pci" / "sda" / "stat").write_text(" 1 0 2 3 40 5 600 7 0 8 9\n")
    assert device(sys, 0).written() == {"sectors_written": 600}


def test_where_counting_is_switched_off_nothing_is_known(sys: Path) -> None:
    (sys / "devices" / "pci" / "sda" / "queue" / "iostats").write_text("0\n")
    assert device(sys, 0).written() is None
    assert device(sys, 1).written() is None


def test_of_a_device_that_is_not_there_nothing_is_known(sys: Path) -> None:
    absent = device(sys, 99)
    assert absent.written() is None
    assert absent.number is None
    assert absent.partitions() == []
    assert absent.holders() == []


def test_loop_devices_name_their_files(sys: Path) -> None:
    loop = add_device(sys, "virtual/loop3", "7:3")
    (loop / "loop").mkdir()
    (loop / "loop" / "backing_file").write_text("/srv/disk image\n")
    add_device(sys, "virtual/loop4", "7:4")
    assert [(found.name, path) for found, path in loop_devices(sys)] == [("loop3", "/srv/disk image")]


def test_no_sys_at_all_is_no_trouble(tmp_path: Path) -> None:
    assert loop_devices(tmp_path / "absent") == []
    assert device(tmp_path / "absent", 0).written() is None
