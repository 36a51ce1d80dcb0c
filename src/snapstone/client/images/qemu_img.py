"""qemu-img: the files of an image, new images, larger images; and which format a file has, told from its own bytes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path
from typing import Any, Final

from snapstone.client.errors import ClientError, DamagedError, DeniedError, NoSpaceError, NotFoundError, UsageError

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
    To read disks of machines that are not trusted, use `raw` instead.
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


CREATE_OPTIONS: Final = {"vpc": ("-o", "force_size=on")}
"""Without it QEMU rounds a VHD to whole cylinders."""

SECTOR_SIZE: Final = 512
"""QEMU's images are whole sectors."""

TOOL_SECONDS: Final = 300.0
"""Time limit of qemu-img; none of its calls moves data."""


def tool(name: str) -> str:
    """Path of one of QEMU's tools."""
    found = shutil.which(name)
    if found is None:
        raise UsageError(
            f"{name} is required for images that are not raw and is not installed: "
            "install qemu-utils (Debian, Ubuntu) or qemu-img (Fedora, RHEL, SUSE)"
        )
    return found


class ImageInUseError(UsageError):
    """Another process holds QEMU's lock on an image."""


def files_of(path: Path, image_format: str) -> list[Path]:
    """The local files that the image's bytes come from: its own, and those of the images that it is based on."""
    answer = json.loads(_ask(path, image_format, "info", "--backing-chain", "--output=json", "--", str(path)))
    return list(dict.fromkeys([path, *(file for image in answer for file in _own_files(image))]))


def check_single(path: Path, image_format: str) -> None:
    """Refuse an image that is in use, or has its bytes in further files of its own, which a copy would share."""
    own = _own_files(json.loads(_ask(path, image_format, "info", "--output=json", "--", str(path))))
    if len(set(own)) != 1:
        others = ", ".join(str(file) for file in own[1:])
        raise UsageError(f"{path} keeps its data in other files ({others}); convert it to a single-file image first")


def check_self_contained(path: Path, image_format: str) -> None:
    """Refuse an image that takes bytes from other files, whose format is known only from its first bytes."""
    image = json.loads(_ask(path, image_format, "info", "--output=json", "--", str(path)))
    others = [str(file) for file in _own_files(image) if not file.samefile(path)]
    if (backing := image.get("backing-filename")) is not None:
        others.append(str(backing))
    if others:
        raise UsageError(
            f"{path} looks like {image_format} and takes its content from {', '.join(others)}. A guest can write such "
            f"a header into its own raw disk to have them read: use --format {image_format} if that is intended, or "
            "--format raw"
        )


def size_of(path: Path, image_format: str) -> int:
    """Bytes of the disk that an image describes."""
    return int(json.loads(_ask(path, image_format, "info", "--output=json", "--", str(path)))["virtual-size"])


def whole_sectors(size: int) -> int:
    """`size`, rounded up as QEMU rounds the sizes of images."""
    return -(-size // SECTOR_SIZE) * SECTOR_SIZE


def create(path: Path, image_format: str, size: int) -> None:
    """Make an empty image."""
    options = CREATE_OPTIONS.get(image_format, ())
    _ask(path, image_format, "create", "-q", *options, "--", str(path), str(whole_sectors(size)))


def enlarge(path: Path, image_format: str, size: int) -> None:
    """Make an image larger; the new bytes read as zeros."""
    _ask(path, image_format, "resize", "-q", "--", str(path), str(whole_sectors(size)))


def refusal(path: Path, image_format: str, words: str, otherwise: type[ClientError] = DamagedError) -> ClientError:
    """The error that QEMU's words are about when it does not open, make or change an image."""
    lowered = words.lower()
    if "lock" in lowered and "failed to get" in lowered:
        return ImageInUseError(
            f"{path} is in use by another program, most likely a running virtual machine, and would change while it is "
            f"read or written; shut the machine down, or make it write to an overlay first ({words})"
        )
    if "permission denied" in lowered or "operation not permitted" in lowered:
        return DeniedError(f"{path} cannot be opened: {words}")
    if "no such file" in lowered:
        return NotFoundError(f"{path}, or a file that it is based on, does not exist: {words}")
    if "no space left" in lowered or "disk quota exceeded" in lowered:
        return NoSpaceError(f"no space for {path}: {words}")
    if "unknown driver" in lowered or "does not support" in lowered or "not supported" in lowered:
        return UsageError(f"QEMU cannot do this with {path} as {image_format}: {words}")
    return otherwise(f"QEMU cannot use {path} as {image_format}: {words}")


def plain(output: bytes) -> str:
    """A QEMU tool's error output, as one line without the tool's name."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("qemu-nbd: ").removeprefix("qemu-img: ") for line in lines]
    return "; ".join(told) or "no reason given"


def environment() -> dict[str, str]:
    """The caller's environment, with messages in English, and without sockets that systemd handed to the caller."""
    return {name: it for name, it in os.environ.items() if not name.startswith("LISTEN_")} | {"LC_ALL": "C"}


def _own_files(image: dict[str, Any]) -> list[Path]:
    """Of one image in qemu-img's answer: its file, its extents, its data file, if local."""
    folder = Path(image["filename"]).parent
    facts = image.get("format-specific", {}).get("data", {})
    names = [image["filename"], *(extent["filename"] for extent in facts.get("extents", ())), facts.get("data-file")]
    paths = [folder / name for name in names if name is not None]
    return list(dict.fromkeys(path for path in paths if path.is_absolute()))


def _ask(path: Path, image_format: str, verb: str, *arguments: str) -> bytes:
    """qemu-img's standard output."""
    try:
        done = subprocess.run(
            (tool("qemu-img"), verb, "-f", image_format, *arguments),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment(),
            timeout=TOOL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"qemu-img {verb} {path} took more than {TOOL_SECONDS:.0f} s and was killed") from error
    if done.returncode != 0:
        otherwise = DamagedError if verb == "info" else UsageError
        raise refusal(path, image_format, plain(done.stderr), otherwise)
    return done.stdout
