"""Uploads against a real server: what is sent, what is there afterwards, and what failures and kills leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.errors import (
    ClientError,
    DeniedError,
    ExpiredCredentialsError,
    NotFoundError,
    RemoteError,
    SourceChangedError,
    UnreachableError,
    UsageError,
)
from snapstone.client.transfer.dirty import DirtyRanges
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import JournalStore
from snapstone.client.transfer.upload import UploadOptions, UploadResult, upload
from snapstone.core.blocks import BLOCK_SIZE, Digest, digest_of
from tests.unit.client.transfer.two_sides import AnyServer, Memory, MemoryImage, ServiceAt

GIB = 2**30
MIB = 2**20
ZERO = bytes(BLOCK_SIZE)


class Watched(ServiceAt):
    """A service that remembers what was put and got, and can fail or pause when told to."""

    def __init__(self, server: AnyServer) -> None:
        super().__init__(server, Options(retry_seconds=20, stall_seconds=30, max_in_flight=4))
        self.put_indexes: list[int] = []
        self.got_indexes: list[int] = []
        self.fail_put_number: int | None = None
        self.lose_answer_of: set[int] = set()
        self.fail_complete: ClientError | None = None
        self.failure: ClientError = UnreachableError("told to")
        self._count_lock = threading.Lock()

    def put_block(
        self,
        snapshot_id: str,
        block_index: int,
        block: memoryview,
        digest: Digest,
        *,
        stop: object = None,
        recent: bool = False,
        before_sending: Callable[[], None] | None = None,
    ) -> None:
        with self._count_lock:
            if self.fail_put_number is not None and len(self.put_indexes) >= self.fail_put_number:
                raise self.failure
            super().put_block(snapshot_id, block_index, block, digest, recent=recent, before_sending=before_sending)
            self.put_indexes.append(block_index)
            if block_index in self.lose_answer_of:
                raise UnreachableError("the answer was lost")

    def get_block(
        self, snapshot_id: str, block_index: int, token: str, into: memoryview, *, stop: object = None
    ) -> Digest:
        self.got_indexes.append(block_index)
        return super().get_block(snapshot_id, block_index, token, into)

    def complete_snapshot(
        self, snapshot_id: str, changed_block_count: int, aggregate: Digest, *, recent: bool = False
    ) -> str:
        status = super().complete_snapshot(snapshot_id, changed_block_count, aggregate, recent=recent)
        if self.fail_complete is not None:
            raise self.fail_complete
        return status


@pytest.fixture
def service(server: AnyServer) -> Iterator[Watched]:
    with Watched(server) as watched:
        yield watched  # type: ignore[misc]


@pytest.fixture
def state(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "state")
    folders.prepare()
    return folders


def block(text: str) -> bytes:
    return (text * BLOCK_SIZE)[:BLOCK_SIZE].encode()


def image(blocks: dict[int, bytes], size: int = GIB) -> MemoryImage:
    return MemoryImage(blocks, size)


def content(service: Service, snapshot_id: str | None) -> dict[int, bytes]:
    """What a snapshot holds."""
    assert snapshot_id is not None
    found, buffer = {}, memoryview(bytearray(BLOCK_SIZE))
    for page in service.block_pages(snapshot_id):
        for entry in page.blocks:
            Service.get_block(service, snapshot_id, entry.block_index, entry.token, buffer)
            found[entry.block_index] = bytes(buffer)
    return found


def journals(state: Folders) -> int:
    return len(JournalStore(state.journals).list())


BEYOND = DirtyRanges()
BEYOND.add(2_048 * BLOCK_SIZE, 1)

BASE = {0: block("a"), 3: block("b"), 7: block("c"), 2_047: block("d")}


@pytest.fixture
def parent(service: Watched, state: Folders) -> str:
    """A snapshot of BASE; what was put for it is forgotten."""
    uploaded = upload(service, image(BASE), state=state)
    service.put_indexes.clear()
    assert uploaded.snapshot_id is not None
    return uploaded.snapshot_id


def test_an_image_becomes_a_snapshot_of_its_data_alone(service: Watched, state: Folders) -> None:
    uploaded = upload(service, image({**BASE, 5: ZERO}), UploadOptions(description="d", tags={"k": "v"}), state=state)
    assert content(service, uploaded.snapshot_id) == BASE
    assert (uploaded.kind, uploaded.sent_count, uploaded.zero_count, uploaded.volume_size_gib) == ("full", 4, 1, 1)
    assert sorted(service.put_indexes) == [0, 3, 7, 2_047]
    described = service.describe([str(uploaded.snapshot_id)])[0]
    assert (described.state, described.description, dict(described.tags)) == ("completed", "d", {"k": "v"})
    assert journals(state) == 0


def test_on_a_parent_only_what_differs_is_sent_and_gone_data_becomes_zeros(
    service: Watched, state: Folders, parent: str
) -> None:
    now = {0: block("a"), 3: block("B"), 4: block("e"), 2_047: block("d")}
    uploaded = upload(service, image(now), UploadOptions(parent_id=parent), state=state)
    assert sorted(service.put_indexes) == [3, 4, 7]
    assert content(service, uploaded.snapshot_id) == {**now, 7: ZERO}
    assert (uploaded.kind, uploaded.sent_count, uploaded.unchanged_count) == ("incremental", 3, 2)
    assert "digest index" in uploaded.reason
    assert service.got_indexes.count(0) <= 1, "the index is probed, the parent is not read"


def test_zeros_over_a_zero_block_of_the_parent_are_not_sent_again(
    service: Watched, state: Folders, parent: str
) -> None:
    second = upload(service, image({0: block("a")}), UploadOptions(parent_id=parent), state=state)
    service.put_indexes.clear()
    third = upload(service, image({0: block("a"), 3: ZERO}), UploadOptions(parent_id=second.snapshot_id), state=state)
    assert service.put_indexes == []
    assert third.sent_count == 0
    assert content(service, third.snapshot_id) == {0: block("a"), 3: ZERO, 7: ZERO, 2_047: ZERO}


def test_without_an_index_the_parent_is_read_and_that_is_said(service: Watched, state: Folders, parent: str) -> None:
    IndexStore(state.indexes).forget(parent)
    observer = Memory()
    uploaded = upload(
        service, image({**BASE, 3: block("B")}), UploadOptions(parent_id=parent), state=state, observer=observer
    )
    assert service.put_indexes == [3]
    assert sorted(service.got_indexes) == [0, 3, 7, 2_047]
    assert "own blocks" in uploaded.reason
    assert IndexStore(state.indexes).find(parent, 1) is not None


def test_an_index_of_another_content_is_found_out_and_removed(service: Watched, state: Folders, parent: str) -> None:
    other = upload(service, image({**BASE, 0: block("z")}), state=state).snapshot_id
    store = IndexStore(state.indexes)
    wrong = store.find(str(other), 1)
    assert wrong is not None
    store.keep(wrong, parent, 1)
    service.put_indexes.clear()
    observer = service.observer = Memory()
    uploaded = upload(service, image(BASE), UploadOptions(parent_id=parent), state=state)
    assert service.put_indexes == []
    assert content(service, uploaded.snapshot_id) == BASE
    assert any("does not match the snapshot" in message for message in observer.messages("warning"))


def test_a_dirty_bitmap_says_where_to_look(service: Watched, state: Folders, parent: str) -> None:
    dirty = DirtyRanges()
    dirty.add(3 * BLOCK_SIZE + 5, 10)
    dirty.add(7 * BLOCK_SIZE, 2 * BLOCK_SIZE)
    changed = image({0: block("not checked"), 3: block("B"), 2_047: block("d")})
    uploaded = upload(service, changed, UploadOptions(parent_id=parent, dirty=dirty), state=state)
    assert sorted(service.put_indexes) == [3, 7]
    assert set(changed.read_indexes) == {3}
    assert content(service, uploaded.snapshot_id) == {**BASE, 3: block("B"), 7: ZERO}


def test_a_dirty_bitmap_without_an_index_reads_no_parent_and_sends_what_is_dirty(
    service: Watched, state: Folders, parent: str
) -> None:
    IndexStore(state.indexes).forget(parent)
    dirty = DirtyRanges()
    dirty.add(3 * BLOCK_SIZE, BLOCK_SIZE)
    dirty.add(7 * BLOCK_SIZE, BLOCK_SIZE)
    uploaded = upload(service, image({**BASE, 7: ZERO}), UploadOptions(parent_id=parent, dirty=dirty), state=state)
    assert sorted(service.put_indexes) == [3, 7]
    assert service.got_indexes == []
    assert content(service, uploaded.snapshot_id) == {**BASE, 7: ZERO}
    assert "dirty bitmap" in uploaded.reason
    assert IndexStore(state.indexes).find(str(uploaded.snapshot_id), 1) is None


def test_a_stream_is_read_once_in_order(service: Watched, state: Folders) -> None:
    stream = MemoryImage({2: block("x"), 39: block("y")}, 40 * BLOCK_SIZE, sequential=True)
    uploaded = upload(service, stream, state=state)
    assert stream.read_indexes == list(range(40))
    assert content(service, uploaded.snapshot_id) == {2: block("x"), 39: block("y")}


def test_an_odd_size_is_tagged_so_that_a_download_gives_it_back(service: Watched, state: Folders) -> None:
    uploaded = upload(service, image({0: block("a")}, 5 * MIB + 7), state=state)
    assert uploaded.volume_size_gib == 1
    assert service.describe([str(uploaded.snapshot_id)])[0].tags == {"snapstone:size": str(5 * MIB + 7)}


def test_a_dry_run_counts_and_sends_nothing(service: Watched, state: Folders, parent: str) -> None:
    uploaded = upload(service, image({0: block("z")}), UploadOptions(parent_id=parent, dry_run=True), state=state)
    assert (uploaded.snapshot_id, uploaded.sent_count) == (None, 4)
    assert service.put_indexes == []
    assert journals(state) == 0


def test_after_a_failure_that_can_pass_the_same_call_goes_on(service: Watched, state: Folders) -> None:
    blocks = {index: block(chr(97 + index)) for index in range(20)}
    service.fail_put_number = 9
    observer = Memory()
    with pytest.raises(UnreachableError):
        upload(service, image(blocks), state=state, observer=observer)
    assert journals(state) == 1
    begun = observer.notes[-1].facts["snapshot_id"]
    assert "same command to resume" in observer.notes[-1].message
    before = list(service.put_indexes)
    service.fail_put_number = None
    uploaded = upload(service, image(blocks), state=state)
    assert uploaded.snapshot_id == begun
    assert sorted(service.put_indexes) == list(range(20)), "no block was put twice"
    assert uploaded.resumed_count == len(before)
    assert content(service, uploaded.snapshot_id) == blocks
    assert journals(state) == 0


def test_an_image_that_changed_between_two_runs_gives_the_image_of_the_second(
    service: Watched, state: Folders, parent: str
) -> None:
    service.fail_put_number = 3
    with pytest.raises(UnreachableError):
        upload(
            service,
            image({0: block("1"), 3: block("2"), 9: block("3"), 11: block("4")}),
            UploadOptions(parent_id=parent),
            state=state,
        )
    service.fail_put_number = None
    second = {0: block("a"), 3: block("x"), 2_047: block("d")}
    uploaded = upload(service, image(second), UploadOptions(parent_id=parent), state=state)
    found = content(service, uploaded.snapshot_id)
    assert {index: data for index, data in found.items() if data != ZERO} == second


def test_a_killed_run_that_had_sealed_is_recognized(service: Watched, state: Folders) -> None:
    service.fail_complete = UnreachableError("the answer was lost")
    with pytest.raises(UnreachableError):
        upload(service, image(BASE), state=state)
    service.fail_complete = None
    count = len(service.put_indexes)
    uploaded = upload(service, image(BASE), state=state)
    assert len(service.put_indexes) == count
    assert content(service, uploaded.snapshot_id) == BASE
    assert IndexStore(state.indexes).find(str(uploaded.snapshot_id), 1) is not None


def test_an_image_that_changed_after_a_killed_run_had_sealed_gets_a_snapshot_of_its_own(
    service: Watched, state: Folders
) -> None:
    service.fail_complete = UnreachableError("the answer was lost")
    observer = Memory()
    with pytest.raises(UnreachableError):
        upload(service, image(BASE), state=state, observer=observer)
    sealed = str(observer.notes[-1].facts["snapshot_id"])
    service.fail_complete = None
    now = {**BASE, 3: block("today"), 9: block("new")}
    uploaded = upload(service, image(now), state=state, observer=observer)
    assert uploaded.snapshot_id != sealed
    assert content(service, uploaded.snapshot_id) == now
    assert content(service, sealed) == BASE
    assert any(sealed in message and "starting over" in message for message in observer.messages("warning"))
    assert journals(state) == 0


def test_an_image_that_only_grew_after_a_killed_run_had_sealed_is_of_its_new_size(
    service: Watched, state: Folders
) -> None:
    service.fail_complete = UnreachableError("the answer was lost")
    with pytest.raises(UnreachableError):
        upload(service, image({0: block("a")}, 5 * MIB), state=state)
    sealed = {one.snapshot_id for one in service.describe()}
    service.fail_complete = None
    uploaded = upload(service, image({0: block("a")}, 6 * MIB), state=state)
    assert uploaded.snapshot_id not in sealed
    assert service.describe([str(uploaded.snapshot_id)])[0].tags == {"snapstone:size": str(6 * MIB)}
    assert sealed <= {one.snapshot_id for one in service.describe()}


def test_a_block_whose_acknowledgement_was_lost_is_sent_again_even_if_it_is_zero_by_now(
    service: Watched, state: Folders, parent: str
) -> None:
    service.lose_answer_of = {3, 9}
    with pytest.raises(UnreachableError):
        upload(service, image({**BASE, 3: block("x"), 9: block("y")}), UploadOptions(parent_id=parent), state=state)
    with pytest.raises(UnreachableError):
        upload(service, image({**BASE, 3: block("x"), 9: block("y")}), UploadOptions(parent_id=parent), state=state)
    service.lose_answer_of = set()
    uploaded = upload(service, image(BASE), UploadOptions(parent_id=parent), state=state)
    found = content(service, uploaded.snapshot_id)
    assert {index: data for index, data in found.items() if data != ZERO} == BASE


def test_an_image_that_has_another_size_by_now_is_begun_anew(service: Watched, state: Folders) -> None:
    service.fail_put_number = 2
    observer = Memory()
    with pytest.raises(UnreachableError):
        upload(service, image({0: block("a"), 1: block("b"), 2: block("c")}, 5 * MIB), state=state, observer=observer)
    begun = str(observer.notes[-1].facts["snapshot_id"])
    service.fail_put_number = None
    uploaded = upload(service, image({0: block("a")}, 6 * MIB), state=state)
    assert service.describe([str(uploaded.snapshot_id)])[0].tags == {"snapstone:size": str(6 * MIB)}
    assert content(service, uploaded.snapshot_id) == {0: block("a")}
    with pytest.raises(NotFoundError):
        service.describe([begun])


@pytest.mark.parametrize("sequential", [False, True])
def test_what_no_later_run_can_go_on_with_is_taken_back(service: Watched, state: Folders, sequential: bool) -> None:
    service.fail_put_number = 1
    observer = Memory()
    source = MemoryImage(BASE if not sequential else {0: block("a"), 1: block("b")}, GIB if not sequential else MIB)
    source.sequential = sequential
    with pytest.raises(UnreachableError):
        upload(service, source, UploadOptions(resume=sequential), state=state, observer=observer)
    started = next(note for note in observer.notes if note.kind == "started").facts["snapshot_id"]
    with pytest.raises(NotFoundError):
        service.describe([str(started)])
    assert journals(state) == 0
    assert observer.messages("unfinished") == []


def test_blocks_of_an_earlier_run_are_looked_at_outside_of_the_dirty_bitmap_too(
    service: Watched, state: Folders, parent: str
) -> None:
    service.fail_put_number = 1
    first, second = DirtyRanges(), DirtyRanges()
    first.add(0, 2048 * BLOCK_SIZE)
    second.add(7 * BLOCK_SIZE, BLOCK_SIZE)
    with pytest.raises(UnreachableError):
        upload(
            service,
            image({**BASE, 0: block("x"), 9: block("y")}),
            UploadOptions(parent_id=parent, dirty=first),
            state=state,
        )
    service.fail_put_number = None
    uploaded = upload(
        service, image({**BASE, 7: block("z")}), UploadOptions(parent_id=parent, dirty=second), state=state
    )
    found = content(service, uploaded.snapshot_id)
    assert {index: data for index, data in found.items() if data != ZERO} == {**BASE, 7: block("z")}


def test_a_login_that_expired_costs_no_work(service: Watched, state: Folders) -> None:
    service.fail_put_number, service.failure = 2, ExpiredCredentialsError("log in again")
    with pytest.raises(ExpiredCredentialsError):
        upload(service, image(BASE), state=state)
    service.fail_put_number = None
    uploaded = upload(service, image(BASE), state=state)
    assert uploaded.resumed_count == 2
    assert content(service, uploaded.snapshot_id) == BASE


def test_a_snapshot_that_is_gone_is_started_anew_and_that_is_said(service: Watched, state: Folders) -> None:
    service.fail_put_number = 2
    observer = Memory()
    with pytest.raises(UnreachableError):
        upload(service, image(BASE), state=state, observer=observer)
    gone = str(observer.notes[-1].facts["snapshot_id"])
    service.delete_snapshot(gone)
    service.fail_put_number = None
    service.put_indexes.clear()
    uploaded = upload(service, image(BASE), state=state, observer=observer)
    assert uploaded.snapshot_id != gone
    assert sorted(service.put_indexes) == sorted(BASE)
    assert content(service, uploaded.snapshot_id) == BASE
    assert any(gone in message for message in observer.messages("warning"))


def test_a_final_failure_leaves_no_snapshot_behind(service: Watched, state: Folders) -> None:
    service.fail_put_number, service.failure = 1, DeniedError("no")
    observer = Memory()
    with pytest.raises(DeniedError):
        upload(service, image(BASE), state=state, observer=observer)
    started = next(note for note in observer.notes if note.kind == "started").facts["snapshot_id"]
    with pytest.raises(NotFoundError):
        service.describe([str(started)])
    assert journals(state) == 0


def test_a_final_failure_leaves_the_snapshot_where_asked_to(service: Watched, state: Folders) -> None:
    service.fail_put_number, service.failure = 1, DeniedError("no")
    observer = Memory()
    with pytest.raises(DeniedError):
        upload(service, image(BASE), UploadOptions(keep_failed=True), state=state, observer=observer)
    started = next(note for note in observer.notes if note.kind == "started").facts["snapshot_id"]
    assert service.describe([str(started)])[0].state == "pending"


def test_an_image_that_is_written_to_meanwhile_is_no_snapshot(service: Watched, state: Folders) -> None:
    class Changing(MemoryImage):
        def read(self, block_index: int, into: memoryview) -> None:
            super().read(block_index, into)
            self.version += 1

    observer = Memory()
    with pytest.raises(SourceChangedError, match="version changed"):
        upload(service, Changing(BASE, GIB), state=state, observer=observer)
    started = next(note for note in observer.notes if note.kind == "started").facts["snapshot_id"]
    with pytest.raises(NotFoundError):
        service.describe([str(started)])


def test_a_block_that_cannot_be_read_ends_the_upload_and_is_named(service: Watched, state: Folders) -> None:
    class Broken(MemoryImage):
        def read(self, block_index: int, into: memoryview) -> None:
            raise OSError(5, "Input/output error")

    with pytest.raises(ClientError, match="memory: block 0 cannot be read: Input/output error"):
        upload(service, Broken({0: block("a")}, GIB), state=state)


def test_an_aggregate_that_the_endpoint_does_not_accept_is_an_error(
    service: Watched, state: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "snapstone.client.transfer.digests.DigestTable.summary", lambda _: (4, digest_of(b"something else"))
    )
    with pytest.raises(RemoteError, match="ended in error"):
        upload(service, image(BASE), state=state)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dirty": DirtyRanges()}, "needs the parent"),
        ({"parent_id": "PARENT", "encrypted": True}, "as its parent is"),
        ({"parent_id": "PARENT", "volume_size_gib": 0}, None),
        ({"volume_size_gib": 1, "size": 2 * GIB}, "needs 2 GiB"),
        ({"parent_id": "PARENT", "dirty": BEYOND}, "beyond the end of memory"),
        ({"size": 0}, "is empty"),
        ({"size": 65_537 * GIB}, "at most 64 TiB"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_started(
    service: Watched, state: Folders, parent: str, arguments: dict[str, object], words: str | None
) -> None:
    options = {name: parent if value == "PARENT" else value for name, value in arguments.items()}
    size = options.pop("size", GIB)
    before = len(service.describe())
    if words is None:
        assert isinstance(upload(service, image({}), UploadOptions(**options), state=state), UploadResult)  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError, match=words):
        upload(service, image({}, size), UploadOptions(**options), state=state)  # type: ignore[arg-type]
    assert len(service.describe()) == before


def test_a_right_that_is_needed_at_the_end_is_missed_at_the_beginning(
    service: Watched, state: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "may_complete", lambda: False)
    observer = Memory()
    upload(service, image(BASE), state=state, observer=observer)
    assert any("ebs:CompleteSnapshot" in message for message in observer.messages("warning"))


def test_a_parent_that_does_not_exist_is_named(service: Watched, state: Folders) -> None:
    with pytest.raises(NotFoundError, match="snap-0123456789abcdef0"):
        upload(service, image(BASE), UploadOptions(parent_id="snap-0123456789abcdef0"), state=state)
    assert journals(state) == 0


def test_two_uploads_of_one_image_at_once_are_refused(service: Watched, state: Folders) -> None:
    release, inside, refused = threading.Event(), threading.Event(), []

    class Slow(MemoryImage):
        def read(self, block_index: int, into: memoryview) -> None:
            inside.set()
            release.wait(10)
            super().read(block_index, into)

    first = threading.Thread(target=lambda: upload(service, Slow(BASE, GIB), state=state))
    first.start()
    assert inside.wait(10)
    try:
        upload(service, Slow(BASE, GIB), state=state)
    except UsageError as error:
        refused.append(str(error))
    release.set()
    first.join()
    assert len(refused) == 1
