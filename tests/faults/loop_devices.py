"""Small real file systems in files, mounted by loop devices, and a filler that leaves as much room as a test wants."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

MIB: Final = 1 << 20

MAKE: Final = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-m0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
"""How each kind of file system is made."""

COMMAND_SECONDS: Final = 60.0


@dataclass(frozen=True)
class MountedDisk:
    """A file system of its own, mounted at `folder`."""

    folder: Path
    image: Path

    @property
    def free(self) -> int:
        """Bytes that a user may take. Never those of the disk below, which a test must not fill."""
        assert os.path.ismount(self.folder), f"{self.folder} is not mounted"
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0, name: str = "filler") -> None:
        """Take all but `leave` bytes, as another program does; with 0, down to the last byte that can be had."""
        os.sync()
        excess = self.free - leave
        with (self.folder / name).open("ab", buffering=0) as file:
            if excess > MIB:
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), file.tell(), excess // MIB * MIB)
            file.seek(0, os.SEEK_END)
            for size in (64 * 1024, 4096) if leave == 0 else ():
                with suppress(OSError):
                    while True:
                        file.write(os.urandom(size))
                        os.fdatasync(file.fileno())

    def take_inodes(self, leave: int = 0) -> None:
        """Make empty files until so many inodes are left."""
        folder = self.folder / "many"
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            for number in range(os.statvfs(self.folder).f_favail - leave):
                (folder / f"{number}").touch()

    def empty(self, name: str = "filler") -> None:
        """Give back what `fill` took."""
        (self.folder / name).unlink(missing_ok=True)
        os.sync()

    def remount(self, *options: str) -> None:
        """Change the mount, to `ro` for example."""
        run_tool("mount", "-o", ",".join(("remount", *options)), str(self.folder))


@contextmanager
def mounted(kind: str, size: int, folder: Path, *, make: tuple[str, ...] = ()) -> Iterator[MountedDisk]:
    """A new file system of a kind and size, under `folder`. Skips the test if this machine cannot."""
    skip_without_loop_devices(kind)
    folder.mkdir(parents=True, exist_ok=True)
    disk = MountedDisk(folder / "mount", folder / "image")
    with disk.image.open("wb") as image:
        image.truncate(size)
    run_tool(*MAKE[kind], *make, str(disk.image))
    disk.folder.mkdir()
    run_tool("mount", "-o", "loop", str(disk.image), str(disk.folder))
    try:
        yield disk
    finally:
        run_tool("umount", "--lazy", str(disk.folder))
        disk.image.unlink()


def skip_without_loop_devices(kind: str = "ext4") -> None:
    """Skip the test, with a word, if this machine does not mount loop devices or lacks the tools of a file system."""
    reason = _why_not(kind)
    if reason is not None:
        pytest.skip(reason)


def run_tool(*command: str) -> None:
    """Run a system tool that has to succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"


@cache
def _why_not(kind: str) -> str | None:
    if os.geteuid() != 0:
        return "mounting a loop device takes root"
    if shutil.which(MAKE[kind][0]) is None:
        return f"{MAKE[kind][0]} is not installed: make disk-tools"
    if subprocess.run(("losetup", "-f"), capture_output=True, timeout=COMMAND_SECONDS, check=False).returncode != 0:
        return "there are no loop devices here: a container without them"
    if shutil.which("modprobe"):
        subprocess.run(("modprobe", kind), capture_output=True, timeout=COMMAND_SECONDS, check=False)
    if f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
        return f"this machine's kernel has no {kind}"
    return None
