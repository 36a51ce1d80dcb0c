"""Downloads from a real server into real files: whole, as an increment, resumed, and refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import which

import pytest

from snapstone.client.errors import ClientError, DamagedError, DeniedError, NotFoundError, UnreachableError, UsageError
from snapstone.client.images.sources import open_source
from snapstone.client.transfer.download import DownloadOptions, download
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.upload import UploadOptions, upload
from snapstone.core.blocks import BLOCK_SIZE, Digest
from tests.server_process import ServerProcess
from tests.unit.client.losing_disk import LosingDisk
from tests.unit.client.transfer.test_upload import BASE, GIB, MIB, ZERO, Watched, block, image, journals
from tests.unit.client.transfer.two_sides import Memory


class Failing(Watched):
    """Fails gets after so many."""

    fail_get_number: int | None = None
    get_failure: ClientError = UnreachableError("told to")

    def get_block(
        self, snapshot_id: str, block_index: int, token: str, into: memoryview, *, stop: object = None
    ) -> Digest:
        with self._count_lock:
            if self.fail_get_number is not None and len(self.got_indexes) >= self.fail_get_number:
                raise self.get_failure
            return super().get_block(snapshot_id, block_index, token, into)


@pytest.fixture
def service(server: ServerProcess) -> Iterator[Failing]:
    with Failing(server) as failing:
        yield failing  # type: ignore[misc]


@pytest.fixture
def state(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "state")
    folders.prepare()
    return folders


def snapshot_of(service: Failing, state: Folders, blocks: dict[int, bytes], parent_id: str | None = None) -> str:
    uploaded = upload(service, image(blocks), UploadOptions(parent_id=parent_id), state=state)
    service.got_indexes.clear()
    assert uploaded.snapshot_id is not None
    return uploaded.snapshot_id


def blocks_in(path: Path) -> dict[int, bytes]:
    """The blocks of a file that are not zero, found where the file system has data."""
    found, size = {}, path.stat().st_size
    with path.open("rb", buffering=0) as file:
        offset = 0
        while offset < size:
            try:
                offset = os.lseek(file.fileno(), offset, os.SEEK_DATA)
            except OSError:
                break
            index = offset // BLOCK_SIZE
            data = os.pread(file.fileno(), BLOCK_SIZE, index * BLOCK_SIZE)
            if data != bytes(len(data)):
                found[index] = data
            offset = (index + 1) * BLOCK_SIZE
    return found


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_snapshot_becomes_a_sparse_file_of_the_volumes_size(service: Failing, state: Folders, tmp_path: Path) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    path = tmp_path / "image"
    downloaded = download(service, snapshot_id, str(path), state=state)
    assert blocks_in(path) == BASE
    assert path.stat().st_size == GIB
    assert path.stat().st_blocks * 512 < 16 * MIB
    assert (downloaded.kind, downloaded.received_count, downloaded.size) == ("full", 4, GIB)
    assert journals(state) == 0
    assert parts(tmp_path) == []


def test_an_odd_size_comes_back(service: Failing, state: Folders, tmp_path: Path) -> None:
    odd = 5 * MIB + 7
    tail = b"x" * (odd % BLOCK_SIZE)
    uploaded = upload(service, image({10: tail.ljust(BLOCK_SIZE, b"\0")}, odd), state=state)
    path = tmp_path / "image"
    download(service, str(uploaded.snapshot_id), str(path), state=state)
    assert path.read_bytes() == bytes(10 * BLOCK_SIZE) + tail


def test_an_increment_changes_what_changed_and_makes_zeros_of_what_is_gone(
    service: Failing, state: Folders, tmp_path: Path
) -> None:
    root = snapshot_of(service, state, {0: block("a"), 3: block("b")})
    left = snapshot_of(service, state, {0: block("a"), 3: block("b"), 5: block("only left")}, root)
    right = snapshot_of(service, state, {0: block("A"), 3: block("b"), 9: block("r")}, root)
    path = tmp_path / "image"
    download(service, left, str(path), state=state)
    service.got_indexes.clear()
    downloaded = download(service, right, str(path), DownloadOptions(from_snapshot_id=left, force=True), state=state)
    assert blocks_in(path) == {0: block("A"), 3: block("b"), 9: block("r")}
    assert (downloaded.kind, downloaded.received_count, downloaded.zero_count) == ("incremental", 2, 1)


def test_an_increment_onto_another_image_is_refused_and_changes_nothing(
    service: Failing, state: Folders, tmp_path: Path
) -> None:
    first = snapshot_of(service, state, BASE)
    second = snapshot_of(service, state, {**BASE, 3: block("B")}, first)
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(GIB)
        file.write(block("something else"))
    with pytest.raises(UsageError, match=f"does not hold {first}: block 0"):
        download(service, second, str(path), DownloadOptions(from_snapshot_id=first, force=True), state=state)
    assert blocks_in(path) == {0: block("something else")}
    assert parts(tmp_path) == []
    assert journals(state) == 0


def test_a_file_that_is_there_is_not_overwritten_unless_forced(
    service: Failing, state: Folders, tmp_path: Path
) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    path = tmp_path / "image"
    path.write_text("precious")
    with pytest.raises(UsageError, match="image"):
        download(service, snapshot_id, str(path), state=state)
    assert path.read_text() == "precious"
    download(service, snapshot_id, str(path), DownloadOptions(force=True), state=state)
    assert blocks_in(path) == BASE


def test_after_a_failure_that_can_pass_only_the_rest_is_received(
    service: Failing, state: Folders, tmp_path: Path
) -> None:
    blocks = {index: block(chr(97 + index)) for index in range(20)}
    snapshot_id = snapshot_of(service, state, blocks)
    path = tmp_path / "image"
    service.fail_get_number = 8
    observer = Memory()
    with pytest.raises(UnreachableError):
        download(service, snapshot_id, str(path), state=state, observer=observer)
    assert not path.exists()
    assert "same command to resume" in observer.notes[-1].message
    service.fail_get_number = None
    downloaded = download(service, snapshot_id, str(path), state=state)
    assert sorted(service.got_indexes) == list(range(20)), "no block was received twice"
    assert downloaded.resumed_count == 8
    assert blocks_in(path) == blocks
    assert parts(tmp_path) == []


def test_what_the_partial_file_lost_is_received_again(service: Failing, state: Folders, tmp_path: Path) -> None:
    blocks = {index: block(chr(97 + index)) for index in range(10)}
    snapshot_id = snapshot_of(service, state, blocks)
    path = tmp_path / "image"
    service.fail_get_number = 6
    with pytest.raises(UnreachableError):
        download(service, snapshot_id, str(path), state=state)
    part = tmp_path / parts(tmp_path)[0]
    lost = service.got_indexes[0]
    with part.open("r+b") as file:
        file.seek(lost * BLOCK_SIZE)
        file.write(b"torn by a loss of power")
    service.fail_get_number = None
    downloaded = download(service, snapshot_id, str(path), state=state)
    assert downloaded.resumed_count == 5
    assert blocks_in(path) == blocks


def test_a_final_failure_leaves_nothing(service: Failing, state: Folders, tmp_path: Path) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    service.fail_get_number, service.get_failure = 2, DeniedError("no")
    with pytest.raises(DeniedError):
        download(service, snapshot_id, str(tmp_path / "image"), state=state)
    assert list(tmp_path.iterdir()) == [state.root]


def test_without_resume_what_was_left_is_thrown_away(service: Failing, state: Folders, tmp_path: Path) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    path = tmp_path / "image"
    service.fail_get_number = 3
    with pytest.raises(UnreachableError):
        download(service, snapshot_id, str(path), state=state)
    service.fail_get_number = None
    service.got_indexes.clear()
    downloaded = download(service, snapshot_id, str(path), DownloadOptions(resume=False), state=state)
    assert (downloaded.received_count, downloaded.resumed_count) == (4, 0)
    assert blocks_in(path) == BASE
    assert journals(state) == 0


def test_a_run_that_was_killed_after_the_image_had_got_its_name_was_done(
    service: Failing, state: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    path = tmp_path / "image"
    with monkeypatch.context() as patched:
        patched.setattr("snapstone.client.transfer.download.IndexStore", killed)
        with pytest.raises(KeyboardInterrupt):
            download(service, snapshot_id, str(path), state=state)
    assert path.exists()
    service.got_indexes.clear()
    downloaded = download(service, snapshot_id, str(path), state=state)
    assert (downloaded.received_count, downloaded.resumed_count, service.got_indexes) == (0, 4, [])
    assert journals(state) == 0
    with pytest.raises(UsageError, match="exists"):
        download(service, snapshot_id, str(path), state=state)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_increment_without_resume_begins_with_the_image_again(
    service: Failing, state: Folders, tmp_path: Path
) -> None:
    first = snapshot_of(service, state, BASE)
    second = snapshot_of(service, state, {index: block(f"n{index}") for index in BASE}, first)
    path = tmp_path / "image"
    download(service, first, str(path), state=state)
    service.got_indexes.clear()
    service.fail_get_number = 3
    with pytest.raises(UnreachableError):
        download(service, second, str(path), DownloadOptions(from_snapshot_id=first), state=state)
    service.fail_get_number = None
    downloaded = download(
        service, second, str(path), DownloadOptions(from_snapshot_id=first, resume=False), state=state
    )
    assert (downloaded.received_count, downloaded.resumed_count) == (4, 0)
    assert blocks_in(path) == {index: block(f"n{index}") for index in BASE}


def test_a_downloaded_snapshot_has_an_index(service: Failing, state: Folders, tmp_path: Path) -> None:
    snapshot_id = snapshot_of(service, state, {**BASE, 5: ZERO})
    store = IndexStore(state.indexes)
    store.forget(snapshot_id)
    download(service, snapshot_id, str(tmp_path / "image"), state=state)
    found = store.find(snapshot_id, 1)
    assert found is not None
    assert [index for index, _ in found.items()] == sorted(BASE)


def test_a_dry_run_receives_nothing(service: Failing, state: Folders, tmp_path: Path) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    downloaded = download(service, snapshot_id, str(tmp_path / "image"), DownloadOptions(dry_run=True), state=state)
    assert (downloaded.received_count, service.got_indexes) == (4, [])
    assert list(tmp_path.iterdir()) == [state.root]


def test_a_snapshot_that_does_not_exist_is_named(service: Failing, state: Folders, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="snap-0123456789abcdef0"):
        download(service, "snap-0123456789abcdef0", str(tmp_path / "image"), state=state)


def test_changes_to_standard_output_are_refused(service: Failing, state: Folders) -> None:
    with pytest.raises(UsageError, match="--from"):
        download(service, "snap-1", "-", DownloadOptions(from_snapshot_id="snap-2"), state=state)


def test_what_was_written_before_a_failed_sync_is_written_again(
    service: Failing, state: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    path, observer = tmp_path / "image", Memory()
    disk = LosingDisk(tmp_path / "disk", monkeypatch)
    disk.failing = ".part"
    with pytest.raises(DamagedError, match="part cannot be made durable: Input/output error"):
        download(service, snapshot_id, str(path), state=state, observer=observer)
    assert not path.exists()
    (part,) = tmp_path.glob(".*.part")
    assert (blocks_in(part), blocks_in(disk.after_power_loss(part))) == (BASE, {})
    assert "write again what may not be on the disk" in observer.messages("unfinished")[0]
    service.got_indexes.clear()
    downloaded = download(service, snapshot_id, str(path), state=state)
    assert (downloaded.received_count, downloaded.resumed_count, service.got_indexes) == (0, 4, [])
    assert blocks_in(disk.after_power_loss(path)) == blocks_in(path) == BASE


def test_changes_written_before_a_failed_sync_are_written_again(
    service: Failing, state: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = snapshot_of(service, state, BASE)
    second = snapshot_of(service, state, {**BASE, 3: block("B"), 9: block("n")}, first)
    path = tmp_path / "image"
    download(service, first, str(path), state=state)
    disk = LosingDisk(tmp_path / "disk", monkeypatch)
    # The copy of the image is synced before it gets the part's name; the part is synced at the end.
    disk.failing = ".part"
    with pytest.raises(DamagedError):
        download(service, second, str(path), DownloadOptions(from_snapshot_id=first), state=state)
    assert blocks_in(path) == BASE
    download(service, second, str(path), DownloadOptions(from_snapshot_id=first), state=state)
    assert blocks_in(path) == {**BASE, 3: block("B"), 9: block("n")}
    assert blocks_in(disk.after_power_loss(path)) == {3: block("B"), 9: block("n")}


def test_an_image_with_tables_is_begun_anew_after_a_failed_sync(
    service: Failing, state: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if which("qemu-nbd") is None or which("qemu-img") is None:
        pytest.skip("qemu-utils is not installed")
    snapshot_id = snapshot_of(service, state, BASE)
    path = tmp_path / "image.qcow2"
    disk = LosingDisk(tmp_path / "disk", monkeypatch)
    disk.failing = ".part"
    with pytest.raises(DamagedError):
        download(service, snapshot_id, str(path), DownloadOptions(format="qcow2"), state=state)
    (part,) = tmp_path.glob(".*.part")
    with part.open() as left:  # While it is open no other file gets its number.
        downloaded = download(service, snapshot_id, str(path), DownloadOptions(format="qcow2"), state=state)
        assert not os.path.samestat(os.fstat(left.fileno()), path.stat())
    assert (downloaded.received_count, downloaded.resumed_count) == (4, 0)
    with closing(open_source(path, format="qcow2")) as image:
        into = memoryview(bytearray(BLOCK_SIZE))
        for block_index, wanted in BASE.items():
            image.read(block_index, into)
            assert into == wanted


def test_a_name_that_could_not_be_made_durable_is_synced_again(
    service: Failing, state: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    folder = tmp_path / "folder"
    folder.mkdir()
    disk, synced, sync = LosingDisk(tmp_path / "disk", monkeypatch), [], os.fsync

    def recorded_sync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if synced[-1] == str(folder) and synced.count(str(folder)) == 1:
            disk.failing = str(folder)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    with pytest.raises(DamagedError, match="be renamed"):
        download(service, snapshot_id, str(folder / "image"), state=state)
    assert download(service, snapshot_id, str(folder / "image"), state=state).resumed_count == 4
    assert synced.count(str(folder)) == 2


def test_a_download_that_is_done_is_done_even_where_its_journal_stays(
    service: Failing, state: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = snapshot_of(service, state, BASE)
    observer, unlink = Memory(), Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".journal":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        download(service, snapshot_id, str(tmp_path / "image"), state=state, observer=observer)
    assert blocks_in(tmp_path / "image") == BASE
    assert "could not remove a finished journal" in observer.messages("warning")[0]
    assert download(service, snapshot_id, str(tmp_path / "image"), state=state).resumed_count == 4
