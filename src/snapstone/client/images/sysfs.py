"""What the kernel tells of a block device under /sys: its parts, who builds on it, and what was written to it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        """As `st_rdev` has it; None where nothing is known."""
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
        """What was written and discarded since the machine started; None where it is not counted.

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
