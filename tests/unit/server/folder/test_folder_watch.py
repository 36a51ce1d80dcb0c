"""The watch over a data folder: whatever is taken away or replaced is noticed, and the very same thing known again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstone.core.errors import StoreLostError
from snapstone.server.folder.watch import FolderWatch, GateKeeper, find_change
from snapstone.service.health import Health, StoreGate

NAMES = (".", "catalog.db", "objects", "objects/segments", "objects/index.db", "never there")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    (made / "objects" / "segments").mkdir(parents=True)
    (made / "catalog.db").write_text("rows")
    (made / "objects" / "index.db").write_text("places")
    return made


def overwrite(folder: Path) -> None:
    (folder / "catalog.db").write_text("other rows, in the same file")
    (folder / "objects" / "segments" / "1").touch()


def swap(name: str) -> Callable[[Path], None]:
    def swap_it(folder: Path) -> None:
        path = folder / name
        path.rename(path.with_name("kept"))
        if path.with_name("kept").is_dir():
            shutil.copytree(path.with_name("kept"), path)
        else:
            shutil.copy2(path.with_name("kept"), path)

    return swap_it


def test_what_happens_inside_the_files_is_no_change(folder: Path) -> None:
    watch = FolderWatch(folder, NAMES)
    assert watch.look() is None
    overwrite(folder)
    assert watch.look() is None
    watch.close()


@pytest.mark.parametrize("name", ["catalog.db", "objects", "objects/segments"])
def test_a_copy_in_the_place_of_a_file_is_a_change(folder: Path, name: str) -> None:
    watch = FolderWatch(folder, NAMES)
    swap(name)(folder)
    change = watch.look()
    assert str(change) == f"{name} in the data folder was replaced by another"
    watch.close()


def test_a_copy_in_the_place_of_the_folder_is_a_change(folder: Path) -> None:
    watch = FolderWatch(folder, NAMES)
    folder.rename(folder.with_name("kept"))
    shutil.copytree(folder.with_name("kept"), folder)
    assert str(watch.look()) == "the data folder was replaced by another"
    shutil.rmtree(folder)
    assert str(watch.look()) == "the data folder is gone"
    folder.with_name("kept").rename(folder)
    assert watch.look() is None
    watch.close()


def test_a_file_that_is_made_anew_is_another_even_if_the_system_would_give_it_the_same_number(folder: Path) -> None:
    watch = FolderWatch(folder, NAMES)
    for _ in range(50):
        (folder / "catalog.db").unlink()
        (folder / "catalog.db").write_text("rows")
        assert watch.look() is not None
    watch.close()


def test_a_symbolic_link_to_the_same_folder_is_the_same(folder: Path) -> None:
    watch = FolderWatch(folder, NAMES)
    (folder / "objects").rename(folder.parent / "objects elsewhere")
    (folder / "objects").symlink_to(folder.parent / "objects elsewhere")
    assert watch.look() is None
    watch.close()


def test_a_place_that_cannot_be_reached_is_a_change(folder: Path) -> None:
    watch = FolderWatch(folder, NAMES)
    folder.rename(folder.with_name("kept"))
    folder.symlink_to(folder)
    assert str(watch.look()) == f"the data folder cannot be reached ({os.strerror(40)})"
    watch.close()


def test_another_process_can_hold_what_it_finds_against_the_watch(folder: Path) -> None:
    watch = FolderWatch(folder, NAMES)
    assert set(watch.identities) == set(NAMES) - {"never there"}
    assert find_change(folder, watch.identities) is None
    swap("catalog.db")(folder)
    assert str(find_change(folder, watch.identities)) == "catalog.db in the data folder was replaced by another"
    watch.close()


def test_the_gate_is_closed_while_anything_is_not_as_it_was(folder: Path) -> None:
    gate, health = StoreGate(), Health()
    keeper = GateKeeper(FolderWatch(folder, NAMES), gate, health)
    assert keeper.look()
    gate.require_open()
    folder.rename(folder.with_name("kept"))
    assert not keeper.look()
    with pytest.raises(StoreLostError, match="the data folder is gone"):
        gate.require_open()
    [problem] = health.problems()
    assert (problem.subject, problem.unready) == ("data folder", True)
    assert str(folder) not in problem.message, "whoever asks /ready is not told where things are"
    folder.with_name("kept").rename(folder)
    assert keeper.look()
    gate.require_open()
    assert health.problems() == []


def test_an_index_that_was_made_anew_is_opened_by_another_process_in_place_of_this_one(folder: Path) -> None:
    """The index may be lost: whoever starts makes it from the records. One that is only gone is not made yet."""
    asked: list[str] = []
    gate = StoreGate()
    keeper = GateKeeper(FolderWatch(folder, NAMES), gate, Health(), asked.append)
    (folder / "objects" / "index.db").unlink()
    assert not keeper.look()
    assert (gate.is_open, asked) == (False, [])
    (folder / "objects" / "index.db").write_text("places")
    assert not keeper.look()
    assert asked == ["objects/index.db in the data folder was replaced by another; this process must reopen it"]
    assert not gate.is_open


def test_nobody_starts_anew_for_another_catalog(folder: Path) -> None:
    asked: list[str] = []
    keeper = GateKeeper(FolderWatch(folder, NAMES), StoreGate(), Health(), asked.append)
    swap("catalog.db")(folder)
    assert not keeper.look()
    assert asked == []
