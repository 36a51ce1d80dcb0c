"""What a power cut is simulated of: processes that write, and say what they may rely on from a moment on.

Run as a program under tests/faults' library: `python -m tests.crash.recorded SCENARIO FOLDER`. Each line that it prints
is a promise: its subject, what must be true of it (nothing: it is about to change), and the moment of the recording.
What the promises mean, the test says that cuts the power (test_power_loss.py).
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Final, cast

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.client.api.service import Service
from snapstone.client.api.values import StartRequest
from snapstone.client.images.device import DeviceTarget
from snapstone.client.images.targets import open_target
from snapstone.client.transfer import digests
from snapstone.client.transfer import pending as pending_module
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import JournalStore
from snapstone.client.transfer.pending import PendingSnapshot
from snapstone.core.blocks import BLOCK_SIZE, Address, Digest
from snapstone.server.config import read_settings
from snapstone.server.folder.data_folder import use_data_folder
from snapstone.server.folder.root_key import ensure_root_key
from snapstone.storage.appender import END_GAP, Appender
from snapstone.storage.contract import ObjectKind
from snapstone.storage.index import COMMITS_PER_LOG_COPY, Index, NewRecord, remove_index
from snapstone.storage.record import HEADER_SIZE, aligned_buffer, record_size, write_header
from snapstone.storage.segment import SEGMENT_HEADER_SIZE
from snapstone.storage.segment_store import SegmentStore
from tests.faults.library import Control, Rule
from tests.faults.power_cuts import AS_RECORDED
from tests.suites.catalog_rows import OTHER_ROOT, STARTED, name, pending, plain, record
from tests.suites.object_store_suite import address_of, numbered_block, numbered_page, put_block, put_pages
from tests.unit.client.transfer.notes import Notes

PAGES_PER_SEGMENT: Final = 4
SEGMENT_SIZE: Final = SEGMENT_HEADER_SIZE + PAGES_PER_SEGMENT * record_size(len(numbered_page(0))) + END_GAP
"""What pages get; a block's is larger."""

KEY: Final = {"kind": "upload", "source": "/images/disk.raw"}
REQUEST: Final = StartRequest(1, "token-of-the-request")
ENTRIES: Final = 2_048
WRITTEN: Final = 60
"""Blocks of an upload."""


def digest(number: int) -> Digest:
    """A digest of its own for each number."""
    return Digest(sha256(number.to_bytes(8, "big")).digest())


def open_store(folder: Path) -> SegmentStore:
    """The store of a folder."""
    return SegmentStore(folder, now_ms=lambda: STARTED, block_buffers=4, segment_size=SEGMENT_SIZE)


