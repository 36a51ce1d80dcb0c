"""The copy of an old image that an increment is applied to, so that the old one stays whole until the new one is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from snapstone.client.durable import sync_folder
from snapstone.client.images import kernel
from snapstone.client.images.file_copy import copy_file
from snapstone.client.images.refusals import refusal
from snapstone.client.images.space import check_space

_UNFINISHED_SUFFIX: Final = ".copy"
_SECTOR_SIZE: Final = 512
"""What `st_blocks` counts, whatever the file system's blocks are."""


def start_part_from_copy(image: Path, part: Path) -> None:
    """Make a part that is a copy of an image: sharing its bytes where the file system can, else sparse as it is.

    Raises NoSpaceError beforehand where the copy has no room.
    """
    unfinished = part.with_name(part.name.removesuffix(".part") + _UNFINISHED_SUFFIX)
    try:
        unfinished.unlink(missing_ok=True)
        if not _clone(image, unfinished):
            unfinished.unlink(missing_ok=True)
            check_space(part, os.stat(image).st_blocks * _SECTOR_SIZE)
            copy_file(image, unfinished)
        os.rename(unfinished, part)
        sync_folder(part.parent)
    except OSError as error:
        raise refusal(error, str(image), f"be copied to {part}, where the changes are to be applied") from error
    finally:
        unfinished.unlink(missing_ok=True)  # also where somebody asked for the end


def _clone(image: Path, copy: Path) -> bool:
    with image.open("rb") as source, copy.open("xb") as target:
        cloned = kernel.clone_file(source.fileno(), target.fileno())
        os.fsync(target.fileno())
    return cloned
