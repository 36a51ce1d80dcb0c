"""A power cut after each promise, and at every sync: what was promised holds, and no sync in the code is one too many.

A scenario (recorded.py) runs under tests/faults' library, which records what it writes and syncs. From the recording a
model of a disk makes the folder that a power cut leaves; what was promised is looked up in it. Without any one of the
syncs one of these tests fails: something is not there, or comes back, that was promised.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.client.images.sources import open_source
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.pending import COMPLETING
from snapstone.core.blocks import BLOCK_SIZE
from snapstone.storage.contract import ObjectKind
from snapstone.storage.index import is_index
from tests.crash.recorded import WRITTEN, digest, open_store
from tests.faults.library import Control
from tests.faults.power import Content, Cut, Disk, Names
from tests.faults.power_cuts import AS_RECORDED
from tests.faults.recording import Event, Kind, read_recording
from tests.faults.servers import environment
from tests.suites.catalog_rows import name, plain
from tests.suites.object_store_suite import address_of, get_block, numbered_block, numbered_page, put_pages
from tests.unit.client.transfer.notes import Notes

Promised = Mapping[str, Any]
"""What must be true of each subject."""

Judge = Callable[[Path, Promised], None]
"""Looks promises up in a folder that a power cut has left, and may change it."""

AT_PROMISES: Final = (
    (Content.DROPPED, Names.DROPPED),
    (Content.DROPPED, Names.KEPT),
    (Content.KEPT, Names.DROPPED),
)
AT_SYNCS: Final = (Content.TORN_SECTORS, Content.MIXED)
"""What a disk may have made of what no sync covers."""


@dataclass(frozen=True)
class Recorded:
    """A scenario that has run: what it wrote, and what it promised when."""

    name: str
    folder: Path
    disk: Disk
    events: list[Event]
    promises: list[tuple[int, str, Any]]

    def promised_at(self, moment: int) -> dict[str, Any]:
        """What holds if the power is cut at a moment. What is taken back then has not changed yet."""
        latest = {subject: state for at, subject, state in self.promises if at < moment + (state is not None)}
        return {subject: state for subject, state in latest.items() if state is not None}

    def cuts(self, ways_at_syncs: int) -> Iterator[Cut]:
        """After each promise, and in so many ways just before and after each sync."""
        for moment in sorted({moment for moment, _, state in self.promises if state is not None}):
            for content, names in AT_PROMISES:
                yield Cut(moment, content, names, 0)
        for number, moment in enumerate(self.disk.moments_at_syncs()):
            for seed in range(number * ways_at_syncs, (number + 1) * ways_at_syncs):
                yield Cut(moment, AT_SYNCS[seed % len(AT_SYNCS)], list(Names)[seed % len(Names)], seed)

    def hold(self, judge: Judge, *, ways_at_syncs: int = 1) -> None:
        """Cut the power in every way, and have what is left judged."""
        looked_up = set()
        for number, cut in enumerate(self.cuts(ways_at_syncs)):
            left, promised = self.folder / "cuts" / str(number), self.promised_at(cut.moment)
            self.disk.image(cut).write(left)
            looked_up |= {(subject, str(state)) for subject, state in promised.items()}
            try:
                judge(left, promised)
            except Exception as error:
                raise AssertionError(f"{self.name}, {cut}: {error}") from error
            shutil.rmtree(left)
        made = {(subject, str(state)) for _, subject, state in self.promises if state is not None}
        assert looked_up == made, "a promise that was taken back before the power was cut"


Run = Callable[[str], Recorded]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a scenario of recorded.py."""

    def recorded(scenario: str) -> Recorded:
        root = tmp_path / "root"
        root.mkdir()
        control = Control(tmp_path / "control", AS_RECORDED)
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash.recorded", scenario, str(root)],
            env=environment() | control.environment(root, tmp_path / "log"),
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=120,
        )
        promises = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
        assert promises
        events = read_recording(tmp_path / "log")
        return Recorded(scenario, tmp_path, Disk(root, events), events, promises)

    return recorded


# -- the object store --


def judge_store(folder: Path, promised: Promised) -> None:
    """What is stored is read, what is gone is stored anew, no damage is reported; so too if the index is lost."""
    without_index = folder.with_name(f"{folder.name}-without-index")
    shutil.copytree(folder, without_index)
    for path in without_index.glob("index.db*"):
        path.unlink()
    for each in (folder, without_index):
        _judge_store(each, promised)
    shutil.rmtree(without_index)


