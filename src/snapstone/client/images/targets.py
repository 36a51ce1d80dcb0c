"""Which target a path means: a file that grows under a temporary name, a device written in place, one of QEMU's."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from snapstone.client.errors import NotFoundError, UsageError, refusal
from snapstone.client.images.contract import Target
from snapstone.client.images.device import open_device_target
from snapstone.client.images.linux import UseTable
from snapstone.client.images.part_file import (
    FileTarget,
    check_space,
    open_part,
    part_path,
    restrict_like,
    start_part_from_copy,
)
from snapstone.client.images.qemu import detect_format, open_qemu_target

__all__ = ["check_space", "open_target"]

RAW: Final = "raw"
STREAM: Final = "-"
_DEVICE_FOLDER: Final = "/dev"
_SHARED_MEMORY: Final = Path("/dev/shm")


def open_target(
    path: str | os.PathLike[str],
    size: int,
    *,
    part_name: str,
    force: bool = False,
    format: str | None = None,
    existing: bool = False,
) -> Target:
    """Open what an image of `size` bytes is to be written to.

    A file grows as `.NAME.part_name.part` beside its name, which has to be free, unless `force` lets it be replaced at
    the commit. A part that is there already is resumed, so `part_name` has to name the content, and what it began as.
    `existing` begins with a copy of the image that is there, and replaces it. A device is written in place, and with
    `force` only.
    A format other than `raw` is QEMU's; None is raw, or with `existing` the image's own.

    Raises UsageError, NotFoundError, DeniedError, NoSpaceError.
    """
    place = Path(os.path.abspath(path))
    if os.fspath(path) == STREAM:
        raise UsageError("blocks cannot be written to standard output in any order; use a file or a device")
    if size < 1:
        raise UsageError(f"{place}: an image of {size} bytes cannot be written")
    status = _status(place)
    if status is not None and stat.S_ISBLK(status.st_mode):
        if format not in (None, RAW):
            raise UsageError(f"{place} is a device, and devices are always written raw; omit the format {format}")
        return open_device_target(str(place), size, force=force)
    _check_place(place, status, force=force, existing=existing)
    image_format = detect_format(place) if format is None and existing else format
    if image_format not in (None, RAW):
        part = part_path(place, f"{part_name}.{image_format}")
        return open_qemu_target(place, size, part_name=part.name, force=force, format=image_format, existing=existing)
    return _open_file(place, size, part_path(place, part_name), force=force, existing=existing)


def _open_file(path: Path, size: int, part: Path, *, force: bool, existing: bool) -> FileTarget:
    copied = existing and not os.path.lexists(part)
    if copied:
        start_part_from_copy(path, part)
    fd, existed = open_part(part)
    replace = force or existing
    try:
        if existing:  # an image that is larger than asked for stays so: nothing of it is cut off
            size = max(size, os.fstat(fd).st_size)
        os.ftruncate(fd, size)
        if replace:
            restrict_like(fd, path)
        return FileTarget(fd, part, path, size, fresh=not existing, resumed=existed and not copied, replace=replace)
    except OSError as error:
        if not existed:
            part.unlink(missing_ok=True)
        os.close(fd)
        raise refusal(error, str(path), f"be made {size} bytes long") from error


def _status(path: Path) -> os.stat_result | None:
    """Of what the path names, links followed; None if there is nothing."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refusal(error, str(path), "be examined") from error


def _check_place(path: Path, status: os.stat_result | None, *, force: bool, existing: bool) -> None:
    """Raise for a place where no file is to be written. A link is followed to a device only, never to a file."""
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link to {os.path.realpath(path)}; use that path instead")
    if status is None:
        _check_free_name(path, existing=existing)
        return
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path} is a directory; choose a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is neither a file nor a block device")
    if not force and not existing:
        raise UsageError(f"{path} already exists; use --force to replace it")
    uses = UseTable().uses_of_file(path)
    if uses:
        raise UsageError(f"{path} is in use and will not be replaced, even with --force: it {uses[0].what}")


def _check_free_name(path: Path, *, existing: bool) -> None:
    if existing:
        raise NotFoundError(f"{path} does not exist; --from needs an existing image")
    if not path.parent.is_dir():
        raise NotFoundError(f"no such directory: {path.parent}")
    if path.is_relative_to(_DEVICE_FOLDER) and not path.is_relative_to(_SHARED_MEMORY):
        raise NotFoundError(f"no such device: {path}")
