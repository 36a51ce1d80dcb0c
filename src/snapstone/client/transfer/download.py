"""A snapshot into an image: blocks in any order, each checked, into a target that becomes visible whole.

A journal of an earlier run is trusted only for blocks that the target still has: each is read and hashed.
If that run reached the final sync, which may have failed, each is written again too: reading what was
written before a failed sync proves nothing.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.api.values import SnapshotInfo
from snapstone.client.errors import ClientError, DeniedError, NotFoundError, UsageError, refusal
from snapstone.client.events import Note, NullObserver, Observer, Tally
from snapstone.client.images.contract import Target
from snapstone.client.images.part_file import check_space, part_path
from snapstone.client.images.sources import RAW, open_source
from snapstone.client.images.targets import open_target
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import Journal, JournalStore
from snapstone.client.transfer.parent import probes
from snapstone.client.transfer.pipeline import StopSignal, run
from snapstone.client.transfer.stream_out import Fetch, changed, listed, with_gaps, write_out
from snapstone.client.transfer.upload import SIZE_TAG
from snapstone.core.blocks import BLOCK_SIZE, GIB, ZERO_DIGEST, Digest, digest_of
from snapstone.system.files import sync_folder

COMMITTING: Final = "committing"
"""Stage of a journal: every block is written, and the image is synced and gets its name. If a run finds both this
stage and an unfinished image, that sync may have failed: what is read of the image may be in memory alone."""


@dataclass(frozen=True)
class DownloadPlace:
    """An image of `size` bytes that is to hold a snapshot; with `from_id`, one that holds that already."""

    service: Service
    path: str
    snapshot_id: str
    from_id: str | None
    size: int
    format: str | None
    force: bool

    @property
    def key(self) -> Mapping[str, object]:
        """The facts that make two runs the same download."""
        return {
            "kind": "download",
            "endpoint": self.service.endpoint.url,
            "region": self.service.endpoint.region,
            "snapshot_id": self.snapshot_id,
            "from_snapshot_id": self.from_id,
            "target": os.path.abspath(self.path),
            "size": self.size,
            "format": self.format,
        }

    @property
    def _part_name(self) -> str:
        return self.snapshot_id if self.from_id is None else f"{self.from_id}.{self.snapshot_id}"

    def open(self, journal: Journal, *, resume: bool) -> Target:
        """The target; what an earlier run left of it is thrown away without `resume`, and if a sync of it may have
        failed that cannot be made good by writing the blocks again."""
        target = self._opened()
        sound = target.fixed_places or journal.facts.get("stage") != COMMITTING
        if target.resumed and not (resume and sound):
            target.discard()
            target = self._opened()
        return target

    def _opened(self) -> Target:
        return open_target(
            self.path,
            self.size,
            part_name=self._part_name,
            force=self.force,
            format=self.format,
            existing=self.from_id is not None,
        )

    def published_count(self, journal: Journal) -> int | None:
        """Blocks of an image that got its name just before an earlier run was killed; None if it did not.

        It was synced before it got its name, so what is read of it is on the disk; its name may not be.
        """
        place = Path(os.path.abspath(self.path))
        parts = [part_path(place, name) for name in (self._part_name, f"{self._part_name}.{self.format}")]
        if journal.facts.get("stage") != COMMITTING or not place.is_file() or any(map(os.path.lexists, parts)):
            return None
        buffer, count = memoryview(bytearray(BLOCK_SIZE)), 0
        with closing(open_source(place, format=self.format or RAW)) as image:
            for block_index, digest in journal.table.items():
                if block_index * BLOCK_SIZE < image.size:
                    image.read(block_index, buffer)
                    if digest_of(buffer) != digest:
                        return None
                count += 1
        try:
            sync_folder(place.parent)
        except OSError as error:
            raise refusal(error, str(place), "keep its name") from error
        return count

    def check_not_half_way(self, store: JournalStore) -> None:
        """A device that is half way to another snapshot holds a mixture: changes applied to it would make another."""
        if self.from_id is None or not os.path.exists(self.path) or not stat.S_ISBLK(os.stat(self.path).st_mode):
            return
        for kept in store.list():
            other = kept.facts.get("key")
            if isinstance(other, Mapping) and other.get("target") == self.key["target"] and dict(other) != self.key:
                raise UsageError(
                    f"{self.path} is partly updated to {other.get('snapshot_id')}: finish that download, or download "
                    "the whole snapshot without --from"
                )

    def check_holds(self, target: Target, volume_size: int) -> None:
        """Look at a few blocks of `from_id`, here and there: a wrong image would become a mixture of two."""
        if self.from_id is None:
            return
        wanted, found = memoryview(bytearray(BLOCK_SIZE)), memoryview(bytearray(BLOCK_SIZE))
        for _, block in probes(self.service, self.from_id, volume_size // BLOCK_SIZE):
            if block is None:
                continue
            digest = self.service.get_block(self.from_id, block.block_index, block.token, wanted)
            target.read(block.block_index, found)
            if digest_of(found) != digest:
                raise UsageError(
                    f"{self.path} does not hold {self.from_id}: block {block.block_index} does not match. Give the "
                    "snapshot that it holds, or download the whole snapshot without --from"
                )


STANDARD_OUTPUT: Final = "-"


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """Options of a download."""

    from_snapshot_id: str | None = None
    """A snapshot that the image holds: only what changed since is written to it."""
    size: int | None = None
    """Bytes of the image; by default what the upload noted, else the volume's."""
    force: bool = False
    """Overwrite a file or device that exists."""
    format: str | None = None
    """Of a new image; raw by default."""
    resume: bool = True
    """The state of an earlier, interrupted run of the same download."""
    dry_run: bool = False
    """Count what would be received, and write nothing."""


