"""A real ext4 image: made from a tree of real files, changed in place, checked, and read back into a tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BLOCK_SIZE: Final = 524_288
COMMAND_LIMIT_SECONDS: Final = 120.0
FILE_SYSTEM_ID: Final = "5e1f57a0-0000-4000-8000-000000000001"
"""Fixed, like the seed of its folder hashes, so that a tour makes the same image from the same files."""


@dataclass(frozen=True)
class Change:
    """What one generation changes in the tree: paths relative to its root."""

    edited: Sequence[Path]
    added: Sequence[Path]
    deleted: Sequence[Path]

    def __str__(self) -> str:
        return f"{len(self.edited)} files changed, {len(self.added)} added, {len(self.deleted)} deleted"


def make(image: Path, tree: Path, size_mib: int) -> None:
    """Make `image`, a new ext4 file system that holds `tree`."""
    options = ["-t", "ext4", "-b", "4096", "-U", FILE_SYSTEM_ID, "-E", f"hash_seed={FILE_SYSTEM_ID}", "-L", "tour"]
    run("mke2fs", "-q", *options, "-d", str(tree), str(image), f"{size_mib}M")


def change(image: Path, tree: Path, changes: Change) -> None:
    """Do to the file system in `image` what was done to `tree`."""
    folders = {parent for path in changes.added for parent in path.parents} - {Path(".")}
    lines = [f"mkdir /{folder}" for folder in sorted(folders)]
    lines += [f"rm /{path}" for path in [*changes.edited, *changes.deleted]]
    for path in [*changes.edited, *changes.added]:
        lines += [f"cd /{path.parent}", f"write {tree / path} {path.name}"]
    run("debugfs", "-w", "-f", "-", str(image), feed="\n".join(lines))


def check(image: Path) -> str:
    """What e2fsck says of a clean file system; raises CalledProcessError if it is not clean."""
    return run("e2fsck", "-fn", str(image)).splitlines()[-1]


def same_bytes(one: Path, other: Path) -> bool:
    """Whether cmp finds no difference."""
    return subprocess.run(["cmp", "--silent", one, other], timeout=COMMAND_LIMIT_SECONDS, check=False).returncode == 0


def extract(image: Path, folder: Path) -> None:
    """Read every file of the file system in `image` into a new folder."""
    folder.mkdir()
    run("debugfs", "-R", f"rdump / {folder}", str(image))
    shutil.rmtree(folder / "lost+found")


def blocks(image: Path) -> dict[int, bytes]:
    """The blocks of an image that are not zero: block index to bytes."""
    found = {}
    with image.open("rb") as file:
        for block_index, data in enumerate(iter(lambda: file.read(BLOCK_SIZE), b"")):
            if data.count(0) != len(data):
                found[block_index] = data.ljust(BLOCK_SIZE, b"\0")
    return found


def run(*command: str, feed: str = "") -> str:
    """What a command prints; raises CalledProcessError if it fails."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run(
        command,
        input=feed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=COMMAND_LIMIT_SECONDS,
        check=True,
    )
    return done.stdout