def _judge_store(folder: Path, promised: Promised) -> None:
    with closing(open_store(folder)) as store:
        for subject, state in promised.items():
            kind, _, number = subject.partition(" ")
            content = {"page": numbered_page, "block": numbered_block}[kind](int(number)) if number else b""
            match kind, state:
                case "page", "stored":
                    assert store.get(ObjectKind.PAGE, address_of(content)) == content, subject
                case "page", "gone":
                    assert not store.has(address_of(content)), f"{subject} is back"
                    assert put_pages(store, [content]) == 1, subject
                    assert store.get(ObjectKind.PAGE, address_of(content)) == content, subject
                case "block", "stored":
                    assert get_block(store, address_of(content)) == content, subject
    reported = folder / "damage.jsonl"
    assert not reported.exists(), f"a power cut is not damage: {reported.read_text()}"


@pytest.mark.parametrize(
    "scenario", ["store", "emptied_segment", "found_by_a_start", "left_by_a_close", "second_record"]
)
def test_what_was_stored_is_read_and_what_was_removed_stays_away(run: Run, scenario: str) -> None:
    run(scenario).hold(judge_store)


def test_an_index_that_a_failed_sync_may_have_torn_is_made_again_and_put_aside_before_its_mark_goes(run: Run) -> None:
    recorded = run("distrusted_index")

    def judge(folder: Path, promised: Promised) -> None:
        match promised.get("index"):
            case "distrusted":
                assert not is_index(folder / "index.db")
            case "put aside":
                assert not (folder / "index.db").exists()

    recorded.hold(judge)
    [gone] = [event for event in recorded.events if event.kind is Kind.UNLINK and event.path.endswith("-distrusted")]
    left = recorded.folder / "left"
    recorded.disk.image(Cut(gone.begun, Content.KEPT, Names.DROPPED, 0)).write(left)
    assert (left / "index.db.damaged").exists()
    assert not (left / "index.db").exists()


# -- the catalog and the data folder --


def judge_catalog(folder: Path, promised: Promised) -> None:
    if not promised:
        return
    with closing(SqliteCatalog(folder / "catalog.db", create=False)) as catalog:
        row = catalog.snapshot(name(1))
        assert row is not None
        if "snapshot" in promised:
            assert row.state is SnapshotState(promised["snapshot"])
        if "tags" in promised:
            assert [list(tag) for tag in row.tags] == promised["tags"]
        written = {write.block_index: write for write in catalog.pending_writes(name(1))}
        for subject in promised:
            if subject.startswith("write "):
                block_index = int(subject.partition(" ")[2])
                assert written[block_index] == plain(block_index)


def test_what_a_transaction_has_ended_with_stays_so(run: Run) -> None:
    run("catalog").hold(judge_catalog)


def test_the_catalogs_name_is_durable_before_anything_is_written_to_it(run: Run) -> None:
    """SQLite syncs the folder with its first journal; that is its own affair, and can be compiled out."""
    recorded = run("catalog")
    content = ("catalog.db", "catalog.db-journal", "catalog.db-wal")
    first = next(event for event in recorded.events if event.kind is Kind.WRITE and event.path.endswith(content))
    left = recorded.folder / "left"
    recorded.disk.image(Cut(first.begun, Content.KEPT, Names.DROPPED, 0)).write(left)
    assert (left / "catalog.db").exists()


def test_a_first_start_leaves_a_whole_format_root_key_and_no_mark_of_itself(run: Run) -> None:
    def judge(folder: Path, promised: Promised) -> None:
        data = folder / "srv" / "snapstone"
        for subject, path in {"format": data / "FORMAT", "root key": data / "root.key"}.items():
            if subject in promised:
                assert path.read_text() == promised[subject]
            elif path.exists():
                assert path.read_text(), f"{path} is empty"
        if "first start" in promised:
            assert not (data / ".first-start").exists()
            with closing(SqliteCatalog(data / "catalog.db", create=False)) as catalog:
                assert catalog.snapshot(name(1)) is not None

    run("data_folder").hold(judge)


# -- the client --


def journal_in(folder: Path) -> DigestTable | None:
    """The journal in a folder, None if there is none."""
    for path in folder.glob("*.journal"):
        return DigestTable.open(path)
    return None


