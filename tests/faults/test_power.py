"""The model of a disk, on recordings made by hand: what stays, what may go, and what must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.power import PAGE, SECTOR, Content, Cut, Disk, Image, Names
from tests.faults.recording import Event, Kind


class Tape:
    """Events one after the other; each call takes two moments."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []

    @property
    def now(self) -> int:
        return 2 * len(self.events)

    def add(self, kind: Kind, inode: int, path: str, **more: object) -> None:
        data = more.pop("data", b"")
        assert isinstance(data, bytes)
        values = {"other": "", "offset": 0, "size": len(data), "mode": 0, "error": 0} | more
        if values["other"]:
            values["other"] = str(self.root / str(values["other"]))
        event = Event(self.now, self.now + 1, kind, inode, str(self.root / path), data=memoryview(data), **values)  # type: ignore[arg-type]
        self.events.append(event)

    def write(self, inode: int, path: str, data: bytes, offset: int = 0) -> None:
        self.add(Kind.WRITE, inode, path, data=data, offset=offset)

    def sync(self, inode: int, path: str, error: int = 0) -> None:
        self.add(Kind.SYNC, inode, path, error=error)


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    root = tmp_path / "root"
    root.mkdir()
    made = Tape(root)
    made.add(Kind.CREATE, 10, "a")
    return made


def left(tape: Tape, content: Content, names: Names = Names.KEPT, seed: int = 0) -> dict[str, bytes]:
    """The files after a cut at the end of the tape."""
    target = tape.root.with_name(f"left-{content.name}-{names.name}-{seed}")
    image = Disk(tape.root, tape.events).image(Cut(tape.now, content, names, seed))
    image.write(target)
    return {path: (target / path).read_bytes() for path, _ in image.files}


def test_what_a_sync_covers_stays_and_what_came_later_may_go(tape: Tape) -> None:
    tape.write(10, "a", b"one")
    tape.sync(10, "a")
    tape.write(10, "a", b"two", offset=3)
    assert left(tape, Content.DROPPED) == {"a": b"one"}
    assert left(tape, Content.KEPT) == {"a": b"onetwo"}


def test_a_failed_sync_takes_what_was_written_with_it_and_no_later_sync_brings_it_back(tape: Tape) -> None:
    tape.write(10, "a", b"one")
    tape.sync(10, "a")
    tape.write(10, "a", b"two", offset=3)
    tape.sync(10, "a", error=5)
    tape.write(10, "a", b"six", offset=6)
    tape.sync(10, "a")
    assert left(tape, Content.KEPT) == {"a": b"one\0\0\0six"}


def test_what_is_written_while_a_sync_fails_is_gone_too(tape: Tape) -> None:
    tape.write(10, "a", b"one")
    failing = Event(3, 7, Kind.SYNC, 10, str(tape.root / "a"), "", 0, 0, 0, 5, memoryview(b""))
    during = Event(4, 8, Kind.WRITE, 10, str(tape.root / "a"), "", 3, 3, 0, 0, memoryview(b"two"))
    after = Event(9, 10, Kind.WRITE, 10, str(tape.root / "a"), "", 6, 3, 0, 0, memoryview(b"six"))
    synced = Event(11, 12, Kind.SYNC, 10, str(tape.root / "a"), "", 0, 0, 0, 0, memoryview(b""))
    tape.events += [failing, during, after, synced]
    image = Disk(tape.root, tape.events).image(Cut(13, Content.KEPT, Names.KEPT, 0))
    image.write(tape.root / "left")
    assert (tape.root / "left" / "a").read_bytes() == bytes(6) + b"six"


def test_a_write_that_has_not_ended_when_a_sync_begins_is_not_covered(tape: Tape) -> None:
    path = str(tape.root / "a")
    synced = Event(3, 6, Kind.SYNC, 10, path, "", 0, 0, 0, 0, memoryview(b""))
    during = Event(2, 4, Kind.WRITE, 10, path, "", 0, 3, 0, 0, memoryview(b"two"))
    disk = Disk(tape.root, [*tape.events, during, synced])
    disk.image(Cut(7, Content.DROPPED, Names.KEPT, 0)).write(tape.root / "left")
    assert (tape.root / "left" / "a").read_bytes() == b""


