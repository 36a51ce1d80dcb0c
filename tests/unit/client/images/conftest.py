"""What tests of images need of a machine: aligned buffers, loop devices, small file systems, another user."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from mmap import mmap
from pathlib import Path

import pytest

from snapstone.core.blocks import BLOCK_SIZE

Attach = Callable[[Path], Path]
Mount = Callable[..., Path]
SplitDisk = tuple[Path, Path, Path]

NOBODY = 65_534


def run_as_root(*command: str) -> str:
    """The output of a command for which one has to be root; the test is skipped if it is not permitted or there."""
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[0]} is not permitted here: {error.stderr.strip()}")
    return done.stdout.strip()


@pytest.fixture
def block() -> memoryview:
    """A page-aligned buffer with random bytes, as a worker has it."""
    buffer = memoryview(mmap(-1, BLOCK_SIZE))
    buffer[:] = os.urandom(BLOCK_SIZE)
    return buffer


@pytest.fixture
def into() -> memoryview:
    """A page-aligned buffer with what an earlier block left in it."""
    buffer = memoryview(mmap(-1, BLOCK_SIZE))
    buffer[:] = b"\xaa" * BLOCK_SIZE
    return buffer


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Puts a loop device on a file."""
    with ExitStack() as after:

        def attach_file(image: Path) -> Path:
            device = run_as_root("losetup", "--find", "--show", str(image))
            after.callback(subprocess.run, ["losetup", "--detach", device], check=True)
            return Path(device)

        yield attach_file


@pytest.fixture
def split_disk(tmp_path: Path, attach: Attach) -> Iterator[SplitDisk]:
    """A disk of 8 MiB with two partitions of 2 MiB, at 1 MiB and at 4 MiB."""
    image = tmp_path / "split disk"
    image.touch()
    os.truncate(image, 8 << 20)
    disk = attach(image)
    with ExitStack() as after:
        for place, start_sector in (("1", "2048"), ("2", "8192")):
            run_as_root("addpart", str(disk), place, start_sector, "4096")
            after.callback(subprocess.run, ["delpart", str(disk), place], check=True)
        first, second = Path(f"{disk}p1"), Path(f"{disk}p2")
        if not first.exists() or not second.exists():
            pytest.skip("nobody makes the nodes of partitions here")
        yield disk, first, second


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts something at a folder: `mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", point="m")`."""
    with ExitStack() as after:

        def mount_at(*what: str, point: str = "mounted") -> Path:
            folder = tmp_path / point
            folder.mkdir()
            run_as_root("mount", *what, str(folder))
            after.callback(subprocess.run, ["umount", str(folder)], check=True)
            return folder

        yield mount_at


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def root() -> None:
    """The test is about what only root can do."""
    _become(NOBODY)
    _become(0)


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], None]]:
    """Called, makes the rest of the test run as a user without rights; root is needed to do that."""
    _become(NOBODY)
    _become(0)
    yield lambda: _become(NOBODY)
    _become(0)


def _become(user: int) -> None:
    try:
        os.seteuid(user)
    except PermissionError:
        pytest.skip("only root can become somebody else")
