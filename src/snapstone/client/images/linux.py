"""Linux: calls that Python does not offer, block devices under /sys, and who uses a device or file as a disk.

Each call returns whether it worked, if there is another way.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
"""Errors of a kernel, file system or device that does not support a call, or not for these operands."""

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
    """Write out what is cached of a device, with the file system on it, and drop it; False if not permitted."""
    try:
        fcntl.ioctl(fd, _BLKFLSBUF, 0)
    except OSError:
        return False
    return True


def sync_file_system(folder: str) -> bool:
    """Write out all that is cached of the file system at a folder; False if it cannot be reached."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(_libc.syncfs(fd) == 0)
    finally:
        os.close(fd)


def zero_device(fd: int, offset: int, size: int) -> bool:
    """Have a device write zeros itself; False if it cannot."""
    try:
        fcntl.ioctl(fd, _BLKZEROOUT, _OFFSET_AND_SIZE.pack(offset, size))
    except OSError as error:
        if error.errno in _NO_SUCH_CALL:
            return False
        raise
    return True


def punch_hole(fd: int, offset: int, size: int) -> bool:
    """Give bytes of a file or device back, so that they read as zeros; False if that is not to be had."""
    if _libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE, offset, size) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code))


def clone_file(source_fd: int, target_fd: int) -> bool:
    """Make a file share all bytes of another; False if the file system cannot."""
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno in _NO_SUCH_CALL:
            return False
        raise
    return True


def is_cached(fd: int, offset: int, size: int) -> bool | None:
    """Whether all these bytes of a file are in the page cache; None if unknown."""
    if not _has_cachestat:
        return None
    asked = _CacheRange(offset, size)
    counts = _CacheCounts()
    if _libc.syscall(_SYS_CACHESTAT, fd, ctypes.byref(asked), ctypes.byref(counts), 0) != 0:
        return None
    return bool(counts.cached * _PAGE_SIZE >= size)


