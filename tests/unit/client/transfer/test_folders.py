"""Where state is kept, with which permissions, and what failures there mean."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from snapstone.client.errors import ClientError, DeniedError, NoSpaceError, NotFoundError
from snapstone.client.transfer.folders import Folders, StateError, state_failure


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"SNAPSTONE_STATE": "/a", "XDG_STATE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_STATE_HOME": "/b", "HOME": "/c"}, "/b/snapstone"),
        ({"HOME": "/c"}, "/c/.local/state/snapstone"),
        ({"SNAPSTONE_STATE": "", "XDG_STATE_HOME": "", "HOME": "/c"}, "/c/.local/state/snapstone"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/c"}, "/c/.local/state/snapstone"),
    ],
)
def test_the_state_folder_is_named_by_the_environment(environment: dict[str, str], root: str) -> None:
    assert Folders.standard(environment).root == Path(root)


def test_a_relative_state_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Folders.standard({"SNAPSTONE_STATE": "state"}).root == tmp_path / "state"


def test_without_any_home_there_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(StateError, match="set HOME or SNAPSTONE_STATE"):
        Folders.standard({})


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "not" / "there" / "snapstone")
    before = os.umask(0)
    try:
        folders.prepare()
        folders.prepare()
    finally:
        os.umask(before)
    for folder in (folders.root, folders.journals, folders.indexes):
        assert folder.stat().st_mode & 0o7777 == 0o700
    assert {folders.journals.name, folders.indexes.name} == set(os.listdir(folders.root))


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "state")
    folders.prepare()
    for mode in (0o720, 0o702):
        folders.indexes.chmod(mode)
        with pytest.raises(DeniedError, match=r"other users can write to .*indexes; run chmod 700"):
            folders.prepare()
    folders.indexes.chmod(0o755)
    folders.prepare()


def test_a_folder_of_another_user_is_refused_but_by_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = Folders(tmp_path / "state")
    folders.prepare()
    monkeypatch.setattr(os, "geteuid", lambda: folders.root.stat().st_uid + 1)
    with pytest.raises(DeniedError, match="state belongs to another user; set SNAPSTONE_STATE"):
        folders.prepare()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folders.prepare()


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="state is not a directory; remove it"):
        Folders(tmp_path / "state").prepare()
    with pytest.raises(StateError, match="Not a directory"):
        Folders(tmp_path / "state" / "below" / "it").prepare()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EFBIG, NoSpaceError),
        (errno.EACCES, DeniedError),
        (errno.EPERM, DeniedError),
        (errno.EROFS, DeniedError),
        (errno.ENOENT, NotFoundError),
        (errno.EIO, StateError),
        (errno.ENOLCK, StateError),
    ],
)
def test_a_failure_is_what_its_number_says_and_names_the_file(code: int, kind: type[ClientError]) -> None:
    failure = state_failure(Path("/state/x"), OSError(code, os.strerror(code)))
    assert type(failure) is kind
    assert str(failure).startswith(f"/state/x: {os.strerror(code)}")


def test_a_folder_that_could_not_be_made_durable_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders, sync = Folders(tmp_path / "state"), os.fsync
    synced: list[str] = []

    def fail_once(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if len(synced) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(StateError, match="Input/output error"):
        folders.prepare()
    folders.prepare()
    assert synced == [str(tmp_path), str(tmp_path), str(folders.root), str(folders.root)]
