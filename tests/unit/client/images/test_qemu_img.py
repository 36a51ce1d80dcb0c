"""Formats are told by bytes: of images that QEMU made, and of ones that only look like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapstone.client.images.qemu_img import detect_format

from .qemu_tools import needs_qemu, raw_disk, tool


@needs_qemu
@pytest.mark.parametrize("image_format", ["qcow", "qcow2", "vmdk", "vdi", "vhdx", "vpc", "qed"])
def test_an_image_that_qemu_made_is_known(tmp_path: Path, image_format: str) -> None:
    image = tmp_path / "disk"
    tool("qemu-img", "create", "-q", "-f", image_format, image, "64M")
    assert detect_format(image) == image_format


@needs_qemu
@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("qcow2", "compat=0.10"),
        ("vmdk", "subformat=streamOptimized"),
        ("vmdk", "subformat=monolithicFlat"),
        ("vmdk", "subformat=twoGbMaxExtentSparse"),
        ("vpc", "subformat=fixed"),
        ("vhdx", "subformat=fixed"),
    ],
)
def test_a_variety_of_a_format_is_known(tmp_path: Path, image_format: str, options: str) -> None:
    image = tmp_path / "disk.vmdk"
    tool("qemu-img", "create", "-q", "-f", image_format, "-o", options, image, "4M")
    assert detect_format(image) == image_format


@pytest.mark.parametrize(
    "content", [b"", b"Q", b"QFI\xfa\0\0\0\3", b"QED", b"\0" * 64 + b"\x7f\x10\xda", b"KDM" + bytes(600)]
)
def test_anything_else_is_raw(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "disk"
    image.write_bytes(content)
    assert detect_format(image) is None


def footer(kind: int = 2) -> bytes:
    """The last sector of a VHD, after Microsoft's specification: the checksum is the complement of the bytes' sum."""
    content = bytearray(b"conectix".ljust(512, b"\0"))
    content[60:64] = kind.to_bytes(4)
    content[64:68] = (0xFFFF_FFFF - sum(content)).to_bytes(4)
    return bytes(content)


def test_a_fixed_vhd_is_told_by_its_footer(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(4096) + footer())
    assert detect_format(image) == "vpc"


@pytest.mark.parametrize("end", [footer(kind=3), footer()[:-1] + b"\1", footer()[1:] + b"\0", footer()[:100]])
def test_a_raw_disk_that_ends_like_a_vhd_is_raw(tmp_path: Path, end: bytes) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(4096) + end)
    assert detect_format(image) is None


def test_a_raw_disk_is_raw(tmp_path: Path) -> None:
    assert detect_format(raw_disk(tmp_path / "disk", 1 << 20)) is None


def test_what_is_no_file_is_raw() -> None:
    assert detect_format("/dev/null") is None
