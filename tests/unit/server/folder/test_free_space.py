"""A start looks at the room first: it goes on, or is refused with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapstone.server.folder.data_folder import DataFolder, DataFolderError
from snapstone.server.folder.watch import (
    START_BYTES,
    START_INODES,
    SUBJECT,
    open_space_guard,
    require_space,
    tend_space,
)
from snapstone.service.health import Health
from snapstone.storage.space import LOW_WATER, FreeSpace, SpaceGuard


def guard_of(tmp_path: Path, room: FreeSpace | None) -> SpaceGuard:
    return SpaceGuard(tmp_path, tmp_path / "reserve", measure=lambda folder: room)


@pytest.mark.parametrize("room", [FreeSpace(START_BYTES, START_INODES), FreeSpace(START_BYTES, None), None])
def test_a_start_with_just_enough_room_is_tried(tmp_path: Path, room: FreeSpace | None) -> None:
    require_space(guard_of(tmp_path, room))


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (FreeSpace(START_BYTES - 1, START_INODES), f"{START_BYTES - 1} bytes"),
        (FreeSpace(START_BYTES, START_INODES - 1), f"{START_INODES - 1} inodes"),
        (FreeSpace(START_BYTES - 1, None), f"{START_BYTES - 1} bytes"),
        (FreeSpace(1 << 40, None, read_only=True), "is read-only"),
    ],
)
def test_a_start_without_room_is_refused_and_reading_is_offered(tmp_path: Path, room: FreeSpace, said: str) -> None:
    with pytest.raises(DataFolderError) as refused:
        require_space(guard_of(tmp_path, room))
    assert said in refused.value.message
    assert str(tmp_path) in refused.value.message
    assert "--read-only" in refused.value.message


def test_little_room_is_a_problem_until_there_is_more(tmp_path: Path) -> None:
    rooms = [FreeSpace(LOW_WATER - 1, None)]
    guard, health = SpaceGuard(tmp_path, tmp_path / "reserve", measure=lambda folder: rooms[-1]), Health()
    tend_space(guard, health)
    assert [(problem.subject, problem.unready) for problem in health.problems()] == [(SUBJECT, False)]
    rooms.append(FreeSpace(1 << 40, None))
    tend_space(guard, health)
    assert health.problems() == []


def test_a_data_folder_gets_its_reserve_before_anything_is_opened(tmp_path: Path) -> None:
    open_space_guard(DataFolder(tmp_path))
    assert len(list((tmp_path / "reserve").iterdir())) == 16
