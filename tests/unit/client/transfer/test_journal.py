"""Journals: one for each work, one process at a time, gone on with after any end, replaced if they cannot be."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from snapstone.client.errors import UsageError
from snapstone.client.transfer import folders
from snapstone.client.transfer.digests import ENTRIES_OFFSET, DigestTable, Facts
from snapstone.client.transfer.folders import JournalLock, StateError, holder_of
from snapstone.client.transfer.journal import MAX_AGE_SECONDS, Journal, JournalStore
from snapstone.core.blocks import Digest
from tests.unit.client.losing_disk import LosingDisk
from tests.unit.client.transfer.notes import Notes

A: Final = Digest(sha256(b"a").digest())
KEY: Final = {"kind": "upload", "endpoint": "http://localhost:7070", "source": "/images/ü.raw", "parent_id": None}
NOW: Final = 1_790_000_000.0


class Given:
    """A store, its notes, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = Notes()
        self.now = NOW
        self.store = JournalStore(folder, self.notes, lambda: self.now)

    def open(self, key: Facts = KEY, block_count: int = 100, facts: Facts | None = None) -> Journal:
        return self.store.open_or_create(key, block_count, facts)

    def file(self, ending: str = ".journal") -> Path:
        (path,) = self.folder.glob(f"*{ending}")
        return path

    @property
    def said(self) -> list[str]:
        return [note.message for note in self.notes.list]


@pytest.fixture
def here(tmp_path: Path) -> Given:
    return Given(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LOOK_SECONDS", 0.05)


def test_a_new_journal_has_the_facts_and_the_key(here: Given) -> None:
    with here.open(facts={"client_token": "t"}) as journal:
        assert dict(journal.facts) == {"client_token": "t", "key": KEY}
        assert (journal.resumed, dict(journal.replaced)) == (False, {})
        assert (journal.table.block_count, journal.table.count()) == (100, 0)
    assert here.said == []


def test_a_journal_that_was_closed_is_gone_on_with(here: Given) -> None:
    with here.open(facts={"client_token": "t"}) as journal:
        journal.table.record(5, A)
        journal.update({"snapshot_id": "snap-1", "stage": "sending"})
    with here.open(facts={"client_token": "another"}) as journal:
        assert journal.resumed
        assert dict(journal.facts) == {"client_token": "t", "snapshot_id": "snap-1", "stage": "sending", "key": KEY}
        assert list(journal.table.items()) == [(5, A)]
        journal.table.record(6, A)
    assert here.said == []


def test_each_fact_of_the_key_makes_another_work(here: Given) -> None:
    changes: list[Facts] = [{}, {"kind": "download"}, {"endpoint": "x"}, {"source": "x"}, {"parent_id": "x"}]
    journals = [here.open({**KEY, **change}) for change in changes]
    assert len(here.store.list()) == len(changes)
    for journal in journals:
        journal.close()


def test_the_order_of_the_key_and_its_tuples_do_not_matter(here: Given) -> None:
    here.open({"a": (1, 2), "b": 2}).close()
    with here.open({"b": 2, "a": [1, 2]}) as journal:
        assert journal.resumed


def test_a_removed_journal_leaves_nothing(here: Given) -> None:
    with here.open() as journal:
        journal.table.record(5, A)
        journal.remove()
        journal.close()
    assert os.listdir(here.folder) == []
    with here.open() as journal:
        assert not journal.resumed


def test_files_show_nothing_to_others(here: Given) -> None:
    before = os.umask(0)
    try:
        with here.open():
            assert {path.stat().st_mode & 0o777 for path in here.folder.iterdir()} == {0o600}
            assert {path.suffix for path in here.folder.iterdir()} == {".journal", ".lock"}
    finally:
        os.umask(before)


# Journals that cannot be gone on with.


def test_an_image_of_another_size_starts_anew_and_the_old_facts_are_handed_on(here: Given) -> None:
    with here.open(facts={"snapshot_id": "snap-1"}) as journal:
        journal.table.record(5, A)
    with here.open(block_count=101) as journal:
        assert (journal.resumed, journal.table.block_count, journal.table.count()) == (False, 101, 0)
        assert dict(journal.replaced) == {"snapshot_id": "snap-1", "key": KEY}
        assert dict(journal.facts) == {"key": KEY}
    assert len(here.said) == 1
    assert here.said[0].startswith("the journal of an earlier run cannot be used; the transfer starts over: ")
    assert here.said[0].endswith(f"{here.file()} is of an image of 100 blocks, not 101")


def test_a_journal_with_another_key_starts_anew(here: Given) -> None:
    here.open({**KEY, "kind": "download"}, facts={"snapshot_id": "snap-1"}).close()
    other = here.file()
    here.open().close()
    (own,) = set(here.folder.glob("*.journal")) - {other}
    os.rename(other, own)
    with here.open() as journal:
        assert (journal.resumed, dict(journal.replaced)) == (False, {})
    assert here.said[0].endswith(f"{own} is the journal of another transfer")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is not a digest table: 0 bytes"), (b"x" * ENTRIES_OFFSET, "it is not a digest table")],
)
def test_a_torn_or_foreign_file_starts_anew_and_is_named(here: Given, content: bytes, said: str) -> None:
    here.open().close()
    here.file().write_bytes(content)
    with here.open() as journal:
        assert not journal.resumed
        journal.table.record(1, A)
    assert str(here.file()) in here.said[0]
    assert said in here.said[0]
    with here.open() as journal:
        assert (journal.resumed, journal.table.count()) == (True, 1)


