"""Calls of the Linux kernel that Python does not offer; each answers whether it worked where there is another way."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from struct import Struct
from typing import Final

_BLKGETSIZE64: Final = 0x80081272
_BLKFLSBUF: Final = 0x1261
_BLKZEROOUT: Final = 0x127F
_FICLONE: Final = 0x40049409

_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2
_RENAME_NOREPLACE: Final = 1
_AT_FDCWD: Final = -100

_SYS_CACHESTAT: Final = 451
"""Linux 6.5 and later; the same number on every machine of the set below."""

_CACHESTAT_MACHINES: Final = frozenset({"x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "loongarch64"})

_NO_SUCH_CALL: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EXDEV})
"""What a kernel, file system or device answers that does not know a call, or not for these operands."""

_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")
_U64: Final = Struct("=Q")
_OFFSET_AND_SIZE: Final = Struct("=QQ")


class _CacheRange(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("size", ctypes.c_uint64))


class _CacheCounts(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "written_back", "evicted", "recently_evicted")
    )


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.syscall.restype = ctypes.c_long
_has_cachestat: Final = os.uname().machine in _CACHESTAT_MACHINES


def device_size(fd: int) -> int:
    """Bytes of an open block device."""
    try:
        return int(_U64.unpack(fcntl.ioctl(fd, _BLKGETSIZE64, bytes(_U64.size)))[0])
    except OSError:
        return os.lseek(fd, 0, os.SEEK_END)


def flush_device(fd: int) -> bool:
    """Write out what is cached of a device, with the file system on it, and drop it; False where not permitted."""
    try:
        fcntl.ioctl(fd, _BLKFLSBUF, 0)
    except OSError:
        return False
    return True


def sync_file_system(folder: str) -> bool:
    """Write out all that is cached of the file system at a folder; False where it cannot be reached."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(_libc.syncfs(fd) == 0)
    finally:
        os.close(fd)


def zero_device(fd: int, offset: int, size: int) -> bool:
    """Have a device write zeros itself; False where it cannot."""
    try:
        fcntl.ioctl(fd, _BLKZEROOUT, _OFFSET_AND_SIZE.pack(offset, size))
    except OSError as error:
        if error.errno in _NO_SUCH_CALL:
            return False
        raise
    return True


def punch_hole(fd: int, offset: int, size: int) -> bool:
    """Give bytes of a file or device back, so that they read as zeros; False where that is not to be had."""
    if _libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE, offset, size) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code))


def clone_file(source_fd: int, target_fd: int) -> bool:
    """Make a file share all bytes of another; False where the file system cannot."""
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno in _NO_SUCH_CALL:
            return False
        raise
    return True


def is_cached(fd: int, offset: int, size: int) -> bool | None:
    """Whether all these bytes of a file are in the page cache; None where the kernel does not say."""
    if not _has_cachestat:
        return None
    asked = _CacheRange(offset, size)
    counts = _CacheCounts()
    if _libc.syscall(_SYS_CACHESTAT, fd, ctypes.byref(asked), ctypes.byref(counts), 0) != 0:
        return None
    return bool(counts.cached * _PAGE_SIZE >= size)


def rename_if_absent(source: str, target: str) -> bool:
    """Rename in one step where the new name is free, else FileExistsError; False where that is not to be had."""
    rename = getattr(_libc, "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code), target)
