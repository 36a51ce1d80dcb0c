"""Who uses a block device, or a file, as a disk: mounted, swapped to, or built upon by another device."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snapstone.client.images.sysfs import SYS, BlockDevice, loop_devices

PROC: Final = Path("/proc")

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
"""How the kernel writes blanks, line ends and backslashes in the tables of mounts and swaps."""

MAX_DEPTH: Final = 16
"""Devices on devices that are followed; more than any machine stacks."""


@dataclass(frozen=True)
class Use:
    """One use: `what` goes on after the name of the device or file: `is mounted at /srv`."""

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

    def uses_of_device(self, number: int) -> list[Use]:
        """Uses of a device, of its partitions, of the disk it is a part of, and of whatever is built on those."""
        device = BlockDevice.of(number, self._sys)
        uses = self._uses_of(number, "")
        for part in device.partitions():
            uses += self._uses_of_known(part, f"has {part.name}, which ")
        if device.is_partition:
            uses += self._uses_of_known(device.whole, f"is part of {device.whole.name}, which ")
        return uses

    def uses_of_file(self, path: Path) -> list[Use]:
        """Uses of a file: as swap, or as what is behind a loop device, whether that is mounted or not."""
        uses = [Use("is used as swap") for swap in self._swaps if _same_file(swap, str(path))]
        for device, backing in loop_devices(self._sys):
            if _same_file(backing, str(path)):
                lead = f"is behind {device.name}, which "
                number = device.number
                above = [] if number is None else self.uses_of_device(number)
                uses += [Use(lead + use.what, use.mount_point) for use in above] or [Use(f"is behind {device.name}")]
        return uses

    def _uses_of_known(self, device: BlockDevice, lead: str, depth: int = 0) -> list[Use]:
        number = device.number
        return [] if number is None or depth > MAX_DEPTH else self._uses_of(number, lead, depth)

    def _uses_of(self, number: int, lead: str, depth: int = 0) -> list[Use]:
        uses = [Use(f"{lead}is mounted at {mount.point}", mount.point) for mount in self._mounts_of(number)]
        uses += [Use(f"{lead}is used as swap") for swap in self._swaps if _device_number(swap) == number]
        for holder in BlockDevice.of(number, self._sys).holders():
            held = f"{lead}is held by {holder.name}"
            uses += self._uses_of_known(holder, f"{held}, which ", depth + 1) or [Use(held)]
        return uses

    def _mounts_of(self, number: int) -> Iterator[_Mount]:
        # btrfs and others show a number of their own in the table; what was mounted is named beside it.
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
