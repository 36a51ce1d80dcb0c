"""The part file, its lock, and how it gets its name."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstone.client.errors import DeniedError, UsageError
from snapstone.client.images import linux, part_file
from snapstone.client.images.part_file import open_part, part_path, publish


def test_a_part_is_hidden_in_the_same_folder(tmp_path: Path) -> None:
    assert part_path(tmp_path / "disk.img", "snap-1") == tmp_path / ".disk.img.snap-1.part"


def test_a_name_that_gets_too_long_is_shortened_and_stays_its_own(tmp_path: Path) -> None:
    long = "ü" * 125
    parts = {part_path(tmp_path / long, "snap-1"), part_path(tmp_path / long, "snap-2")}
    assert len(parts) == 2
    for part in parts:
        part.touch()


def test_a_name_as_long_as_it_may_be_is_kept(tmp_path: Path) -> None:
    name = "n" * (255 - len("..snap-1.part"))
    assert part_path(tmp_path / name, "snap-1").name == f".{name}.snap-1.part"
    assert len(part_path(tmp_path / f"{name}n", "snap-1").name) < 30


def test_a_new_part_is_empty_and_an_old_one_is_found(tmp_path: Path) -> None:
    part = tmp_path / "part"
    fd, existed = open_part(part)
    assert not existed
    os.write(fd, b"half")
    os.close(fd)
    fd, existed = open_part(part)
    assert existed
    assert os.read(fd, 10) == b"half"
    os.close(fd)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    fd, _ = open_part(tmp_path / "part")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UsageError, match="another process is writing"):
        open_part(tmp_path / "part")
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(fd)


def test_a_part_that_gets_its_name_just_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"of another process")
    samestat = os.path.samestat

    def finish_then_compare(first: os.stat_result, second: os.stat_result) -> bool:
        monkeypatch.setattr(os.path, "samestat", samestat)
        part.rename(tmp_path / "image")
        return samestat(first, os.stat(tmp_path / "image")) and not samestat(first, second)

    monkeypatch.setattr(os.path, "samestat", finish_then_compare)
    fd, existed = open_part(part)
    assert not existed
    assert os.read(fd, 1) == b""
    assert (tmp_path / "image").read_bytes() == b"of another process"
    os.close(fd)


def test_a_part_that_vanishes_just_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"of another process")
    lock = fcntl.flock

    def finish_then_lock(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        part.unlink()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", finish_then_lock)
    before = len(os.listdir("/proc/self/fd"))
    fd, existed = open_part(part)
    assert not existed
    assert part.exists()
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_part_that_always_vanishes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock

    def finish_then_lock(fd: int, operation: int) -> None:
        (tmp_path / "part").unlink()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", finish_then_lock)
    with pytest.raises(UsageError, match="appears and disappears"):
        open_part(tmp_path / "part")


def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "part").symlink_to("victim")
    with pytest.raises(UsageError, match="symbolic links"):
        open_part(tmp_path / "part")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_pipe_in_the_place_of_a_part_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "part")
    with pytest.raises(UsageError, match="is not a file"):
        open_part(tmp_path / "part")


def test_a_part_that_another_user_put_there_is_refused(public_folder: Path, as_nobody: Callable[[], None]) -> None:
    part = public_folder / "part"
    part.touch()
    os.chmod(part, 0o666)
    os.chmod(public_folder, 0o777)
    as_nobody()
    with pytest.raises(DeniedError, match="belongs to another user"):
        open_part(part)


@pytest.mark.usefixtures("root")
def test_where_nobody_else_can_make_files_a_foreign_owner_is_the_file_systems_way(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.touch()
    os.chown(part, 12_345, 12_345)
    fd, existed = open_part(part)
    assert existed
    os.close(fd)


def test_a_part_with_another_name_too_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    os.link(tmp_path / "victim", tmp_path / "part")
    with pytest.raises(UsageError, match="has a second name"):
        open_part(tmp_path / "part")


def test_a_file_system_without_locks_is_worked_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    fd, _ = open_part(tmp_path / "part")
    os.close(fd)


def test_a_folder_without_rights_is_said(public_folder: Path, as_nobody: Callable[[], None]) -> None:
    as_nobody()
    with pytest.raises(DeniedError, match="cannot be made: Permission denied"):
        open_part(public_folder / "part")


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_name_that_is_taken_is_replaced_only_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_one_step: bool
) -> None:
    if not in_one_step:
        monkeypatch.setattr(linux, "rename_if_absent", lambda source, target: False)
    part, image = tmp_path / "part", tmp_path / "image"
    part.write_bytes(b"new")
    image.write_bytes(b"old")
    with pytest.raises(UsageError, match=f"stays in {part}"):
        publish(part, image, replace=False)
    assert (image.read_bytes(), part.read_bytes()) == (b"old", b"new")
    publish(part, image, replace=True)
    assert (image.read_bytes(), part.exists()) == (b"new", False)


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_free_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_one_step: bool) -> None:
    if not in_one_step:
        monkeypatch.setattr(linux, "rename_if_absent", lambda source, target: False)
    synced: list[Path] = []
    monkeypatch.setattr(part_file, "sync_folder", synced.append)
    (tmp_path / "part").write_bytes(b"new")
    publish(tmp_path / "part", tmp_path / "image", replace=False)
    assert os.listdir(tmp_path) == ["image"]
    assert synced == [tmp_path]