# One process at a time.


HOLDER: Final = """
import sys
from pathlib import Path
from snapstone.client.transfer.journal import JournalStore
journal = JournalStore(Path(sys.argv[1])).open_or_create({"kind": "upload"}, 1_000_000)
number = 0
print("open", flush=True)
while sys.argv[2] == "record":
    journal.table.record(number, b"x" * 32)
    number += 1
    print(number, flush=True)
sys.stdin.read()
"""


def holder(folder: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder), what]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@pytest.mark.usefixtures("impatient")
def test_a_second_process_is_told_who_is_at_work(here: Given) -> None:
    process = holder(here.folder, "wait")
    with pytest.raises(UsageError, match=f"^process {process.pid} is running the same transfer"):
        here.open({"kind": "upload"})
    (listed,) = here.store.list()
    assert (listed.holder, listed.fault) == (f"process {process.pid}", None)
    process.kill()
    process.communicate()
    with here.open({"kind": "upload"}, 1_000_000) as journal:
        assert journal.resumed


@pytest.mark.usefixtures("impatient")
def test_the_same_process_has_it_once_too(here: Given) -> None:
    with here.open(), pytest.raises(UsageError, match=r"^another thread of this process is running"):
        here.open()
    here.open().close()


def test_what_was_recorded_before_kill_9_is_gone_on_with(here: Given) -> None:
    process = holder(here.folder, "record")
    assert process.stdout is not None
    said = 0
    for line in process.stdout:
        if (said := int(line)) == 500:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    with here.open({"kind": "upload"}, 1_000_000) as journal:
        assert journal.resumed
        assert journal.table.count() >= said


def test_whoever_looks_keeps_nobody_from_work(here: Given) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            here.store.list()

    with ThreadPoolExecutor(2) as pool:
        lookers = [pool.submit(look) for _ in range(2)]
        for _ in range(100):
            here.open().close()
        over.set()
        assert [looker.result() for looker in lookers] == [None, None]


