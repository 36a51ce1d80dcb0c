"""Finds an installation's stored records on disk, and damages them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snapstone.core.blocks import Address
from snapstone.storage.index import Index, RecordPlace


def place_of(folder: Path, address: Address) -> RecordPlace:
    """Where the index says that an object's record stands."""
    index = Index(folder / "index.db")
    try:
        place = index.find(address)
    finally:
        index.close()
    assert place is not None
    return place


def segment_file(folder: Path, segment_id: int = 1) -> Path:
    """The file of a segment."""
    return folder / "segments" / f"{segment_id:08d}.segment"


def flip_bit(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ 1 << bit]))


@contextmanager
def flipped_bit(path: Path, offset: int, bit: int = 0) -> Iterator[None]:
    """One bit of a file turned over for as long as the block lasts."""
    flip_bit(path, offset, bit)
    try:
        yield
    finally:
        flip_bit(path, offset, bit)


def damage_entries(folder: Path) -> list[dict[str, Any]]:
    """The entries of the damage log."""
    log = folder / "damage.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