def rename_if_absent(source: str, target: str) -> bool:
    """Rename in one step where the new name is free, else FileExistsError; False if that is not to be had."""
    rename = getattr(_libc, "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code), target)


SYS: Final = Path("/sys")

_WRITE_COUNTERS: Final = {"sectors_written": 6, "sectors_discarded": 13}
"""Fields of `stat`, by Linux' Documentation/block/stat.rst (discards since 4.18). Not the numbers of requests: a mere
flush counts among those."""


@dataclass(frozen=True)
class BlockDevice:
    """One device as /sys shows it. The folder may be absent (no /sys here): then nothing is known of it."""

    folder: Path
    """Resolved, so that a partition's is inside that of its disk."""

    @classmethod
    def of(cls, number: int, sys: Path = SYS) -> BlockDevice:
        """The device of a number as `st_rdev` has it."""
        return cls((sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").resolve())

    @property
    def name(self) -> str:
        """As people call it: `sda1`, or for device-mapper its name there too."""
        mapped = _text(self.folder / "dm" / "name")
        return f"{self.folder.name} ({mapped})" if mapped else self.folder.name

    @property
    def number(self) -> int | None:
        """As `st_rdev` has it; None if nothing is known."""
        major, _, minor = (_text(self.folder / "dev") or "").partition(":")
        return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else None

    @property
    def is_partition(self) -> bool:
        """Whether it is a part of another."""
        return (self.folder / "partition").exists()

    @property
    def whole(self) -> BlockDevice:
        """The disk that it is a part of, or itself."""
        return BlockDevice(self.folder.parent) if self.is_partition else self

    def partitions(self) -> list[BlockDevice]:
        """Its parts, by name."""
        return [BlockDevice(folder) for folder in _folders(self.folder) if (folder / "partition").exists()]

    def holders(self) -> list[BlockDevice]:
        """Devices that are built on it: device-mapper, md, bcache."""
        return [BlockDevice(folder.resolve()) for folder in _folders(self.folder / "holders")]

    def written(self) -> dict[str, int] | None:
        """Counts of what was written and discarded since the machine started; None if not counted.

        A disk's counters include what is written to its partitions, but a partition's do not include what is written
        past it to the disk's own device. So that is added for a partition: what no partition has counted.
        """
        counted = self._counters()
        if counted is None or not self.is_partition:
            return counted
        disk = self.whole
        in_all = disk._counters()
        for part in disk.partitions():
            counters = part._counters()
            if in_all is not None and counters is not None:
                in_all = {name: in_all[name] - counters[name] for name in in_all}
        return counted if in_all is None else {name: counted[name] + in_all[name] for name in counted}

    def _counters(self) -> dict[str, int] | None:
        if _text(self.whole.folder / "queue" / "iostats") == "0":
            return None
        fields = (_text(self.folder / "stat") or "").split()
        if len(fields) <= _WRITE_COUNTERS["sectors_written"]:
            return None
        return {name: int(fields[place]) for name, place in _WRITE_COUNTERS.items() if place < len(fields)}


def loop_devices(sys: Path = SYS) -> list[tuple[BlockDevice, str]]:
    """Loop devices in use, with the path of the file that is behind each."""
    found = []
    for folder in _folders(sys / "block"):
        backing = _text(folder / "loop" / "backing_file")
        if backing:
            found.append((BlockDevice(folder.resolve()), backing))
    return found


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.is_dir())
    return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="surrogateescape").strip()
    except OSError:
        return None


PROC: Final = Path("/proc")

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
"""How the kernel writes blanks, line ends and backslashes in the tables of mounts and swaps."""

MAX_DEPTH: Final = 16
"""Devices on devices that are followed; more than any machine stacks."""


@dataclass(frozen=True)
class DeviceUse:
    """One use; `what` follows the name of the device or file: `is mounted at /srv`."""

    what: str
    mount_point: str | None = None


@dataclass(frozen=True)
class _Mount:
    number: int
    source: str
    point: str


class UseTable:
    """The kernel's tables, read once."""

    def __init__(self, proc: Path = PROC, sys: Path = SYS) -> None:
        self._sys = sys
        self._mounts = list(_mounts(proc / "self" / "mountinfo"))
        self._swaps = list(_swaps(proc / "swaps"))

    def uses_of_device(self, number: int) -> list[DeviceUse]:
        """Uses of a device, of its partitions, of the disk it is a part of, and of whatever is built on those."""
        device = BlockDevice.of(number, self._sys)
        uses = self._uses_of(number, "")
        for part in device.partitions():
            uses += self._uses_of_known(part, f"has {part.name}, which ")
        if device.is_partition:
            uses += self._uses_of_known(device.whole, f"is part of {device.whole.name}, which ")
        return uses

    def uses_of_file(self, path: Path) -> list[DeviceUse]:
        """Uses of a file: as swap, or as what is behind a loop device, whether that is mounted or not."""
        uses = [DeviceUse("is used as swap") for swap in self._swaps if _same_file(swap, str(path))]
        for device, backing in loop_devices(self._sys):
            if _same_file(backing, str(path)):
                lead = f"is behind {device.name}, which "
                number = device.number
                above = [] if number is None else self.uses_of_device(number)
                uses += [DeviceUse(lead + use.what, use.mount_point) for use in above] or [
                    DeviceUse(f"is behind {device.name}")
                ]
        return uses

    def _uses_of_known(self, device: BlockDevice, lead: str, depth: int = 0) -> list[DeviceUse]:
        number = device.number
        return [] if number is None or depth > MAX_DEPTH else self._uses_of(number, lead, depth)

    def _uses_of(self, number: int, lead: str, depth: int = 0) -> list[DeviceUse]:
        uses = [DeviceUse(f"{lead}is mounted at {mount.point}", mount.point) for mount in self._mounts_of(number)]
        uses += [DeviceUse(f"{lead}is used as swap") for swap in self._swaps if _device_number(swap) == number]
        for holder in BlockDevice.of(number, self._sys).holders():
            held = f"{lead}is held by {holder.name}"
            uses += self._uses_of_known(holder, f"{held}, which ", depth + 1) or [DeviceUse(held)]
        return uses

    def _mounts_of(self, number: int) -> Iterator[_Mount]:
        # btrfs and others show a number of their own in the table; the mounted device is named next to it.
        for mount in self._mounts:
            if mount.number == number or _device_number(mount.source) == number:
                yield mount


def _mounts(table: Path) -> Iterator[_Mount]:
    """By proc_pid_mountinfo(5) a line is: id, parent, major:minor, root, mount point, ..., -, type, source, ..."""
    for line in _lines(table):
        fields = line.split(" ")
        major, _, minor = fields[2].partition(":")
        source = fields[fields.index("-") + 2]
        yield _Mount(os.makedev(int(major), int(minor)), _unescaped(source), _unescaped(fields[4]))


def _swaps(table: Path) -> Iterator[str]:
    for line in _lines(table)[1:]:
        yield _unescaped(line.split()[0])


def _lines(table: Path) -> list[str]:
    with suppress(OSError):
        return table.read_text(errors="surrogateescape").splitlines()
    return []


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _device_number(path: str) -> int | None:
    if not path.startswith("/"):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_rdev if stat.S_ISBLK(status.st_mode) else None


def _same_file(path: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, other)
    return False