@pytest.mark.parametrize(("content", "unit"), [(Content.TORN_SECTORS, SECTOR), (Content.TORN_PAGES, PAGE)])
def test_a_torn_write_is_there_in_whole_sectors_or_pages(tape: Tape, content: Content, unit: int) -> None:
    tape.write(10, "a", b"x" * 64 * PAGE)
    kinds = set()
    for seed in range(20):
        data = left(tape, content, seed=seed)["a"].ljust(64 * PAGE, b"\0")
        pieces = {data[at : at + unit] for at in range(0, len(data), unit)}
        assert pieces <= {b"x" * unit, bytes(unit)}
        kinds.add(len(pieces))
    assert kinds == {1, 2}, "some are whole or gone, and some are torn"


def test_a_name_stays_once_its_folder_was_synced(tape: Tape) -> None:
    tape.write(10, "a", b"one")
    tape.sync(10, "a")
    assert left(tape, Content.KEPT, Names.DROPPED) == {}
    tape.sync(tape.root.stat().st_ino, "")
    tape.add(Kind.RENAME, 10, "a", other="b")
    assert left(tape, Content.KEPT, Names.DROPPED, seed=1) == {"a": b"one"}
    assert left(tape, Content.KEPT, Names.KEPT) == {"b": b"one"}


def test_a_folder_goes_with_all_that_is_in_it(tape: Tape) -> None:
    tape.add(Kind.MAKE_FOLDER, 20, "d")
    tape.add(Kind.CREATE, 21, "d/f")
    tape.sync(20, "d")
    assert left(tape, Content.KEPT, Names.DROPPED) == {}
    assert set(left(tape, Content.KEPT)) == {"a", "d/f"}


def test_two_names_of_one_file_have_one_content(tape: Tape) -> None:
    tape.add(Kind.LINK, 10, "a", other="b")
    tape.write(10, "b", b"one")
    assert left(tape, Content.KEPT) == {"a": b"one", "b": b"one"}
    tape.add(Kind.UNLINK, 10, "a")
    assert left(tape, Content.KEPT, seed=1) == {"b": b"one"}


def test_reservations_truncations_and_holes_are_understood(tape: Tape) -> None:
    tape.write(10, "a", b"x" * PAGE * 3)
    tape.add(Kind.ALLOCATE, 10, "a", mode=3, offset=PAGE, size=PAGE)
    tape.add(Kind.ALLOCATE, 10, "a", offset=PAGE * 3, size=PAGE)
    assert left(tape, Content.KEPT) == {"a": b"x" * PAGE + bytes(PAGE) + b"x" * PAGE + bytes(PAGE)}
    tape.add(Kind.TRUNCATE, 10, "a", size=PAGE // 2)
    tape.add(Kind.TRUNCATE, 10, "a", size=PAGE)
    assert left(tape, Content.KEPT, seed=1) == {"a": b"x" * (PAGE // 2) + bytes(PAGE // 2)}


def test_an_inode_that_is_used_again_is_another_file(tape: Tape) -> None:
    tape.write(10, "a", b"one")
    tape.add(Kind.UNLINK, 10, "a")
    tape.add(Kind.CREATE, 10, "b")
    tape.write(10, "b", b"two")
    assert left(tape, Content.KEPT) == {"b": b"two"}


def test_a_second_recording_goes_on_from_what_the_first_cut_left(tape: Tape) -> None:
    tape.write(10, "a", b"one")
    image: Image = Disk(tape.root, tape.events).image(Cut(tape.now, Content.KEPT, Names.KEPT, 0))
    second = Tape(tape.root.with_name("second"))
    inodes = image.write(second.root)
    second.write(inodes["a"], "a", b"two", offset=3)
    disk = Disk(second.root, second.events, image, inodes)
    for number, (content, expected) in enumerate([(Content.DROPPED, b"one"), (Content.KEPT, b"onetwo")]):
        target = tape.root.with_name(f"again-{number}")
        disk.image(Cut(second.now, content, Names.DROPPED, 0)).write(target)
        assert (target / "a").read_bytes() == expected
