"""The guard of the disk's room, on a real reserve folder and a disk whose size the test sets."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from snapstone.core.errors import ReadOnlyError, StoreFullError
from snapstone.storage.space import (
    CLEAR_WATER,
    ESSENTIAL_SEGMENT,
    INODES_GIVEN_BELOW,
    INODES_TAKEN_FROM,
    LOOK_SECONDS,
    LOW_WATER,
    MIB,
    RESERVE_FILE_COUNT,
    RESERVE_FILE_SIZE,
    RESERVE_GIVEN_BELOW,
    SEGMENT_LEAVES,
    FreeSpace,
    SpaceGuard,
    measure,
)


@dataclass
class Disk:
    """A disk on which only the reserve and a filler lie."""

    reserve: Path
    free_without_reserve: int
    inodes_without_reserve: int | None = None
    looks: int = 0
    now: float = 0.0

    def room(self, folder: Path) -> FreeSpace:
        self.looks += 1
        files = list(self.reserve.iterdir()) if self.reserve.exists() else []
        held = sum(path.stat().st_blocks * 512 for path in files)
        inodes = self.inodes_without_reserve
        return FreeSpace(self.free_without_reserve - held, None if inodes is None else inodes - len(files))

    def guard(self) -> SpaceGuard:
        return SpaceGuard(self.reserve.parent, self.reserve, seconds=lambda: self.now, measure=self.room)

    @property
    def reserved(self) -> int:
        return len(list(self.reserve.iterdir())) if self.reserve.exists() else 0


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "reserve", 10_000 * MIB)


def test_the_reserve_is_64_mib_of_a_large_disk(disk: Disk) -> None:
    disk.guard().tend()
    assert sum(path.stat().st_blocks * 512 for path in disk.reserve.iterdir()) == 64 * MIB


@pytest.mark.parametrize(("free_mib", "files"), [(400, 16), (200, 12), (100, 6), (40, 2), (28, 1), (27, 0), (0, 0)])
def test_the_reserve_of_a_small_disk_is_a_quarter_of_it_and_leaves_room_for_blocks(
    disk: Disk, free_mib: int, files: int
) -> None:
    disk.free_without_reserve = free_mib * MIB
    disk.guard().tend()
    assert disk.reserved == files


def test_the_reserve_is_given_back_step_by_step_as_others_fill_the_disk_and_made_again(disk: Disk) -> None:
    guard = disk.guard()
    guard.tend()
    disk.free_without_reserve = 64 * MIB + RESERVE_GIVEN_BELOW - 1
    guard.tend()
    assert disk.reserved == RESERVE_FILE_COUNT - 1
    disk.free_without_reserve = 30 * MIB
    guard.tend()
    assert disk.reserved == (30 * MIB - RESERVE_GIVEN_BELOW) // RESERVE_FILE_SIZE
    disk.free_without_reserve = 5 * MIB
    guard.tend()
    assert disk.reserved == 0
    disk.free_without_reserve = 500 * MIB
    guard.tend()
    assert disk.reserved == RESERVE_FILE_COUNT


@pytest.mark.parametrize("free_mib", range(0, 120, 7))
def test_the_reserve_settles_whatever_is_free(disk: Disk, free_mib: int) -> None:
    guard = disk.guard()
    guard.tend()
    disk.free_without_reserve = free_mib * MIB
    guard.tend()
    settled = disk.reserved
    for _ in range(5):
        guard.tend()
        assert disk.reserved == settled


def test_blocks_are_refused_below_the_mark_and_taken_again_above_the_higher_one(disk: Disk) -> None:
    guard = disk.guard()
    for free, refused in [
        (LOW_WATER, False),
        (LOW_WATER - 1, True),
        (LOW_WATER, True),
        (CLEAR_WATER - 1, True),
        (CLEAR_WATER, False),
    ]:
        disk.now += LOOK_SECONDS
        disk.free_without_reserve = free
        if not refused:
            guard.refuse_block_if_low()
            assert guard.problem is None
            continue
        with pytest.raises(StoreFullError) as caught:
            guard.refuse_block_if_low()
        assert str(free) in caught.value.what
        assert str(CLEAR_WATER) in caught.value.what
        assert guard.problem is not None


def test_a_put_looks_at_the_disk_only_if_nobody_else_has_for_a_while(disk: Disk) -> None:
    guard = disk.guard()
    for _ in range(1_000):
        guard.refuse_block_if_low()
    assert disk.looks == 1
    disk.now += LOOK_SECONDS
    guard.refuse_block_if_low()
    assert disk.looks == 2
    disk.now += LOOK_SECONDS
    guard.tend()
    looks = disk.looks
    guard.refuse_block_if_low()
    assert disk.looks == looks


def test_a_new_segment_is_as_large_as_wanted_while_there_is_much_room(disk: Disk) -> None:
    assert disk.guard().largest_segment(1024 * MIB) == 1024 * MIB


def test_a_new_segment_takes_a_quarter_of_the_last_room_and_leaves_some(disk: Disk) -> None:
    disk.free_without_reserve = 788 * MIB
    assert disk.guard().largest_segment(1024 * MIB) == (788 - 32) // 4 * MIB


@pytest.mark.parametrize("free_mib", range(0, 3_000, 97))
def test_segments_of_many_processes_never_take_what_blocks_need_to_be_accepted(disk: Disk, free_mib: int) -> None:
    guard = disk.guard()
    disk.free_without_reserve = free_mib * MIB
    while size := guard.largest_segment(1024 * MIB):
        disk.free_without_reserve -= size
        assert size >= ESSENTIAL_SEGMENT
        assert disk.free_without_reserve >= SEGMENT_LEAVES > CLEAR_WATER
    assert disk.free_without_reserve < SEGMENT_LEAVES + ESSENTIAL_SEGMENT


def test_a_segment_for_pages_may_be_made_out_of_the_reserve(disk: Disk) -> None:
    guard = disk.guard()
    guard.tend()
    disk.free_without_reserve = 64 * MIB
    assert guard.largest_segment(1024 * MIB) == 0
    assert guard.largest_segment(1024 * MIB, essential=True) == ESSENTIAL_SEGMENT
    assert disk.room(disk.reserve).free > ESSENTIAL_SEGMENT
    disk.free_without_reserve = ESSENTIAL_SEGMENT
    assert guard.largest_segment(1024 * MIB, essential=True) == 0


def test_a_small_segment_is_made_where_it_fits(disk: Disk) -> None:
    disk.free_without_reserve = SEGMENT_LEAVES + MIB
    assert disk.guard().largest_segment(MIB) == MIB
    disk.free_without_reserve -= 1
    assert disk.guard().largest_segment(MIB) == 0


def test_inodes_of_the_reserve_are_given_back_when_there_are_few_and_bytes_enough(disk: Disk) -> None:
    guard = disk.guard()
    disk.inodes_without_reserve = 10_000
    guard.tend()
    assert disk.reserved == RESERVE_FILE_COUNT
    disk.inodes_without_reserve = RESERVE_FILE_COUNT
    guard.tend()
    assert disk.reserved == RESERVE_FILE_COUNT - INODES_GIVEN_BELOW
    guard.refuse_block_if_low()
    disk.inodes_without_reserve = INODES_TAKEN_FROM + RESERVE_FILE_COUNT
    guard.tend()
    assert disk.reserved == RESERVE_FILE_COUNT


def test_a_process_without_the_turn_changes_nothing(disk: Disk) -> None:
    disk.guard().tend()
    fd = os.open(disk.reserve, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    disk.free_without_reserve = 0
    disk.guard().tend()
    assert disk.reserved == RESERVE_FILE_COUNT
    os.close(fd)
    disk.guard().tend()
    assert disk.reserved == 0


def test_a_disk_that_takes_no_changes_is_left_alone_and_blocks_are_refused(disk: Disk) -> None:
    guard = SpaceGuard(disk.reserve.parent, disk.reserve, measure=lambda folder: FreeSpace(0, None, read_only=True))
    guard.tend()
    with pytest.raises(ReadOnlyError):
        guard.refuse_block_if_low()
    assert guard.problem is not None
    assert not disk.reserve.exists()


def test_a_folder_that_is_gone_or_a_file_system_without_a_size_refuses_nothing(tmp_path: Path) -> None:
    assert measure(tmp_path / "gone") is None
    guard = SpaceGuard(tmp_path, tmp_path / "reserve", measure=lambda folder: None)
    guard.tend()
    guard.refuse_block_if_low()
    assert guard.largest_segment(1 << 30) == 1 << 30


def test_a_real_disk_is_measured(tmp_path: Path) -> None:
    room = measure(tmp_path)
    assert room is not None
    stat = os.statvfs(tmp_path)
    assert abs(room.free - stat.f_bavail * stat.f_frsize) < 1 << 30
