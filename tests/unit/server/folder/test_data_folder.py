"""The data folder: made privately, refused if it is not ours, held by one server at a time."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstone.server.folder.data_folder import DataFolder, DataFolderError, RunningServer, use_data_folder
from snapstone.system.files import replace_file

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
    assert "is not a directory" in refusal(tmp_path / "file")
    assert "is not a directory" in refusal(tmp_path / "file" / "below")


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data"):
        assert "another server is running" in refusal(tmp_path / "data")
    with use_data_folder(tmp_path / "data"):
        pass


def test_the_running_server_can_be_asked_for(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data") as folder:
        said = folder.announce(HERE)
        assert mode(folder.server_file) == 0o600
        assert DataFolder(folder.path).running_server() == said
        folder.withdraw(said)
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
        replace_file(path, text.encode("ascii"))
        assert path.read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert mode(path) == 0o600


# -- whose folder it is --


def test_a_server_withdraws_what_it_said_and_nothing_else(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data") as folder:
        said = folder.announce(HERE)
        other = folder.announce(RunningServer("http://127.0.0.1:9801", 18, "us-east-1"))
        folder.withdraw(said)
        assert folder.running_server() == other
        folder.withdraw(other)
        assert not folder.server_file.exists()


def test_a_server_of_a_folder_that_is_gone_can_withdraw(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data") as folder:
        said = folder.announce(HERE)
        shutil.rmtree(folder.path)
        folder.withdraw(said)


def test_what_earlier_and_later_versions_say_of_a_running_server_is_read(tmp_path: Path) -> None:
    with use_data_folder(tmp_path / "data") as folder:
        folder.server_file.write_text('{"endpoint": "http://127.0.0.1:9800", "pid": 17, "region": "us-east-1"}')
        assert folder.running_server() == HERE
        folder.server_file.write_text('{"endpoint": "http://127.0.0.1:9800", "pid": 17, "region": "us-east-1", "x": 1}')
        assert folder.running_server() == HERE


def left(path: Path) -> Path:
    """A folder whose server was killed."""
    with use_data_folder(path) as folder:
        folder.announce(HERE)
    return path


def copy_by_file(path: Path) -> Path:
    """As `cp -a` does: times of change are the copy's own."""
    return Path(shutil.copytree(path, path.with_name("copy")))


def test_a_folder_copied_from_under_a_server_is_refused_by_name(tmp_path: Path) -> None:
    copied = copy_by_file(left(tmp_path / "data"))
    message = refusal(copied)
    assert "was copied file by file while a server was running" in message
    assert "--accept-copied-folder" in message
    assert "was copied" in refusal(copied), "refusing changes nothing"


def test_a_copied_folder_that_is_accepted_is_a_folder_like_any_other(tmp_path: Path) -> None:
    copied = copy_by_file(left(tmp_path / "data"))
    with use_data_folder(copied, accept_copied=True) as folder:
        folder.announce(HERE)
    with use_data_folder(copied):
        pass


def as_it_was(path: Path) -> Path:
    return path


def move(path: Path) -> Path:
    return path.rename(path.with_name("moved"))


def change_owner(path: Path) -> Path:
    """Changes the time of change of every file, and no inode."""
    for file in path.iterdir():
        file.chmod(0o640)
        file.chmod(0o600 if file.is_file() else 0o700)
    return path


def mount_with_other_inodes(path: Path) -> Path:
    """What some file systems in user space do: the same file has another number after each mount."""
    said = json.loads((path / "server.json").read_text())
    said["format_inode"] += 1
    (path / "server.json").write_text(json.dumps(said))
    return path


def forget_the_marks(path: Path) -> Path:
    """An earlier version, which was killed."""
    (path / "server.json").write_text('{"endpoint": "http://127.0.0.1:9800", "pid": 17, "region": "us-east-1"}')
    return copy_by_file(path)


def copy_after_a_stop(path: Path) -> Path:
    with use_data_folder(path) as folder:
        folder.withdraw(folder.announce(HERE))
    return copy_by_file(path)


def tear_server_file(path: Path) -> Path:
    (path / "server.json").write_text('{"endpo')
    return path


@pytest.mark.parametrize(
    "happens",
    [as_it_was, move, change_owner, mount_with_other_inodes, forget_the_marks, copy_after_a_stop, tear_server_file],
    ids=lambda happens: happens.__name__,
)
def test_a_folder_that_was_not_copied_from_under_a_server_is_not_refused(
    tmp_path: Path, happens: Callable[[Path], Path]
) -> None:
    with use_data_folder(happens(left(tmp_path / "data"))) as folder:
        assert not folder.server_file.exists()
