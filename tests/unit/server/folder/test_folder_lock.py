"""The lock of a data folder: one server at a time, whatever becomes of the file that earlier versions lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapstone.server.folder.data_folder import FolderLock, FolderLockedError, is_locked


def lock(folder: Path) -> FolderLock:
    return FolderLock(folder, folder / "server.lock")


def locked(folder: Path) -> bool:
    return is_locked(folder, folder / "server.lock")


@contextmanager
def earlier_version(folder: Path) -> Iterator[None]:
    """What a server did that knows of the file alone."""
    descriptor = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        os.close(descriptor)


def test_one_at_a_time(tmp_path: Path) -> None:
    assert not locked(tmp_path)
    first = lock(tmp_path)
    assert locked(tmp_path)
    with pytest.raises(FolderLockedError):
        lock(tmp_path)
    first.release()
    assert not locked(tmp_path)
    lock(tmp_path).release()


def test_it_holds_after_its_file_was_removed(tmp_path: Path) -> None:
    first = lock(tmp_path)
    (tmp_path / "server.lock").unlink()
    assert locked(tmp_path)
    with pytest.raises(FolderLockedError):
        lock(tmp_path)
    (tmp_path / "server.lock").touch()
    with pytest.raises(FolderLockedError):
        lock(tmp_path)
    first.release()


def test_it_holds_after_the_folder_was_moved(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    first = lock(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(FolderLockedError):
        lock(tmp_path / "moved")
    first.release()


def test_a_server_of_an_earlier_version_is_noticed(tmp_path: Path) -> None:
    with earlier_version(tmp_path):
        assert locked(tmp_path)
        with pytest.raises(FolderLockedError):
            lock(tmp_path)
    lock(tmp_path).release()


def test_a_server_of_an_earlier_version_notices_this_one(tmp_path: Path) -> None:
    held = lock(tmp_path)
    with pytest.raises(BlockingIOError), earlier_version(tmp_path):
        pytest.fail("it was taken")
    held.release()


def test_a_refusal_leaves_nothing_locked(tmp_path: Path) -> None:
    with earlier_version(tmp_path), pytest.raises(FolderLockedError):
        lock(tmp_path)
    lock(tmp_path).release()


def test_child_processes_do_not_inherit_it(tmp_path: Path) -> None:
    held = lock(tmp_path)
    descriptors = [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    paths = {}
    for descriptor in descriptors:
        if os.path.exists(f"/proc/self/fd/{descriptor}"):
            paths[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
    of_lock = [each for each, path in paths.items() if path in (str(tmp_path), str(tmp_path / "server.lock"))]
    assert len(of_lock) == 2
    assert not any(map(os.get_inheritable, of_lock))
    held.release()