class Scenario:
    """Steps on a folder, and the promises that they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = Control(Path(os.environ["FAULTS_CONTROL"]), AS_RECORDED)

    def promise(self, subject: str, state: object) -> None:
        """From now on this is true of the subject, whatever happens."""
        print(json.dumps([self.control.moment, subject, state]), flush=True)

    def take_back(self, subject: str) -> None:
        """From now on anything may be true of it: it is about to change."""
        self.promise(subject, None)

    def in_a_process_that_dies(self, work: Callable[[], object]) -> None:
        """Do it in a process that ends without closing anything, as by `kill -9`."""
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    # -- the object store --

    def store(self) -> None:
        """Puts, removals, and a segment that is filled before the next one is begun; the store is closed in the end."""
        store = open_store(self.folder)
        assert put_block(store, numbered_block(1))
        self.promise("block 1", "stored")
        self._put(store, 0)
        store.close()  # from here on the index knows it whatever happens
        store = open_store(self.folder)
        self._remove(store, 0)
        for number in range(PAGES_PER_SEGMENT + 2):
            self._put(store, number)
        self._remove(store, 1, 2)
        store.close()

    def emptied_segment(self) -> None:
        """All that a full segment holds is removed, and its file with it."""
        store = open_store(self.folder)
        for number in range(PAGES_PER_SEGMENT + 1):
            self._put(store, number)
        self._remove(store, *range(PAGES_PER_SEGMENT))
        assert [path.name for path in (self.folder / "segments").iterdir()] == ["00000002.segment"]
        store.close()

    def found_by_a_start(self) -> None:
        """A record that was written and not synced when its process died is found by a start: it is there already."""
        self.in_a_process_that_dies(lambda: self._write(0))
        with closing(open_store(self.folder)) as store:
            assert put_pages(store, [numbered_page(0)]) == 0
            self.promise("page 0", "stored")

    def left_by_a_close(self) -> None:
        """The same of a record whose process died while it closed its segment, which ends with that record by then."""

        def die_before_the_checkpoint() -> None:
            Index.set_size = lambda *_: os._exit(0)  # type: ignore[method-assign]
            self._write(0, close=True)

        self.in_a_process_that_dies(die_before_the_checkpoint)
        with closing(open_store(self.folder)) as store:
            assert put_pages(store, [numbered_page(0)]) == 0
            self.promise("page 0", "stored")

    def second_record(self) -> None:
        """A record that a start finds to be a second one is no way by which its object comes back after its removal."""

        def die_before_the_index() -> None:
            self._put(open_store(self.folder), 0)
            self._write(0, sync=True)

        self.in_a_process_that_dies(die_before_the_index)
        with closing(open_store(self.folder)) as store:
            self._remove(store, 0)

    def _put(self, store: SegmentStore, number: int) -> None:
        self.take_back(f"page {number}")
        assert put_pages(store, [numbered_page(number)]) == 1
        self.promise(f"page {number}", "stored")

    def _remove(self, store: SegmentStore, *numbers: int) -> None:
        for number in numbers:
            self.take_back(f"page {number}")
        assert store.remove([address_of(numbered_page(number)) for number in numbers]) == len(numbers)
        for number in numbers:
            self.promise(f"page {number}", "gone")

    def _write(self, number: int, *, sync: bool = False, close: bool = False) -> None:
        """Write a page's record, and do not commit it."""
        segments, content = self.folder / "segments", numbered_page(number)
        segments.mkdir(parents=True, exist_ok=True)
        index = Index(self.folder / "index.db")
        appender = Appender(index, segments, SEGMENT_SIZE, os.urandom)
        buffer = aligned_buffer(record_size(len(content)))
        payload = buffer[HEADER_SIZE : HEADER_SIZE + len(content)]
        payload[:] = content
        with appender.reserve(len(buffer), essential=True) as place:
            address, key = address_of(content), place.segment.key(place.offset)
            write_header(buffer[:HEADER_SIZE], key, ObjectKind.PAGE, address, payload, STARTED, None)
            place.segment.write(place.offset, buffer)
            if sync:
                place.segment.sync()
        if close:
            appender.close()
            index.close()

    # -- its index --

    def distrusted_index(self) -> None:
        """A sync of the index's log fails as it is copied: from the next copy on, the index is made again."""
        index = Index(self.folder / "index.db")
        index.add_segment(1, 0)
        failing = [Rule(call, "*index.db-wal", errno.EIO) for call in ("fsync", "fdatasync")]
        self.control.set_rules(failing)
        self._commit_until_the_log_is_copied(index, 0)
        assert self.control.injected_count
        self.control.set_rules([])
        self._commit_until_the_log_is_copied(index, 1)
        self.promise("index", "distrusted")
        index.close()
        self.take_back("index")
        remove_index(self.folder / "index.db")
        self.promise("index", "put aside")

    def _commit_until_the_log_is_copied(self, index: Index, kind: int) -> None:
        for number in range(COMMITS_PER_LOG_COPY):
            address = Address(sha256(f"{kind} {number}".encode()).digest())
            index.add([NewRecord(address, ObjectKind.PAGE, 1, 8_192 * (number + 1), 100, STARTED)], {})

    # -- the catalog --

    def catalog(self) -> None:
        """A snapshot's life, from its first write to its deletion."""
        catalog = SqliteCatalog(self.folder / "catalog.db")
        catalog.insert_snapshot(pending(1), None)
        self.promise("snapshot", "pending")
        for block_index in range(5):
            record(catalog, 1, plain(block_index))
            self.promise(f"write {block_index}", "recorded")
        catalog.change_tags([name(1)], lambda _id, row: (("a", "b"),))
        self.promise("tags", [["a", "b"]])
        self.take_back("snapshot")
        assert catalog.begin_seal(name(1), 5, None, STARTED, STARTED)
        self.promise("snapshot", "sealing")
        for block_index in range(5):
            self.take_back(f"write {block_index}")
        self.take_back("snapshot")
        assert catalog.finish_seal(name(1), OTHER_ROOT, 5, STARTED)
        self.promise("snapshot", "completed")
        self.take_back("snapshot")
        self.take_back("tags")
        assert catalog.begin_delete(name(1), STARTED, STARTED)
        self.promise("snapshot", "deleting")
        catalog.close()

    # -- the data folder --

    def data_folder(self) -> None:
        """A first start: its folder and those above, FORMAT, the root key, and that the first start is over."""
        path = self.folder / "srv" / "snapstone"
        with use_data_folder(path) as folder:
            self.promise("format", folder.format.read_text())
            ensure_root_key(read_settings({"data": str(path)}, {}), folder, {})
            self.promise("root key", folder.root_key.read_text())
            with closing(SqliteCatalog(folder.catalog)) as catalog:
                catalog.insert_snapshot(pending(1), None)
            folder.end_first_start()
            self.promise("first start", "over")

    # -- the client --

    def upload(self) -> None:
        """A journal from its first fact to the seal, the index that it becomes, and the end of both."""
        folders = Folders(self.folder / "state")
        folders.prepare()
        self._sync(self.folder)  # the parent is the user's own
        journal = JournalStore(folders.journals, Notes()).open_or_create(KEY, ENTRIES)
        endpoint = Endpoint(self)
        snapshot = PendingSnapshot(cast(Service, endpoint), journal, REQUEST, Notes())
        self.promise("snapshot id", snapshot.snapshot_id)
        pending_module.SYNC_SECONDS = 0.0  # type: ignore[misc]
        for block_index in range(10):
            snapshot.put(block_index, memoryview(b""), digest(block_index), Event())
            self.promise(f"entry {block_index}", "entered")
        pending_module.SYNC_SECONDS = 3_600.0  # type: ignore[misc]
        for block_index in range(10, WRITTEN):
            snapshot.put(block_index, memoryview(b""), digest(block_index), Event())
        snapshot.complete()
        indexes = IndexStore(folders.indexes, Notes())
        indexes.keep(journal.table, "snap-1", 1)
        self.promise("index", "kept")
        for subject in ("request", "snapshot id", "seal", *(f"entry {block_index}" for block_index in range(10))):
            self.take_back(subject)
        journal.remove()
        self.promise("journal", "removed")
        self.take_back("index")
        indexes.forget("snap-1")
        self.promise("index", "forgotten")

    def upload_begun_anew(self) -> None:
        """An earlier run's snapshot is gone: what was sent to it is forgotten before another one is started."""
        store = JournalStore(self.folder, Notes())
        with store.open_or_create(KEY, ENTRIES, {"snapshot_id": "snap-0"}) as journal:
            for block_index in range(WRITTEN):
                journal.table.record(block_index, digest(block_index))
            journal.table.sync()
        with store.open_or_create(KEY, ENTRIES) as journal:
            snapshot = PendingSnapshot(cast(Service, Endpoint(self)), journal, REQUEST, Notes())
            self.promise("snapshot id", snapshot.snapshot_id)

    def journal_without_a_name(self) -> None:
        """A process dies before the name of its journal is synced; another one resumes it."""

        def die_before_the_name() -> None:
            setattr(digests, "sync_folder", lambda _: os._exit(0))  # noqa: B010  (mypy: not exported there)
            JournalStore(self.folder, Notes()).open_or_create(KEY, ENTRIES, {"snapshot_id": "snap-1"})

        self.in_a_process_that_dies(die_before_the_name)
        with JournalStore(self.folder, Notes()).open_or_create(KEY, ENTRIES) as journal:
            assert journal.resumed
            self.promise("snapshot id", "snap-1")

    def image(self) -> None:
        """A file that is written as a part, synced, written on and given its name."""
        target = open_target(self.folder / "disk.img", 4 * BLOCK_SIZE, part_name="snap-1")
        target.write(1, memoryview(numbered_block(1)))
        target.sync()
        self.promise("part", "has block 1")
        target.write(3, memoryview(numbered_block(3)))
        self.take_back("part")
        target.commit()
        self.promise("image", "whole")

    def qemu_image(self) -> None:
        """The same of a format of QEMU's, which qemu-nbd writes."""
        target = open_target(self.folder / "disk.qcow2", 4 * BLOCK_SIZE, part_name="snap-1", format="qcow2")
        target.write(1, memoryview(numbered_block(1)))
        target.sync()
        self.promise("part", "has block 1")
        target.write(3, memoryview(numbered_block(3)))
        self.take_back("part")
        target.commit()
        self.promise("image", "whole")

    def device(self) -> None:
        """What is written in place: a file here, as a device is nothing that can be recorded."""
        path = self.folder / "disk"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(descriptor, 4 * BLOCK_SIZE)
        os.fsync(descriptor)
        self._sync(self.folder)
        target = DeviceTarget(descriptor, str(path), 4 * BLOCK_SIZE)
        target.write(1, memoryview(numbered_block(1)))
        target.sync()
        self.promise("block 1", "written")
        target.write(3, memoryview(numbered_block(3)))
        target.commit()
        self.promise("block 3", "written")

    def _sync(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


class Endpoint:
    """What a snapshot in the making asks of an endpoint: says yes, and what must be durable when it is asked."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def start_snapshot(self, request: StartRequest) -> str:
        self._scenario.promise("request", request.client_token)
        return "snap-1"

    def put_block(self, *_: object, before_sending: Callable[[], None], **__: object) -> None:
        before_sending()

    def complete_snapshot(self, *_: object, **__: object) -> str:
        self._scenario.promise("seal", "asked for")
        return "completed"

    def describe(self, _: object) -> list[object]:
        """No snapshot is there any more."""
        return []

    def delete_snapshot(self, _: object) -> None:
        """It is gone anyway."""


def main(scenario: str, folder: str) -> None:
    """Run one scenario."""
    getattr(Scenario(Path(folder)), scenario)()


if __name__ == "__main__":
    main(*sys.argv[1:])
