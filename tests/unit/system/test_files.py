"""The rule that a failed sync is final, and the syncs of files and folders."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from snapstone.system.files import Syncer, sync_file, sync_folder
from tests.unit.client.losing_disk import LosingDisk


def test_files_and_folders_are_made_durable_and_others_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    sync_file(tmp_path / "file")
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_file(tmp_path / "other")
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")


@pytest.mark.parametrize("call", [None, lambda descriptor: os.fdatasync(descriptor)])
def test_a_sync_that_failed_once_never_succeeds_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object
) -> None:
    disk = LosingDisk(tmp_path / "disk", monkeypatch)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    syncer = Syncer()
    syncer.sync(descriptor, call)  # type: ignore[arg-type]
    disk.failing = "file"
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            syncer.sync(descriptor, call)  # type: ignore[arg-type]
    os.fsync(descriptor)  # As the kernel has it.
    os.close(descriptor)
