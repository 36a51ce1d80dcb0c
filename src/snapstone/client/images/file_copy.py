"""Copies of files that share the original's room where the file system can (XFS, Btrfs), and keep its holes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from snapstone.client.errors import SourceChangedError
from snapstone.client.images import kernel
from snapstone.client.images.extents import data_extents

STEP_SIZE: Final = 256 << 20
"""Bytes of one copy_file_range, so that a Ctrl-C is heard between two."""

_PLAIN_STEP_SIZE: Final = 1 << 20
_NOT_BY_THE_KERNEL: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL})
"""What a kernel or file system answers that does not copy by itself."""


def copy_file(original: Path, copy: Path) -> None:
    """Make `copy`, which must not exist, and make it durable, but not its name.

    Raises SourceChangedError where the original becomes shorter, and OSError: then the copy is to be removed.
    """
    with original.open("rb") as source, copy.open("xb") as target:
        found = os.fstat(source.fileno())
        os.fchmod(target.fileno(), found.st_mode & 0o7777)
        if not kernel.clone_file(source.fileno(), target.fileno()):
            os.ftruncate(target.fileno(), found.st_size)
            for offset, end in data_extents(source.fileno(), found.st_size):
                if not _copy_range(source.fileno(), target.fileno(), offset, end):
                    now = os.fstat(source.fileno()).st_size
                    raise SourceChangedError(
                        f"{original} has {now} bytes now, and had {found.st_size} as its copy began"
                    )
        os.fsync(target.fileno())


def _copy_range(source: int, target: int, offset: int, end: int) -> bool:
    """Whether there was all of it to copy."""
    while offset < end:
        count = _copy_some(source, target, offset, end - offset)
        if count == 0:
            return False
        offset += count
    return True


def _copy_some(source: int, target: int, offset: int, size: int) -> int:
    """Copy up to `size` bytes; how many."""
    try:
        return os.copy_file_range(source, target, min(STEP_SIZE, size), offset, offset)
    except OSError as error:
        if error.errno not in _NOT_BY_THE_KERNEL:
            raise
    return os.pwrite(target, os.pread(source, min(_PLAIN_STEP_SIZE, size), offset), offset)
