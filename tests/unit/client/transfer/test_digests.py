"""The table of digests: entries, facts, crashes, races, and files that are not a complete table."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from snapstone.client.errors import DeniedError, NoSpaceError, NotFoundError, UsageError
from snapstone.client.transfer.digests import (
    CHUNK_SIZE,
    ENTRIES_OFFSET,
    MAX_FACTS_SIZE,
    SLOT_SIZE,
    DigestTable,
    DigestTableError,
)
from snapstone.client.transfer.folders import StateError
from snapstone.core.blocks import MAX_BLOCK_COUNT, Digest
from tests.unit.client.losing_disk import LosingDisk

LAST: Final = MAX_BLOCK_COUNT - 1


def digest(number: int) -> Digest:
    return Digest(sha256(number.to_bytes(8, "little")).digest())


A, B, C = digest(1), digest(2), digest(3)

MOSTLY_ZEROS: Final = [Digest(bytes(place) + b"\x01" + bytes(31 - place)) for place in (0, 1, 15, 30, 31)]
"""Digests whose zeros touch those of their neighbours."""

digests = st.one_of(st.sampled_from(MOSTLY_ZEROS), st.integers(0, 5).map(digest))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.journal"


@pytest.fixture
def table(path: Path) -> Iterator[DigestTable]:
    with DigestTable.create(path, 100_000, {"stage": "new"}) as made:
        yield made


def test_what_is_recorded_is_there_and_nothing_else(table: DigestTable) -> None:
    table.record(0, A)
    table.record(99_999, B)
    assert [table.get(index) for index in (0, 1, 99_998, 99_999)] == [A, None, None, B]
    assert list(table.items()) == [(0, A), (99_999, B)]


def test_a_block_recorded_twice_has_its_last_digest(table: DigestTable) -> None:
    table.record(7, A)
    table.record(7, B)
    assert (table.get(7), table.count()) == (B, 1)


def test_a_forgotten_digest_is_absent(table: DigestTable) -> None:
    table.record(7, A)
    table.record(8, B)
    table.forget(7)
    table.forget(9)
    assert table.get(7) is None
    assert list(table.items()) == [(8, B)]


def test_items_begin_at_the_start_that_is_asked_for(table: DigestTable) -> None:
    for index in (3, 4, 5, 50_000):
        table.record(index, digest(index))
    assert [index for index, _ in table.items(4)] == [4, 5, 50_000]
    assert [index for index, _ in table.items(6)] == [50_000]
    assert list(table.items(50_001)) == list(table.items(100_000)) == list(table.items(2**40)) == []


def test_the_aggregate_is_the_hash_of_all_digests_in_order(table: DigestTable) -> None:
    assert table.aggregate() == sha256(b"").digest()
    table.record(40_000, B)
    table.record(2, A)
    table.record(40_001, C)
    assert table.aggregate() == sha256(A + B + C).digest()
    assert table.summary() == (3, sha256(A + B + C).digest())


def test_a_full_table_is_read_across_chunks(path: Path) -> None:
    count = 2 * CHUNK_SIZE // 32 + 5
    with DigestTable.create(path, count, {}) as table:
        for index in range(count):
            table.record(index, digest(index))
        assert table.count() == count
        assert table.aggregate() == sha256(b"".join(digest(index) for index in range(count))).digest()
        border = CHUNK_SIZE // 32
        table.forget(border)
        assert table.count() == count - 1
        assert [index for index, _ in table.items(border - 1)][:2] == [border - 1, border + 1]


def test_64_tib_cost_no_more_than_the_entries_in_them(path: Path) -> None:
    with DigestTable.create(path, MAX_BLOCK_COUNT, {}) as table:
        table.record(LAST, B)
        table.record(0, A)
        assert list(table.items()) == [(0, A), (LAST, B)]
        assert path.stat().st_size == ENTRIES_OFFSET + MAX_BLOCK_COUNT * 32
        # A page for the facts, one for each of the two entries, and what the file system needs to find them.
        assert path.stat().st_blocks * 512 <= 32_768


def test_a_table_may_have_no_entries_at_all(path: Path) -> None:
    DigestTable.create(path, 0, {"a": 1}).close()
    with DigestTable.open(path) as table:
        assert (list(table.items()), table.count(), table.block_count) == ([], 0, 0)


@pytest.mark.parametrize("block_count", [-1, MAX_BLOCK_COUNT + 1])
def test_a_block_count_that_no_volume_has_is_refused(path: Path, block_count: int) -> None:
    with pytest.raises(ValueError, match="block_count must be from 0 to 134217728"):
        DigestTable.create(path, block_count, {})


@pytest.mark.parametrize("index", [-1, 100_000, 2**63])
def test_a_block_index_outside_of_the_table_is_refused(table: DigestTable, index: int) -> None:
    outside = f"block index {index} is outside a table of 100000"
    with pytest.raises(ValueError, match=outside):
        table.record(index, A)
    with pytest.raises(ValueError, match=outside):
        table.forget(index)
    with pytest.raises(ValueError, match=outside):
        table.get(index)


@pytest.mark.parametrize("wrong", [b"", bytes(32), b"x" * 31, b"x" * 33])
def test_what_is_no_digest_is_not_recorded(table: DigestTable, wrong: bytes) -> None:
    with pytest.raises(ValueError, match="is not a digest"):
        table.record(0, Digest(wrong))
    assert table.count() == 0


def test_facts_and_entries_are_there_when_it_is_opened_again(path: Path, table: DigestTable) -> None:
    table.set_facts({"name": "/dev/ü\udc80", "nested": {"a": [1, None, True]}})
    table.record(5, A)
    table.close()
    with DigestTable.open(path) as again:
        assert dict(again.facts) == {"name": "/dev/ü\udc80", "nested": {"a": [1, None, True]}}
        assert (again.block_count, list(again.items())) == (100_000, [(5, A)])


def test_facts_are_the_same_before_and_after_they_are_read_again(path: Path, table: DigestTable) -> None:
    table.set_facts({"pair": (1, 2)})
    assert dict(table.facts) == {"pair": [1, 2]}


def test_all_facts_are_replaced(path: Path, table: DigestTable) -> None:
    for number in range(5):
        table.set_facts({str(number): number})
        with DigestTable.open(path) as other:
            assert dict(other.facts) == dict(table.facts) == {str(number): number}


def test_facts_have_room_for_the_longest_path_and_a_limit(table: DigestTable) -> None:
    table.set_facts({"name": "\udcff" * 4_095})
    room = MAX_FACTS_SIZE - len('{"name":""}')
    table.set_facts({"name": "x" * room})
    with pytest.raises(DigestTableError, match=f"take {MAX_FACTS_SIZE + 1} bytes, more than {MAX_FACTS_SIZE}"):
        table.set_facts({"name": "x" * (room + 1)})
    assert table.facts["name"] == "x" * room


def test_a_table_and_its_folder_show_nothing_to_others_and_no_other_file(path: Path, table: DigestTable) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_a_table_that_cannot_be_made_leaves_nothing_behind(path: Path) -> None:
    with pytest.raises(DigestTableError, match=r"the facts take"):
        DigestTable.create(path, 10, {"name": "x" * MAX_FACTS_SIZE})
    assert os.listdir(path.parent) == []


def test_create_replaces_what_is_there(path: Path, table: DigestTable) -> None:
    table.record(1, A)
    table.close()
    with DigestTable.create(path, 10, {}) as other:
        assert (other.count(), other.block_count) == (0, 10)


def test_one_writer_at_a_time_and_readers_beside_it(path: Path, table: DigestTable) -> None:
    with pytest.raises(UsageError, match=r"a\.journal is in use by another transfer"):
        DigestTable.open(path, writable=True)
    with DigestTable.open(path) as reader:
        table.record(3, A)
        assert reader.get(3) == A
    table.close()
    DigestTable.open(path, writable=True).close()


def test_a_table_opened_for_reading_is_not_written_to(path: Path, table: DigestTable) -> None:
    table.close()
    with DigestTable.open(path) as reader, pytest.raises(StateError, match="Bad file descriptor"):
        reader.record(0, A)


def test_a_closed_table_does_nothing_and_harms_no_other_file(tmp_path: Path, table: DigestTable) -> None:
    items = table.items()
    table.record(1, A)
    assert next(items) == (1, A)
    table.close()
    table.close()
    # The kernel gives the number of the closed descriptor to the next file.
    with (tmp_path / "other").open("w+b") as other:
        for call in (
            lambda: table.record(0, A),
            lambda: table.get(0),
            lambda: table.set_facts({}),
            lambda: table.forget(0),
            lambda: table.sync(),
            lambda: table.count(),
        ):
            with pytest.raises(DigestTableError, match="the table is closed"):
                call()
        assert other.read() == b""
    # An iteration that had begun goes on: it has a descriptor of its own.
    assert list(items) == []


def test_it_can_be_moved_and_stays_open(tmp_path: Path, path: Path, table: DigestTable) -> None:
    (tmp_path / "b").write_text("replaced")
    table.move(tmp_path / "b")
    table.record(4, A)
    assert not path.exists()
    with DigestTable.open(tmp_path / "b") as moved:
        assert list(moved.items()) == [(4, A)]


def test_another_table_is_laid_over_it(tmp_path: Path, table: DigestTable) -> None:
    with DigestTable.create(tmp_path / "b", 90_000, {"of": "b"}) as other:
        for index, entry in {1: A, 2: A, 80_000: A}.items():
            table.record(index, entry)
        for index, entry in {2: B, 3: B, 89_999: B}.items():
            other.record(index, entry)
        table.overlay(other)
        assert dict(table.items()) == {1: A, 2: B, 3: B, 80_000: A, 89_999: B}
        assert dict(table.facts) == {"stage": "new"}
        with pytest.raises(ValueError, match="100000 entries do not fit into 90000"):
            other.overlay(table)


# What is not a table, or not a whole one.


def refused(path: Path) -> str:
    with pytest.raises(DigestTableError) as error:
        DigestTable.open(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_missing_file_is_told_from_a_bad_one(path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"a\.journal: No such file"):
        DigestTable.open(path)


def test_other_files_are_refused(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"")
    assert "0 bytes are fewer than a header has" in refused(path)
    path.write_bytes(b"x" * (ENTRIES_OFFSET - 1))
    assert "is not a digest table: 131071 bytes" in refused(path)
    path.write_bytes(b"x" * ENTRIES_OFFSET)
    assert "it is not a digest table" in refused(path)
    path.write_bytes(bytes(ENTRIES_OFFSET))
    assert "it is not a digest table" in refused(path)
    assert "it is not a regular file" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "it is not a regular file" in refused(tmp_path / "pipe")


def rewrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_another_version_is_refused_and_named(path: Path, table: DigestTable) -> None:
    table.set_facts({})
    table.close()
    for slot in (0, SLOT_SIZE):
        rewrite(path, slot + 8, b"\x02\x00")
    assert "its format has version 2, but this Snapstone reads version 1" in refused(path)


def test_a_file_of_another_size_is_refused(path: Path, table: DigestTable) -> None:
    table.close()
    size = path.stat().st_size
    for other in (size - 1, size + 32, ENTRIES_OFFSET):
        os.truncate(path, other)
        assert f"it has {other} bytes, but {size} according to its header" in refused(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 120), st.integers(1, 255))
def test_a_flipped_byte_in_the_only_slot_is_refused(tmp_path_factory: pytest.TempPathFactory, at: int, by: int) -> None:
    path = tmp_path_factory.mktemp("flipped") / "table"
    DigestTable.create(path, 64, {"snapshot_id": "snap-0123456789abcdef0", "x": "y" * 200}).close()
    original = path.read_bytes()[SLOT_SIZE + at]
    rewrite(path, SLOT_SIZE + at, bytes([original ^ by]))
    unused = 36 <= at < 64
    if unused:
        with DigestTable.open(path) as table:
            assert table.facts["x"] == "y" * 200
    else:
        assert refused(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.sampled_from([b"", b"\xff", b"\0" * 300]))
def test_facts_that_are_written_in_part_leave_the_old_ones(
    tmp_path_factory: pytest.TempPathFactory, kept: int, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / "table"
    with DigestTable.create(path, 64, {"n": 0}) as table:
        table.record(1, A)
        table.set_facts({"n": 1, "x": "x" * 100})
        old = path.read_bytes()[SLOT_SIZE : 2 * SLOT_SIZE]
        table.set_facts({"n": 2, "x": "y" * 150})
    new = path.read_bytes()[SLOT_SIZE : 2 * SLOT_SIZE]
    torn = new[:kept] + rest + old[kept + len(rest) :]
    rewrite(path, SLOT_SIZE, torn)
    with DigestTable.open(path, writable=True) as table:
        assert table.facts["n"] == 1
        assert list(table.items()) == [(1, A)]
        table.set_facts({"n": 3})
    with DigestTable.open(path) as table:
        assert table.facts["n"] == 3


def test_a_file_cut_short_in_use_is_an_error_and_no_fault(path: Path, table: DigestTable) -> None:
    table.record(99_999, A)
    table.record(1, A)
    os.truncate(path, ENTRIES_OFFSET + 70)
    with pytest.raises(DigestTableError, match="the file was truncated while it was in use"):
        table.get(99_999)
    with pytest.raises(DigestTableError, match="the file was truncated while it was in use"):
        table.get(2)


def test_a_full_disk_is_said_as_such(path: Path, table: DigestTable) -> None:
    code = f"""
