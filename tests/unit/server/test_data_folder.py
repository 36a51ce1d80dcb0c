"""The data folder: made privately, refused where it is not ours, held by one server at a time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from snapstone.server.data_folder import DataFolder, DataFolderError, RunningServer, use_data_folder, write_whole

HERE = RunningServer("http://127.0.0.1:9800", 17, "us-east-1")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(path: Path) -> str:
    with pytest.raises(DataFolderError) as caught, use_data_folder(path):
        pytest.fail("it was taken")
    assert str(path) in caught.value.message
    return caught.value.message


def test_a_new_folder_is_private_and_says_its_format(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "deep" / "data") as folder:
        assert mode(folder.path) == 0o700
        assert folder.format.read_text() == "1\n"
        assert folder.objects.is_dir()


def test_the_name_of_a_new_folder_is_synced_as_are_those_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    with use_data_folder(tmp_path / "deep" / "data"):
        assert {tmp_path.stat().st_ino, (tmp_path / "deep").stat().st_ino} <= set(synced)


def test_an_empty_folder_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "lost+found").mkdir()
    with use_data_folder(tmp_path):
        assert mode(tmp_path) == 0o700


def test_a_folder_is_found_again(tmp_path: Path) -> None:
    for _ in range(2):
        with use_data_folder(tmp_path / "data") as folder:
            (folder.objects / "kept").touch()
    assert (tmp_path / "data" / "objects" / "kept").exists()


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    tmp_path.chmod(0o755)
    assert "'thesis.txt'" in refusal(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
    assert mode(tmp_path) == 0o755


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "FORMAT").write_text("2\n")
    assert "format 2, written by a newer Snapstone" in refusal(tmp_path)


def test_a_format_that_is_no_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "FORMAT").write_text("one\n")
    assert "'one'" in refusal(tmp_path)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not a folder" in refusal(tmp_path / "file")
    assert "is not a folder" in refusal(tmp_path / "file" / "below")


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data"):
        assert "another server is running" in refusal(tmp_path / "data")
    with use_data_folder(tmp_path / "data"):
        pass


def test_the_running_server_can_be_asked_for(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data") as folder:
        folder.announce(HERE)
        assert mode(folder.server_file) == 0o600
        assert DataFolder(folder.path).running_server() == HERE
        folder.withdraw()
        with pytest.raises(DataFolderError, match="no server is running"):
            folder.running_server()


def test_a_server_that_died_is_not_running(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data") as folder:
        folder.announce(HERE)
    assert folder.server_file.exists()
    with pytest.raises(DataFolderError, match="no server is running"):
        folder.running_server()
    with use_data_folder(tmp_path / "data"):
        assert not folder.server_file.exists()


def test_a_folder_that_is_not_there_has_no_server(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="there is no data folder"):
        DataFolder(tmp_path / "none").running_server()
    with pytest.raises(DataFolderError, match="no server is running"):
        DataFolder(tmp_path).running_server()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.new").write_text("left behind by a crash, and longer than what follows")
    for text in ("one", "two"):
        write_whole(path, text)
        assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert mode(path) == 0o600