def judge_upload(folder: Path, promised: Promised) -> None:
    folders = Folders(folder / "state")
    journal = journal_in(folders.journals)
    if journal is None:
        kept = set(promised) & {"request", "snapshot id", "seal"} | {each for each in promised if each[:5] == "entry"}
        assert not kept or promised.get("journal") == "removed", "the journal is lost"
    else:
        assert "journal" not in promised, "the journal is back"
        judge_journal(journal, promised)
    if "index" in promised:
        found = IndexStore(folders.indexes, Notes()).find("snap-1", 1)
        entries = [] if found is None else [entry for _, entry in found.items()]
        expected = [digest(number) for number in range(WRITTEN)] if promised["index"] == "kept" else []
        assert entries == expected


def judge_journal(journal: DigestTable, promised: Promised) -> None:
    with journal:
        facts, entries = journal.facts, dict(journal.items())
    if "request" in promised:
        assert facts["request"]["client_token"] == promised["request"]  # type: ignore[index]
    if "snapshot id" in promised:
        assert facts["snapshot_id"] == promised["snapshot id"]
    for subject in promised:
        if subject.startswith("entry "):
            block_index = int(subject.partition(" ")[2])
            assert entries[block_index] == digest(block_index)
    if "seal" in promised or facts.get("stage") == COMPLETING:
        assert facts["stage"] == COMPLETING
        assert list(entries.values()) == [digest(number) for number in range(WRITTEN)], "sealed over lost entries"


def test_a_journal_holds_what_was_acknowledged_before_it_says_that_the_seal_was_asked_for(run: Run) -> None:
    run("upload").hold(judge_upload, ways_at_syncs=16)


def test_no_entry_of_an_earlier_snapshot_is_left_to_the_next_one(run: Run) -> None:
    def judge(folder: Path, promised: Promised) -> None:
        journal = journal_in(folder)
        if journal is None:
            assert not promised
            return
        with journal:
            if journal.facts.get("snapshot_id") != "snap-0":
                assert dict(journal.items()) == {}
            if "snapshot id" in promised:
                assert journal.facts["snapshot_id"] == promised["snapshot id"]

    run("upload_begun_anew").hold(judge, ways_at_syncs=6)


def test_a_journal_whose_name_was_never_synced_is_durable_once_it_is_resumed(run: Run) -> None:
    def judge(folder: Path, promised: Promised) -> None:
        journal = journal_in(folder)
        if promised:
            assert journal is not None
            judge_journal(journal, promised)

    run("journal_without_a_name").hold(judge)


def block_in(path: Path, block_index: int) -> bytes:
    """A block of an image."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), BLOCK_SIZE, block_index * BLOCK_SIZE)


def test_an_image_has_its_name_once_it_is_whole_and_a_synced_part_what_was_written(run: Run) -> None:
    def judge(folder: Path, promised: Promised) -> None:
        image, parts = folder / "disk.img", list(folder.glob(".disk.img*.part"))
        if "image" in promised or image.exists():
            assert [block_in(image, number) for number in (1, 3)] == [numbered_block(1), numbered_block(3)]
        elif "part" in promised:
            assert all(block_in(part, 1) == numbered_block(1) for part in parts)

    run("image").hold(judge, ways_at_syncs=6)


def test_an_image_that_qemu_writes_is_there_as_a_plain_one_is(run: Run) -> None:
    def judge(folder: Path, promised: Promised) -> None:
        image, parts = folder / "disk.qcow2", list(folder.glob(".disk.qcow2*.part"))
        if "image" in promised or image.exists():
            assert blocks_by_qemu(image, 1, 3) == [numbered_block(1), numbered_block(3)]
        elif "part" in promised:
            assert all(blocks_by_qemu(part, 1) == [numbered_block(1)] for part in parts)

    run("qemu_image").hold(judge)


def blocks_by_qemu(path: Path, *block_indexes: int) -> list[bytes]:
    """Blocks of an image in QEMU's own format."""
    found, buffer = [], memoryview(bytearray(BLOCK_SIZE))
    with closing(open_source(path, format="qcow2")) as image:
        for block_index in block_indexes:
            image.read(block_index, buffer)
            found.append(bytes(buffer))
    return found


def test_what_was_synced_on_a_device_is_there(run: Run) -> None:
    def judge(folder: Path, promised: Promised) -> None:
        for subject in promised:
            number = int(subject.partition(" ")[2])
            assert block_in(folder / "disk", number) == numbered_block(number)

    run("device").hold(judge)
