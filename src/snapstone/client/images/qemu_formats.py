"""Which of QEMU's image formats a file has, told from its own bytes, and never from its name."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Final

_HEAD_SIZE: Final = 512
_FOOTER_SIZE: Final = 512
_VDI_SIGNATURE_OFFSET: Final = 64
_VDI_SIGNATURE: Final = struct.pack("<I", 0xBEDA107F)
_VPC_COOKIE: Final = b"conectix"
_VPC_FIXED: Final = 2
_VPC_CHECKSUM: Final = slice(64, 68)
_VMDK_DESCRIPTOR: Final = b"# Disk DescriptorFile"

FORMATS: Final = ("qcow2", "vmdk", "vdi", "vhdx", "vpc", "qed")
"""Formats that are read and written by way of QEMU, by QEMU's names; `vpc` is what Microsoft calls VHD."""


def detect_format(path: str | os.PathLike[str]) -> str | None:
    """QEMU's name of the format of a file; None is raw, and what every block device is. Raises OSError.

    A virtual machine can write any of these heads into its own raw disk, with the name of a file of the host's in it.
    Whoever reads disks of machines that he does not trust says `raw`, and does not ask here.
    """
    with Path(path).open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return None
        head = file.read(_HEAD_SIZE)
        file.seek(max(0, found.st_size - _FOOTER_SIZE))
        return _format_of_head(head) or _format_of_footer(file.read(_FOOTER_SIZE))


def _format_of_head(head: bytes) -> str | None:
    if head.startswith(b"QFI\xfb"):
        return "qcow" if head[4:8] == b"\0\0\0\1" else "qcow2"
    if head.startswith((b"KDMV", b"COWD", _VMDK_DESCRIPTOR)):
        return "vmdk"
    if head[_VDI_SIGNATURE_OFFSET : _VDI_SIGNATURE_OFFSET + 4] == _VDI_SIGNATURE:
        return "vdi"
    if head.startswith(b"vhdxfile"):
        return "vhdx"
    if head.startswith(_VPC_COOKIE):
        return "vpc"
    return "qed" if head.startswith(b"QED\0") else None


def _format_of_footer(footer: bytes) -> str | None:
    """A VHD of fixed size is a raw disk with a footer, whose checksum tells it from a disk that ends like one."""
    if len(footer) != _FOOTER_SIZE or not footer.startswith(_VPC_COOKIE):
        return None
    kind = int.from_bytes(footer[60:64])
    checksum = ~(sum(footer) - sum(footer[_VPC_CHECKSUM])) & 0xFFFF_FFFF
    return "vpc" if kind == _VPC_FIXED and checksum == int.from_bytes(footer[_VPC_CHECKSUM]) else None
