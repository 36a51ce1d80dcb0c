"""Who uses a device or a file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from snapstone.client.images.linux import DeviceUse, UseTable
from tests.unit.client.images.conftest import Attach, Mount, SplitDisk, run_as_root
from tests.unit.client.images.test_sysfs import add_device

# Lines as proc_pid_mountinfo(5) has them, optional fields and all.
MOUNTS = """\
22 1 8:1 / /boot\\040files rw,relatime shared:1 - ext4 /dev/sda1 rw
23 1 253:0 /sub / rw shared:2 master:9 - xfs /dev/mapper/vg-root rw
24 1 0:5 / /proc rw - proc proc rw
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "mountinfo").write_text(MOUNTS)
    (proc / "swaps").write_text("Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n")
    return proc


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    sys = tmp_path / "sys"
    add_device(sys, "pci/sda", "8:0")
    add_device(sys, "pci/sda/sda1", "8:1", partition=1)
    held = add_device(sys, "pci/sda/sda2", "8:2", partition=2)
    add_device(sys, "pci/sda/sda3", "8:3", partition=3)
    mapped = add_device(sys, "virtual/dm-0", "253:0")
    (held / "holders" / "dm-0").symlink_to(mapped)
    add_device(sys, "pci/sdb", "8:16")
    return sys


def uses(proc: Path, sys: Path, minor: int, major: int = 8) -> list[str]:
    return [use.what for use in UseTable(proc, sys).uses_of_device(os.makedev(major, minor))]


def test_a_mounted_device_names_its_mount_point(proc: Path, sys: Path) -> None:
    found = UseTable(proc, sys).uses_of_device(os.makedev(8, 1))
    assert found == [DeviceUse("is mounted at /boot files", "/boot files")]


def test_a_disk_is_in_use_where_a_partition_is(proc: Path, sys: Path) -> None:
    assert uses(proc, sys, 0) == [
        "has sda1, which is mounted at /boot files",
        "has sda2, which is held by dm-0, which is mounted at /",
    ]


def test_a_held_device_names_the_holder_and_where_that_is_mounted(proc: Path, sys: Path) -> None:
    found = UseTable(proc, sys).uses_of_device(os.makedev(8, 2))
    assert found == [DeviceUse("is held by dm-0, which is mounted at /", "/")]
    (proc / "self" / "mountinfo").write_text("")
    assert uses(proc, sys, 2) == ["is held by dm-0"]


def test_devices_that_hold_each_other_end_somewhere(proc: Path, sys: Path) -> None:
    devices = sys / "devices"
    (devices / "virtual" / "dm-0" / "holders" / "sda2").symlink_to(devices / "pci" / "sda" / "sda2")
    (proc / "self" / "mountinfo").write_text("")
    assert len(uses(proc, sys, 2)) == 1


def test_a_partition_is_in_use_where_its_whole_disk_is(proc: Path, sys: Path) -> None:
    with (proc / "self" / "mountinfo").open("a") as table:
        table.write("25 1 8:0 / /whole rw - ext4 /dev/sda rw\n")
    assert uses(proc, sys, 3) == ["is part of sda, which is mounted at /whole"]


def test_a_neighbour_that_is_mounted_does_not_matter(proc: Path, sys: Path) -> None:
    assert uses(proc, sys, 3) == []
    assert uses(proc, sys, 16) == []


def test_tables_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    assert uses(tmp_path / "none", tmp_path / "none", 1) == []


def test_a_swap_file_is_in_use(proc: Path, sys: Path, tmp_path: Path) -> None:
    swap = tmp_path / "swap file"
    swap.touch()
    (proc / "swaps").write_text(
        f"Filename Type Size Used Priority\n{str(swap).replace(' ', chr(92) + '040')} file 1 0 -2\n"
    )
    assert [use.what for use in UseTable(proc, sys).uses_of_file(swap)] == ["is used as swap"]


def test_a_file_that_nobody_uses_has_no_use(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    assert UseTable().uses_of_file(image) == []


def test_a_real_loop_device_and_its_file_are_in_use_while_mounted(attach: Attach, mount: Mount, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 4 << 20)
    device = attach(image)
    number = os.stat(device).st_rdev
    assert UseTable().uses_of_device(number) == []
    assert UseTable().uses_of_file(image) == [DeviceUse(f"is behind {device.name}")]
    run_as_root("mkfs.ext4", "-q", str(device))
    folder = mount(str(device), point="a folder")
    assert UseTable().uses_of_device(number) == [DeviceUse(f"is mounted at {folder}", str(folder))]
    link = tmp_path / "link"
    os.link(image, link)
    assert UseTable().uses_of_file(link) == [
        DeviceUse(f"is behind {device.name}, which is mounted at {folder}", str(folder))
    ]


def test_a_real_disk_is_in_use_where_a_partition_is_mounted(split_disk: SplitDisk, mount: Mount) -> None:
    disk, first, second = split_disk
    run_as_root("mkfs.ext4", "-q", str(first))
    folder = mount(str(first))
    assert [use.what for use in UseTable().uses_of_device(os.stat(disk).st_rdev)] == [
        f"has {first.name}, which is mounted at {folder}"
    ]
    assert UseTable().uses_of_device(os.stat(second).st_rdev) == []


def test_a_real_btrfs_which_has_a_number_of_its_own_is_found(attach: Attach, mount: Mount, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 128 << 20)
    device = attach(image)
    run_as_root("mkfs.btrfs", "-q", str(device))
    folder = mount(str(device))
    assert os.stat(folder).st_dev != os.stat(device).st_rdev
    assert UseTable().uses_of_device(os.stat(device).st_rdev) == [DeviceUse(f"is mounted at {folder}", str(folder))]


def test_a_real_device_that_is_swapped_to_is_in_use(attach: Attach, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    device = attach(image)
    run_as_root("mkswap", str(device))
    run_as_root("swapon", str(device))
    try:
        found = UseTable().uses_of_device(os.stat(device).st_rdev)
    finally:
        subprocess.run(["swapoff", str(device)], check=True)
    assert found == [DeviceUse("is used as swap")]