@dataclass(frozen=True)
class DownloadResult:
    """The result of a download."""

    snapshot_id: str
    kind: str
    """`full` or `incremental`."""
    reason: str
    size: int
    """Bytes of the image."""
    received_count: int
    """Blocks received."""
    zero_count: int
    """Blocks made zeros without receiving them."""
    resumed_count: int
    """Blocks that an earlier run had written."""
    seconds: float


def download(
    service: Service,
    snapshot_id: str,
    path: str | os.PathLike[str],
    options: DownloadOptions | None = None,
    *,
    state: Folders | None = None,
    observer: Observer | None = None,
) -> DownloadResult:
    """Make an image of a snapshot (`-`: standard output). Raises ClientError; after a resumable one the same call
    resumes.
    """
    options = options or DownloadOptions()
    folders = state or Folders.standard()
    folders.prepare()
    return _Download(service, snapshot_id, os.fspath(path), options, observer or NullObserver()).run(folders)


class _Download:
    def __init__(
        self, service: Service, snapshot_id: str, path: str, options: DownloadOptions, observer: Observer
    ) -> None:
        self._service = service
        self._snapshot_id = snapshot_id
        self._path = path
        self._options = options
        self._from_id = options.from_snapshot_id
        self._observer = observer
        if path == STANDARD_OUTPUT and options.from_snapshot_id is not None:
            raise UsageError("--from updates an image and cannot be used with standard output")
        self._stop = StopSignal()
        self._tally = Tally("download")
        self._began_at = time.monotonic()
        self._volume_size = service.volume_size_gib(snapshot_id) * GIB
        self._info = described(service, snapshot_id)

    def run(self, folders: Folders) -> DownloadResult:
        options = self._options
        image_size = self._image_size(options.size)
        kind = "full" if self._from_id is None else "incremental"
        reason = "no --from given" if self._from_id is None else f"changes since {self._from_id}"
        self._observer.note(Note("plan", f"{kind} download: {reason}", {"download": kind, "reason": reason}))
        if options.dry_run:
            self._count()
        elif self._path == STANDARD_OUTPUT:
            self._expect_full()
            write_out(self._service, self._snapshot_id, image_size, sys.stdout.fileno(), self._tally, self._observer)
        else:
            place = DownloadPlace(
                self._service,
                self._path,
                self._snapshot_id,
                self._from_id,
                image_size,
                options.format,
                options.force,
            )
            self._make(place, folders, resume=options.resume)
        return DownloadResult(
            snapshot_id=self._snapshot_id,
            kind=kind,
            reason=reason,
            size=image_size,
            received_count=self._tally.moved_count,
            zero_count=self._tally.zero_count,
            resumed_count=self._tally.resumed_count,
            seconds=time.monotonic() - self._began_at,
        )

    def _image_size(self, asked: int | None) -> int:
        """The requested size, else that of the upload, of the image to update, or of the volume."""
        if asked is not None:
            return asked
        noted = "" if self._info is None else self._info.tags.get(SIZE_TAG, "")
        if noted.isdecimal() and 0 < int(noted) <= self._volume_size:
            return int(noted)
        if self._from_id is not None:
            status = os.stat(self._path) if os.path.exists(self._path) else None
            if status and stat.S_ISREG(status.st_mode) and -(-status.st_size // GIB) * GIB == self._volume_size:
                return status.st_size
        return self._volume_size

    def _make(self, place: DownloadPlace, folders: Folders, *, resume: bool) -> None:
        store, block_count = JournalStore(folders.journals, self._observer), self._volume_size // BLOCK_SIZE
        place.check_not_half_way(store)
        if not resume:
            store.open_or_create(place.key, block_count).remove()
        with store.open_or_create(place.key, block_count) as journal:
            published_count = place.published_count(journal)
            if published_count is None:
                self._fill(self._opened(place, journal, resume=resume), place, journal)
            else:
                self._tally.add(resumed=published_count)
                self._observer.note(Note("resumed", f"{self._path} is already complete", {"target": self._path}))
            self._keep_index(folders, journal)
            journal.finish(self._observer)

    def _opened(self, place: DownloadPlace, journal: Journal, *, resume: bool) -> Target:
        try:
            return place.open(journal, resume=resume)
        except ClientError:
            if not journal.resumed:
                journal.finish(self._observer)
            raise

    def _fill(self, target: Target, place: DownloadPlace, journal: Journal) -> None:
        try:
            self._prepare(target, place, journal)
            self._move(target, journal)
        except ClientError as error:
            self._after_failure(target, journal, error)
            raise
        except BaseException:
            target.leave()
            raise
        # The stage comes first: a run that finds it with an unfinished image writes every block again (`_write`).
        try:
            journal.update({"stage": COMMITTING})
            target.commit()
        except ClientError:
            target.leave()
            text = f"{self._path} is incomplete; run the same command to write again what may not be on the disk"
            self._observer.note(Note("unfinished", text, {"target": self._path}))
            raise

    def _after_failure(self, target: Target, journal: Journal, error: ClientError) -> None:
        """Leave what can be resumed, and nothing else."""
        if error.resumable:
            target.leave()
            text = f"{self._path} is incomplete; run the same command to resume"
            self._observer.note(Note("unfinished", text, {"target": self._path}))
        else:
            target.discard()
            journal.finish(self._observer)

    def _prepare(self, target: Target, place: DownloadPlace, journal: Journal) -> None:
        """Check in advance what can be known to fail."""
        if journal.resumed:
            count = journal.table.count()
            text = f"resuming {self._path} ({count} blocks already there)"
            self._observer.note(Note("resumed", text, {"target": self._path, "written_count": count}))
        else:
            place.check_holds(target, self._volume_size)
        if target.fresh and self._info is not None and self._info.full_size is not None and not journal.resumed:
            check_space(self._path, self._info.full_size)

    def _fetches(self, *, fresh: bool) -> Iterator[Fetch]:
        if self._from_id is not None:
            return changed(self._service.changed_pages(self._from_id, self._snapshot_id))
        blocks = listed(self._service.block_pages(self._snapshot_id))
        return blocks if fresh else with_gaps(blocks, self._volume_size // BLOCK_SIZE)

    def _count(self) -> None:
        """A dry run: what would be received, and what would be made zeros."""
        for fetch in self._fetches(fresh=True):
            self._tally.add(moved=fetch.token is not None, zero=fetch.token is None)

    def _move(self, target: Target, journal: Journal) -> None:
        def perform(fetch: Fetch, buffer: memoryview) -> None:
            self._write(fetch, buffer, target, journal)

        options = self._service.options
        self._expect_full()
        self._observer.begin(self._tally)
        try:
            run(
                self._fetches(fresh=target.fresh),
                perform,
                worker_count=self._service.get_workers,
                stall_seconds=options.stall_seconds,
                stop=self._stop,
            )
        finally:
            self._observer.end(self._tally)

    def _expect_full(self) -> None:
        if self._from_id is None and self._info is not None and self._info.full_size is not None:
            self._tally.expected_count = self._info.full_size // BLOCK_SIZE

    def _write(self, fetch: Fetch, buffer: memoryview, target: Target, journal: Journal) -> None:
        if fetch.token is None:
            target.write_zeros(fetch.block_index)
            self._tally.add(zero=1)
            return
        known = journal.table.get(fetch.block_index) if journal.resumed else None
        if known is not None:
            target.read(fetch.block_index, buffer)
            if digest_of(buffer) == known:
                if journal.facts.get("stage") == COMMITTING:
                    self._put(fetch.block_index, known, buffer, target)
                self._tally.add(resumed=1)
                return
        digest = self._service.get_block(self._snapshot_id, fetch.block_index, fetch.token, buffer, stop=self._stop)
        if digest != ZERO_DIGEST or known is not None or not target.fresh:
            self._put(fetch.block_index, digest, buffer, target)
        journal.table.record(fetch.block_index, digest)
        self._tally.add(moved=1)

    def _put(self, block_index: int, digest: Digest, buffer: memoryview, target: Target) -> None:
        if digest == ZERO_DIGEST:
            target.write_zeros(block_index)
        else:
            target.write(block_index, buffer)

    def _keep_index(self, folders: Folders, journal: Journal) -> None:
        """All blocks of the snapshot went through our hands: an upload on it need not read them again."""
        if self._from_id is not None:
            return
        store = IndexStore(folders.indexes, self._observer)
        with store.trying(self._snapshot_id):
            store.keep(journal.table, self._snapshot_id, self._volume_size // GIB)


def described(service: Service, snapshot_id: str) -> SnapshotInfo | None:
    """EC2's description of a snapshot, if these credentials may describe it."""
    try:
        return next(iter(service.describe([snapshot_id])), None)
    except (DeniedError, NotFoundError):
        return None