import resource
from pathlib import Path
from snapstone.client.errors import NoSpaceError
from snapstone.client.transfer.digests import DigestTable
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
table = DigestTable.open(Path({str(path)!r}), writable=True)
table.record(0, b"x" * 32)
try:
    table.record(99_000, b"x" * 32)
except NoSpaceError as error:
    print(error)
"""
    table.close()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: File too large; free some space there, or set SNAPSTONE_STATE")
    assert NoSpaceError.resumable


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_table_of_somebody_else_is_said_as_such(path: Path, table: DigestTable) -> None:
    path.chmod(0)
    with pytest.raises(DeniedError, match="Permission denied"):
        DigestTable.open(path)


# Against a dict.


class AgainstADict(RuleBasedStateMachine):
    """Any order of calls, with the table closed and opened in between."""

    folder: Path

    @initialize(block_count=st.sampled_from([300, 5_000, MAX_BLOCK_COUNT]))
    def begin(self, block_count: int) -> None:
        self.path = self.folder / "table"
        self.model: dict[int, Digest] = {}
        self.facts: dict[str, object] = {"n": 0}
        self.table = DigestTable.create(self.path, block_count, self.facts)

    def index(self, seed: int) -> int:
        return seed % self.table.block_count

    @rule(seed=st.one_of(st.integers(0, 300), st.integers(0, LAST)), entry=digests)
    def record(self, seed: int, entry: Digest) -> None:
        self.table.record(self.index(seed), entry)
        self.model[self.index(seed)] = entry

    @rule(seed=st.integers(0, 300), entries=st.lists(digests, max_size=8))
    def record_neighbours(self, seed: int, entries: list[Digest]) -> None:
        for rank, entry in enumerate(entries):
            self.record(seed + rank, entry)

    @rule(seed=st.one_of(st.integers(0, 300), st.integers(0, LAST)))
    def forget(self, seed: int) -> None:
        self.table.forget(self.index(seed))
        self.model.pop(self.index(seed), None)

    @rule(number=st.integers(0, 2**40))
    def set_facts(self, number: int) -> None:
        self.facts = {"n": number}
        self.table.set_facts(self.facts)

    @rule(start=st.integers(0, 400))
    def look_from(self, start: int) -> None:
        expected = sorted(item for item in self.model.items() if item[0] >= start)
        assert list(self.table.items(start)) == expected

    @rule()
    def reopen(self) -> None:
        self.table.close()
        self.table = DigestTable.open(self.path, writable=True)

    @invariant()
    def holds_what_the_dict_holds(self) -> None:
        assert dict(self.table.facts) == self.facts
        assert list(self.table.items()) == sorted(self.model.items())
        joined = b"".join(entry for _, entry in sorted(self.model.items()))
        assert self.table.summary() == (len(self.model), sha256(joined).digest())

    def teardown(self) -> None:
        self.table.close()


def test_it_holds_what_a_dict_holds(tmp_path: Path) -> None:
    AgainstADict.folder = tmp_path
    run_state_machine_as_test(AgainstADict, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))


# Races and kills.


def test_many_threads_record_while_others_read_and_sync(path: Path) -> None:
    count, threads = 20_000, 8
    with DigestTable.create(path, count, {}) as table:
        over = threading.Event()

        def record(first: int) -> None:
            for index in range(first, count, threads):
                table.record(index, digest(index))

        def look() -> None:
            while not over.is_set():
                for index, entry in table.items():
                    assert all(seen in (0, whole) for seen, whole in zip(entry, digest(index), strict=True))

        def change() -> None:
            number = 0
            while not over.is_set():
                table.sync()
                table.set_facts({"number": number})
                number += 1

        with ThreadPoolExecutor(threads + 2) as pool:
            others = [pool.submit(look), pool.submit(change)]
            for writer in [pool.submit(record, first) for first in range(threads)]:
                writer.result()
            over.set()
            for other in others:
                other.result()
        assert table.summary() == (count, sha256(b"".join(map(digest, range(count)))).digest())


def test_a_close_between_records_of_many_threads_ends_them_and_no_other_file_is_written(tmp_path: Path) -> None:
    for _ in range(8):
        table = DigestTable.create(tmp_path / "table", 1_000, {})
        started = threading.Barrier(5)

        def record(table: DigestTable = table, started: threading.Barrier = started) -> None:
            started.wait()
            with suppress(DigestTableError):
                while True:
                    table.record(1, A)

        with ThreadPoolExecutor(4) as pool:
            ends = [pool.submit(record) for _ in range(4)]
            started.wait()
            table.close()
            others = [(tmp_path / f"{number}").open("w+b") for number in range(4)]
            for end in ends:
                end.result()
        for other in others:
            assert other.read() == b""
            other.close()


VICTIM: Final = """
import sys
from hashlib import sha256
from pathlib import Path
from snapstone.client.transfer.digests import DigestTable
table = DigestTable.create(Path(sys.argv[1]), 1_000_000, {"n": 0})
number = 0
while True:
    number += 1
    table.record(number * 7919 % 1_000_000, sha256(number.to_bytes(8, "little")).digest())
    if number % 50 == 0:
        table.set_facts({"n": number})
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 49, 50, 51, 333])
def test_what_was_recorded_survives_kill_9(path: Path, acknowledged: int) -> None:
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    for line in victim.stdout:
        if int(line) == acknowledged:
            victim.send_signal(signal.SIGKILL)
            break
    said = [int(line) for line in victim.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    victim.wait()
    last = max([acknowledged, *said])
    with DigestTable.open(path, writable=True) as table:
        found = dict(table.items())
        for number in range(1, last + 1):
            assert found.pop(number * 7_919 % 1_000_000) == digest(number)
        # One more may have been recorded and not said.
        assert len(found) <= 1
        assert table.facts["n"] in (last // 50 * 50, (last + 1) // 50 * 50)


def test_the_facts_are_json_that_other_programs_can_read(path: Path, table: DigestTable) -> None:
    slot = path.read_bytes()[SLOT_SIZE:]
    size = int.from_bytes(slot[12:16], "little")
    assert json.loads(slot[64 : 64 + size]) == {"stage": "new"}


@pytest.mark.parametrize("first", ["entries", "facts"])
@pytest.mark.parametrize("then", ["entries", "facts"])
def test_nothing_is_made_durable_after_a_sync_that_failed(
    tmp_path: Path, path: Path, table: DigestTable, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    disk = LosingDisk(tmp_path / "disk", monkeypatch)

    def sync(what: str) -> None:
        if what == "entries":
            table.sync()
        else:
            table.set_facts({"stage": "later"})

    table.record(1, A)
    disk.failing = path.name
    for what in (first, then):
        with pytest.raises(StateError, match="Input/output error"):
            sync(what)
    assert table.get(1) == A


def test_a_table_written_again_holds_on_disk_what_it_reads_as(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = LosingDisk(tmp_path / "disk", monkeypatch)
    with DigestTable.create(path, 100_000, {"stage": "new"}) as table:
        table.record(1, A)
        table.record(70_000, B)
        table.sync()
        table.forget(1)
        table.record(99_999, C)
        disk.failing = path.name
        with pytest.raises(StateError):
            table.sync()
    with DigestTable.open(disk.after_power_loss(path)) as lost:
        assert list(lost.items()) == [(1, A), (70_000, B)]
    with DigestTable.open(path, writable=True) as again:
        again.write_again()
    with DigestTable.open(disk.after_power_loss(path)) as kept:
        assert (list(kept.items()), kept.facts) == ([(70_000, B), (99_999, C)], {"stage": "new"})


def test_a_table_whose_name_cannot_be_made_durable_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, real = tmp_path / "tables", os.fsync
    tables.mkdir()

    def fail_for_folders(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(tables):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    with pytest.raises(StateError, match="Input/output error"):
        DigestTable.create(tables / "a.journal", 100, {})
    assert os.listdir(tables) == []
