"""Where a server is found that cannot write into its data folder, and whose word is not taken for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from snapstone.server.folder.data_folder import DataFolder, DataFolderError, RunningServer
from snapstone.server.folder.runtime import announced, find_announced, find_server

FIRST = RunningServer("http://127.0.0.1:1", 1, "us-east-1")
SECOND = RunningServer("http://127.0.0.1:2", 2, "us-east-1")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "run").mkdir(mode=0o700)
    return {"XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_server_is_found_as_long_as_it_is_announced(data: Path, environ: Mapping[str, str]) -> None:
    assert find_announced(data, environ) is None
    with announced(data, FIRST, environ):
        assert find_announced(data, environ) == FIRST
    assert find_announced(data, environ) is None


def test_it_is_found_by_the_folder_and_not_by_its_path(data: Path, environ: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "other").mkdir()
    with announced(data, FIRST, environ):
        assert find_announced(tmp_path / "link", environ) == FIRST
        assert find_announced(tmp_path / "other", environ) is None


def test_the_announcement_is_for_this_user_alone(data: Path, environ: Mapping[str, str], tmp_path: Path) -> None:
    with announced(data, FIRST, environ):
        folder = tmp_path / "run" / "snapstone"
        assert folder.stat().st_mode & 0o777 == 0o700
        [file] = folder.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_server_left_is_not_believed_and_removed(
    data: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    with announced(data, FIRST, environ):
        [file] = (tmp_path / "run" / "snapstone").iterdir()
        content = file.read_text()
    left = file.with_name(f"{file.name}1")
    left.write_text(content)
    assert find_announced(data, environ) is None
    assert not left.exists()


def test_a_folder_that_others_can_write_to_is_neither_believed_nor_used(
    data: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "run" / "snapstone"
    with announced(data, FIRST, environ):
        folder.chmod(0o777)
        assert find_announced(data, environ) is None
    with pytest.raises(DataFolderError, match=str(folder)), announced(data, SECOND, environ):
        pass


def test_a_symbolic_link_in_the_place_of_the_folder_is_not_followed(
    data: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "run" / "snapstone").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataFolderError), announced(data, FIRST, environ):
        pass
    assert os.listdir(tmp_path / "elsewhere") == []


def test_without_a_runtime_folder_the_temporary_one_is_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with announced(data, FIRST, {}):
        assert (tmp_path / f"snapstone-{os.getuid()}").is_dir()
        assert find_announced(data, {}) == FIRST
        assert find_announced(data, {"XDG_RUNTIME_DIR": str(tmp_path / "none")}) == FIRST


def test_a_data_folder_without_any_server_says_so(data: Path) -> None:
    with pytest.raises(DataFolderError, match="no server is running"):
        find_server(DataFolder(data))
