"""Journals and digest indexes that are damaged at random places: transfers end right, or are refused and then right.

The damage is drawn with a seed, so that every run tries the same. If it falls on the facts or the sizes, the table is
refused and all begins anew; if it falls on a digest, a block is moved again than needed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from snapstone.client.errors import RemoteError, UnreachableError
from snapstone.client.transfer.copy import CopyOptions, copy
from snapstone.client.transfer.digests import ENTRIES_OFFSET, SLOT_SIZE
from snapstone.client.transfer.download import download
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.upload import UploadOptions, upload
from snapstone.core.blocks import DIGEST_SIZE
from tests.unit.client.transfer.test_download import Failing, blocks_in
from tests.unit.client.transfer.test_upload import ZERO, block, content, image
from tests.unit.client.transfer.two_sides import AnyServer

BLOCKS = {index: block(chr(97 + index)) for index in range(20)}
CHANGED = {**BLOCKS, 3: block("Z"), 500: block("new")}
del CHANGED[7]

Damage = Callable[[Path, random.Random], None]


def _write(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def flip_in_header(path: Path, chance: random.Random) -> None:
    """One bit of the facts, or of what stands in front of them, in either slot."""
    offset = chance.randrange(2) * SLOT_SIZE + chance.randrange(400)
    _write(path, offset, bytes([path.read_bytes()[offset] ^ 1 << chance.randrange(8)]))


def flip_in_entries(path: Path, chance: random.Random) -> None:
    """One bit of a digest that is there."""
    offset = ENTRIES_OFFSET + chance.randrange(len(BLOCKS) * DIGEST_SIZE)
    _write(path, offset, bytes([path.read_bytes()[offset] ^ 1 << chance.randrange(8)]))


def noise_in_entries(path: Path, chance: random.Random) -> None:
    """A sector of something else, where entries are or where there should be none."""
    sectors = (path.stat().st_size - ENTRIES_OFFSET) // 512
    _write(path, ENTRIES_OFFSET + chance.choice([0, chance.randrange(sectors)]) * 512, chance.randbytes(512))


def swap_entries(path: Path, chance: random.Random) -> None:
    """Two digests in each other's places: their aggregate is another, but they are digests of this image."""
    one, two = (ENTRIES_OFFSET + index * DIGEST_SIZE for index in chance.sample(range(len(BLOCKS)), 2))
    before = path.read_bytes()
    _write(path, one, before[two : two + DIGEST_SIZE])
    _write(path, two, before[one : one + DIGEST_SIZE])


def lose_a_page(path: Path, chance: random.Random) -> None:
    """Zeros over the entries, or over one of the slots."""
    _write(path, chance.choice([0, SLOT_SIZE, ENTRIES_OFFSET]), bytes(4_096))


def cut(path: Path, chance: random.Random) -> None:
    """The end is missing."""
    os.truncate(path, chance.randrange(path.stat().st_size))


DAMAGES = [flip_in_header, flip_in_entries, noise_in_entries, swap_entries, lose_a_page, cut]

damaged_at_random = pytest.mark.parametrize(
    ("damage", "seed"),
    [(damage, seed) for damage in DAMAGES for seed in range(2)],
    ids=lambda it: getattr(it, "__name__", it),
)


@pytest.fixture
def service(server: AnyServer) -> Iterator[Failing]:
    with Failing(server) as failing:
        yield failing  # type: ignore[misc]


@pytest.fixture
def state(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "state")
    folders.prepare()
    return folders


def only(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(f"*{ending}")
    return found


def without_zeros(blocks: dict[int, bytes]) -> dict[int, bytes]:
    """A block of zeros reads as an absent one."""
    return {index: data for index, data in blocks.items() if data != ZERO}


@damaged_at_random
def test_an_upload_ends_right(service: Failing, state: Folders, damage: Damage, seed: int) -> None:
    service.fail_put_number = 12
    with pytest.raises(UnreachableError):
        upload(service, image(BLOCKS), state=state)
    damage(only(state.journals, ".journal"), random.Random(seed))
    service.fail_put_number = None
    uploaded = upload(service, image(BLOCKS), state=state)
    assert without_zeros(content(service, uploaded.snapshot_id)) == BLOCKS


@damaged_at_random
def test_a_download_ends_right(service: Failing, state: Folders, tmp_path: Path, damage: Damage, seed: int) -> None:
    snapshot_id = str(upload(service, image(BLOCKS), state=state).snapshot_id)
    service.got_indexes.clear()
    service.fail_get_number = 12
    with pytest.raises(UnreachableError):
        download(service, snapshot_id, str(tmp_path / "image"), state=state)
    damage(only(state.journals, ".journal"), random.Random(seed))
    service.fail_get_number = None
    download(service, snapshot_id, str(tmp_path / "image"), state=state)
    assert blocks_in(tmp_path / "image") == BLOCKS


@damaged_at_random
def test_a_copy_ends_right_or_is_refused_and_then_ends_right(
    service: Failing, state: Folders, damage: Damage, seed: int
) -> None:
    """A copy believes its journal: what was harmed makes another aggregate, and the endpoint takes no such seal."""
    snapshot_id = str(upload(service, image(BLOCKS), state=state).snapshot_id)
    service.put_indexes.clear()
    service.fail_put_number = 12
    with pytest.raises(UnreachableError):
        copy(service, service, snapshot_id, CopyOptions(parent_id=None), state=state)
    damage(only(state.journals, ".journal"), random.Random(seed))
    service.fail_put_number = None
    copied = None
    with suppress(RemoteError):
        copied = copy(service, service, snapshot_id, CopyOptions(parent_id=None), state=state)
    if copied is None:
        copied = copy(service, service, snapshot_id, CopyOptions(parent_id=None), state=state)
    assert without_zeros(content(service, copied.snapshot_id)) == BLOCKS


@damaged_at_random
def test_an_increment_on_a_parent_whose_index_is_damaged_is_right(
    service: Failing, state: Folders, damage: Damage, seed: int
) -> None:
    parent_id = str(upload(service, image(BLOCKS), state=state).snapshot_id)
    damage(only(state.indexes, ".index"), random.Random(seed))
    uploaded = upload(service, image(CHANGED), UploadOptions(parent_id=parent_id), state=state)
    assert without_zeros(content(service, uploaded.snapshot_id)) == CHANGED