def test_of_many_only_one_has_it_however_it_is_opened_and_removed(here: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LOOK_SECONDS", 30.0)
    inside = threading.Lock()

    def work(number: int) -> None:
        for turn in range(25):
            journal = here.open()
            assert inside.acquire(blocking=False)
            assert journal.table.path.exists()
            inside.release()
            if (number + turn) % 2:
                journal.remove()
            journal.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()


def test_a_lock_without_a_name_in_it_is_another_process(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "missing") == "Another process"
    (tmp_path / "lock").write_bytes(b"\xff\n")
    assert holder_of(tmp_path / "lock") == "Another process"
    (tmp_path / "lock").write_bytes(b"77\n")
    assert holder_of(tmp_path / "lock") == "process 77"


def test_a_lock_file_that_its_holder_removed_while_it_was_being_opened_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever locks the removed file has it for himself, and so has whoever makes the next one."""
    path, flock = tmp_path / "lock", fcntl.flock
    first = JournalLock.take(path)

    def let_go_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        first.release(remove=True)
        others.append(JournalLock.take(path))
        flock(descriptor, operation)

    others: list[JournalLock] = []
    monkeypatch.setattr(fcntl, "flock", let_go_first)
    assert JournalLock.try_take(path) is None
    assert len(others) == 1


def test_a_lock_that_was_let_go_names_nobody(tmp_path: Path) -> None:
    lock = JournalLock.take(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release(remove=False)
    lock.release(remove=True)
    assert (tmp_path / "lock").read_text() == ""


# Lists, and what is old.


def test_journals_are_listed_the_last_one_first(here: Given) -> None:
    for number in range(3):
        here.open({"number": number}, facts={"n": number}).close()
        path = next(one.path for one in here.store.list() if one.facts["n"] == number)
        os.utime(path, (NOW + number, NOW + number))
    listed = here.store.list()
    assert [one.facts["n"] for one in listed] == [2, 1, 0]
    assert [one.written_at for one in listed] == [NOW + 2, NOW + 1, NOW]
    assert all((one.holder, one.fault) == (None, None) and 4_096 <= one.disk_size <= 65_536 for one in listed)


def test_a_journal_that_cannot_be_read_is_listed_with_what_is_wrong(here: Given) -> None:
    here.open().close()
    here.file().write_bytes(b"")
    (listed,) = here.store.list()
    assert dict(listed.facts) == {}
    assert listed.fault is not None
    assert "is not a digest table" in listed.fault


def aged(here: Given, days: float) -> None:
    for path in here.folder.iterdir():
        os.utime(path, (NOW - days * 86_400, NOW - days * 86_400))


def test_journals_of_more_than_seven_days_are_removed_with_a_note(here: Given) -> None:
    here.open({"number": 1}, facts={"snapshot_id": "snap-1"}).close()
    aged(here, 7)
    here.store.remove_stale()
    assert len(here.store.list()) == 1
    here.now += 1
    path = here.file()
    here.store.remove_stale()
    assert os.listdir(here.folder) == []
    assert here.said == [f"removed the journal of a transfer that was not resumed for 7 days: {path}"]
    assert here.notes.list[0].facts == {"path": str(path), "facts": {"snapshot_id": "snap-1", "key": {"number": 1}}}
    assert MAX_AGE_SECONDS == 7 * 86_400


def test_whoever_opens_one_removes_old_ones_but_never_its_own(here: Given) -> None:
    for number in (1, 2):
        here.open({"number": number}).close()
    aged(here, 30)
    with here.open({"number": 1}) as journal:
        assert journal.resumed
        assert [dict(one.facts) for one in here.store.list()] == [{"key": {"number": 1}}]


def test_an_old_journal_at_work_stays(here: Given) -> None:
    with closing(here.open()):
        aged(here, 30)
        JournalStore(here.folder, here.notes, lambda: NOW).remove_stale()
        assert here.file().exists()
    assert here.said == []


def test_what_killed_processes_left_is_removed(here: Given) -> None:
    (here.folder / "abc.lock").write_text("77\n")
    (here.folder / "abc.journal.x.new").write_text("")
    aged(here, 1)
    here.open().close()
    assert {path.suffix for path in here.folder.iterdir()} == {".journal", ".lock"}
    assert not (here.folder / "abc.lock").exists()


def test_old_journals_that_cannot_be_removed_keep_nobody_from_work(here: Given) -> None:
    (here.folder / "abc.lock").mkdir()
    with here.open() as journal:
        journal.table.record(1, A)
    assert here.said == [
        f"could not remove old journals: {here.folder}/abc.lock: Is a directory; "
        "if this continues, set SNAPSTONE_STATE to a directory on another file system"
    ]


def test_what_an_earlier_run_could_not_sync_is_durable_once_it_is_gone_on_with(
    here: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = LosingDisk(tmp_path.with_name(tmp_path.name + "-disk"), monkeypatch)
    with here.open() as journal:
        journal.update({"snapshot_id": "snap-1"})
        journal.table.record(3, A)
        disk.failing = ".journal"
        with pytest.raises(StateError):
            journal.table.sync()
    with DigestTable.open(disk.after_power_loss(here.file())) as lost:
        assert list(lost.items()) == []
    with here.open() as journal:
        journal.table.sync()  # Which alone would make nothing durable.
    with DigestTable.open(disk.after_power_loss(here.file())) as kept:
        assert (list(kept.items()), kept.facts["snapshot_id"]) == ([(3, A)], "snap-1")
