"""Room on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapstone.client.errors import NoSpaceError, NotFoundError
from snapstone.client.images.part_file import check_space
from tests.unit.client.images.conftest import Mount


def test_what_fits_is_fine_and_what_does_not_is_said_with_numbers(mount: Mount) -> None:
    folder = mount("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    check_space(folder / "image", 4 << 20)
    with pytest.raises(NoSpaceError, match=r"4194304 bytes free, but .* needs 4194305: free 1 more"):
        check_space(folder / "image", (4 << 20) + 1)
    with pytest.raises(NoSpaceError):
        check_space(folder, (4 << 20) + 1)


def test_what_is_used_is_not_free(mount: Mount) -> None:
    folder = mount("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    (folder / "other").write_bytes(bytes(1 << 20))
    check_space(folder / "image", 3 << 20)
    with pytest.raises(NoSpaceError):
        check_space(folder / "image", (3 << 20) + 1)


def test_a_user_without_rights_may_not_use_what_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = os.statvfs_result((4_096, 4_096, 100, 10, 7, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    check_space(tmp_path, 7 * 4_096)
    with pytest.raises(NoSpaceError):
        check_space(tmp_path, 7 * 4_096 + 1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    check_space(tmp_path, 10 * 4_096)
    with pytest.raises(NoSpaceError):
        check_space(tmp_path, 10 * 4_096 + 1)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="absent"):
        check_space(tmp_path / "absent" / "image", 1)
