"""Block devices, as a source and as a target: what lies on them, and not what is cached of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from snapstone.client.errors import NotFoundError, UsageError, refusal
from snapstone.client.images import linux
from snapstone.client.images.block_file import BlockFile, block_count_of
from snapstone.client.images.contract import State
from snapstone.client.images.linux import BlockDevice, UseTable


class DeviceSource:
    """Owns an open descriptor of a block device. A mounted one may be read; its file system is written out first."""

    sequential = False

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.size = linux.device_size(fd)
        if self.size == 0:
            raise NotFoundError(f"{name} has a size of 0 bytes: no medium, or no backing device")
        self._number = os.fstat(fd).st_rdev
        self.uses = UseTable().uses_of_device(self._number)
        """Its uses when it was opened; while it is mounted it may change under the reader."""
        self._file = BlockFile(fd, name, self.size, trust_cache=False)
        self._settle()

    def ranges(self) -> Iterator[range]:
        """All of it: a device does not say where it holds nothing."""
        yield range(block_count_of(self.size))

    def read(self, block_index: int, into: memoryview) -> None:
        """Fill `into` with a block."""
        self._file.read(block_index, into)

    def state(self) -> State:
        """Which device it is, its size, and how much has been written to it, if the kernel counts that."""
        self._settle()
        state: dict[str, object] = {
            "kind": "device",
            "device": self._number,
            "size": linux.device_size(self._file.fd),
        }
        return state | (BlockDevice.of(self._number).written() or {})

    def close(self) -> None:
        """Close the device."""
        self._file.close()

    def _settle(self) -> None:
        """Bring to the disk what is cached of it and of its file systems: only then it can be read, and is counted."""
        for mount_point in {use.mount_point for use in self.uses if use.mount_point is not None}:
            linux.sync_file_system(mount_point)
        if not linux.flush_device(self._file.fd):
            self._file.sync()


class DeviceTarget:
    """A block device that is written in place, held exclusively (O_EXCL): it cannot be mounted meanwhile."""

    fresh = False
    resumed = False
    fixed_places = True

    def __init__(self, fd: int, name: str, size: int) -> None:
        self.name = name
        self._file = BlockFile(fd, name, size, trust_cache=False)

    def write(self, block_index: int, block: memoryview) -> None:
        """Write a block."""
        self._file.write(block_index, block)

    def write_zeros(self, block_index: int) -> None:
        """Make a block read as zeros, given back to the device if it can take it."""
        self._file.zero(block_index)

    def read(self, block_index: int, into: memoryview) -> None:
        """The device's current content."""
        self._file.read(block_index, into)

    def sync(self) -> None:
        """Flush the device."""
        self._file.sync()

    def commit(self) -> None:
        """Flush and close it."""
        try:
            self._file.sync()
        finally:
            self._file.close()

    def leave(self) -> None:
        """Close it; what was written stays."""
        self._file.close()

    def discard(self) -> None:
        """Close it; what was written stays, because the earlier content is unknown."""
        self._file.close()


def open_device_target(path: str, size: int, *, force: bool) -> DeviceTarget:
    """Open a device to write an image of `size` bytes to its beginning.

    Raises UsageError if that is not forced, where the device or a part of it is in use, and where it is too small.
    """
    name = os.path.realpath(path)
    if not force:
        raise UsageError(f"{name} is a device, and everything on it would be overwritten; use --force to do that")
    try:
        _check_unused(name, os.stat(name).st_rdev)
        fd = os.open(name, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise refusal(error, name, "be opened exclusively for writing") from error
    try:
        _check_fit(fd, name, size)
        return DeviceTarget(fd, name, size)
    except BaseException:
        os.close(fd)
        raise


def _check_unused(name: str, number: int) -> None:
    uses = UseTable().uses_of_device(number)
    if uses:
        listing = "; ".join(use.what for use in uses)
        raise UsageError(f"{name} is in use and will not be written to, even with --force: it {listing}")


def _check_fit(fd: int, name: str, size: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        raise UsageError(f"{name} is no longer a device")
    device_size = linux.device_size(fd)
    if device_size < size:
        raise UsageError(f"{name} has {device_size} bytes, too few for an image of {size}; use a larger device")
