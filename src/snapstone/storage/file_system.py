"""The kind of file system under a folder, whether it is read-only, and files that are overwritten in place.

On a file system that never overwrites (btrfs) a write to a mapped file needs new space, and a process that writes to
one when the disk is full is killed by SIGBUS. A file without copy-on-write is overwritten in place, as on any other.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final

from snapstone.system.files import opened_folder

BTRFS: Final = 0x9123683E
BCACHEFS: Final = 0xCA451A4E

COPY_ON_WRITE: Final = frozenset({BTRFS, BCACHEFS})
"""File systems, by the number that statfs gives them, that write what is overwritten to another place."""

MOUNTS: Final = Path("/proc/self/mountinfo")

_STOPPED: Final = frozenset({"emergency_ro", "shutdown"})
"""Options of a file system that its kernel has stopped."""

_FLAGS: Final = Struct("L")
_GET_FLAGS: Final = 0x80006601 | _FLAGS.size << 16
_SET_FLAGS: Final = 0x40006602 | _FLAGS.size << 16
_NO_COPY_ON_WRITE: Final = 0x00800000
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_NOCOW_FL of linux/fs.h; what `chattr +C` sets."""

_STATFS_SIZE: Final = 256
"""Bytes that hold a `struct statfs` on any machine; its first member is the file system's number."""

FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def fallocate(descriptor: int, mode: int, offset: int, size: int) -> None:
    """fallocate(2): reserve or give back bytes of a file. Raises OSError.

    Unlike os.posix_fallocate it takes modes, and never writes zeros if the file system cannot reserve.
    """
    if _libc.fallocate(descriptor, mode, offset, size) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def is_copy_on_write(descriptor: int) -> bool:
    """Whether an open file or folder lies on a file system that never overwrites."""
    found = ctypes.create_string_buffer(_STATFS_SIZE)
    if _libc.fstatfs(descriptor, found) != 0:
        return False
    (number,) = Struct("L").unpack_from(found)
    return (number & 0xFFFFFFFF) in COPY_ON_WRITE


def is_read_only(folder: Path) -> bool:
    """Whether the file system of a folder takes no changes (any more). Raises OSError.

    After a disk error, ext4 shows it only in its mount options.
    """
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return True
    with suppress(OSError):
        mounts = MOUNTS.read_text()
        if any(option in mounts for option in _STOPPED):
            return _is_stopped(folder, mounts)
    return False


def _is_stopped(folder: Path, mounts: str) -> bool:
    """Whether the folder's file system is one of those among the mounts that were stopped."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    options = [fields[-1].split(",") for fields in map(str.split, mounts.splitlines()) if fields[2] == number]
    return any(option in _STOPPED for each in options for option in each)


def make_in_place(path: Path) -> None:
    """Make an empty file that is overwritten in place, if there is none and its file system is a copy-on-write one.

    Later opens find the file with this property. Does nothing if the file system refuses.
    """
    with opened_folder(path.parent) as folder:
        if not path.exists() and is_copy_on_write(folder):
            with suppress(OSError):
                _make_in_place(path)


def _make_in_place(path: Path) -> None:
    """The property can be given to an empty file only, so the file gets its name afterwards."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        flags = bytearray(_FLAGS.size)
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        fcntl.ioctl(fd, _SET_FLAGS, _FLAGS.pack(_FLAGS.unpack(flags)[0] | _NO_COPY_ON_WRITE))
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
        os.close(fd)
