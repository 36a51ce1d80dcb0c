"""An image into a new snapshot: what changed is found, sent, journaled, and sealed with its aggregate checksum."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.api.values import StartRequest
from snapstone.client.errors import ClientError, SourceChangedError, UsageError
from snapstone.client.events import Note, NullObserver, Observer, Tally
from snapstone.client.images.block_file import block_count_of
from snapstone.client.images.contract import Source
from snapstone.client.images.device import DeviceSource
from snapstone.client.images.sources import Image, opened_image
from snapstone.client.transfer.dirty import DirtyRanges, read_dirty
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import Journal, JournalStore
from snapstone.client.transfer.parent import Parent, find_parent
from snapstone.client.transfer.pending import PendingSnapshot, SealedError, new_client_token
from snapstone.client.transfer.pipeline import StopSignal, run
from snapstone.client.transfer.reading import ZERO_BLOCK, SourceReader, Visit, visits
from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB, GIB, MAX_VOLUME_SIZE_GIB, ZERO_DIGEST, Digest

SIZE_TAG: Final = "snapstone:size"
"""Tag with the image's size in bytes, if that is not a whole number of GiB: a download makes it as large again."""

TIMEOUT_MINUTES: Final = 1_440
"""How long the endpoint keeps an interrupted upload: long enough to come back to it the next morning."""


@dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """Options of an upload."""

    parent_id: str | None = None
    """Send only what differs from this snapshot."""
    dirty: str | os.PathLike[str] | DirtyRanges | None = None
    """Where the image may differ from the parent, or the file that lists it; nothing else is read."""
    size: int | None = None
    """Bytes of a stream, which cannot tell it itself."""
    format: str | None = None
    """The image's format; detected by default."""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool | None = None
    kms_key_arn: str | None = None
    volume_size_gib: int | None = None
    """Of the new snapshot, if it is to be larger than the image."""
    wait: bool = True
    """Until the snapshot is completed."""
    keep_failed: bool = False
    """Leave the pending snapshot if the upload fails permanently."""
    resume: bool = True
    """The state of an earlier, interrupted run of the same upload."""
    dry_run: bool = False
    """Count what would be sent, and send nothing."""

    def check(self, source: Source, dirty_block_end: int | None) -> None:
        """Raises UsageError for what does not go together. `dirty_block_end` is behind a dirty bitmap's last block."""
        if source.size == 0:
            raise UsageError(f"{source.name} is empty")
        if dirty_block_end is not None and self.parent_id is None:
            raise UsageError("a dirty bitmap needs the parent that it is relative to")
        if dirty_block_end is not None and source.sequential:
            raise UsageError("a dirty bitmap cannot be used with a stream")
        if dirty_block_end is not None and dirty_block_end > block_count_of(source.size):
            raise UsageError(f"the dirty bitmap reaches beyond the end of {source.name}; it belongs to another image")
        if self.parent_id is not None and (self.encrypted is not None or self.kms_key_arn is not None):
            raise UsageError(
                "a snapshot with a parent is encrypted as its parent is; omit the encryption options or the parent"
            )

    def volume_size_for(self, source: Source, parent_size_gib: int) -> int:
        """GiB: as requested; else what the image needs, and no less than the parent's (0 if there is none)."""
        needed = -(-source.size // GIB)
        least = max(needed, parent_size_gib)
        chosen = self.volume_size_gib or least
        if needed > MAX_VOLUME_SIZE_GIB:
            raise UsageError(f"{source.name} has {source.size} bytes; a snapshot has at most 64 TiB")
        if chosen < needed:
            raise UsageError(f"{source.name} needs {needed} GiB, but a volume of {chosen} GiB was requested")
        if chosen < least:
            raise UsageError(f"the parent has {least} GiB, so the snapshot cannot have {chosen} GiB")
        return chosen

    def start(self, source: Source, volume_size_gib: int) -> StartRequest:
        """How the snapshot is started, under a client token of its own."""
        tags = dict(self.tags)
        if source.size % GIB and not source.sequential:
            tags.setdefault(SIZE_TAG, str(source.size))
        return StartRequest(
            volume_size_gib=volume_size_gib,
            client_token=new_client_token(),
            parent_id=self.parent_id,
            description=self.description,
            tags=tags,
            encrypted=self.encrypted,
            kms_key_arn=self.kms_key_arn,
            timeout_minutes=TIMEOUT_MINUTES,
        )


class Sending:
    """One pass over an image. Without `pending` it counts what would be sent."""

    def __init__(
        self,
        source: Source,
        parent: Parent | None,
        dirty: DirtyRanges | None,
        pending: PendingSnapshot | None,
        tally: Tally,
    ) -> None:
        self._source = source
        self._parent = parent
        self._held = None if parent is None else parent.table
        self._dirty = dirty
        self._pending = pending
        self._tally = tally
        self._stop = StopSignal()
        self._reading = SourceReader(source, self._stop)

    def run(self, service: Service, observer: Observer) -> None:
        """Look at every block that there may be, and send those that have to be sent. Raises ClientError."""
        if not self._source.sequential and self._dirty is None:
            self._tally.expected_count = sum(len(indexes) for indexes in self._source.ranges())
        observer.begin(self._tally)
        try:
            run(
                self._visits(),
                self._look,
                worker_count=service.put_workers,
                stall_seconds=service.options.stall_seconds,
                stop=self._stop,
            )
        finally:
            observer.end(self._tally)

    def _visits(self) -> Iterator[Visit]:
        sent = () if self._pending is None else self._pending.entries()
        if self._dirty is None:
            held = () if self._held is None else self._held.items()
            return visits(self._source.ranges(), held, sent)
        if self._held is None:
            # Nothing here knows what the parent holds: every dirty block is checked, holes too.
            return visits(self._dirty_ranges(), (), sent)
        return visits(self._source.ranges(), self._held.items(), sent, within=self._dirty.block_ranges())

    def _dirty_ranges(self) -> Iterator[range]:
        """An extent of the last block's part may reach into the block behind it, of which the image has nothing."""
        assert self._dirty is not None
        block_count = block_count_of(self._source.size)
        for indexes in self._dirty.block_ranges():
            if indexes.start < block_count:
                yield range(indexes.start, min(indexes.stop, block_count))

    def _look(self, visit: Visit, buffer: memoryview) -> None:
        """Read a block, and send it unless what was sent before, or is inherited, is the same."""
        block_index, pending = visit.block_index, self._pending
        digest = ZERO_DIGEST if visit.is_hole else self._reading.read(block_index, buffer)
        sent = None if pending is None else pending.known(block_index)
        if sent == digest:
            self._tally.add(resumed=1)
        elif sent is None and self._is_inherited(block_index, digest):
            self._tally.add(zero=digest == ZERO_DIGEST, unchanged=digest != ZERO_DIGEST)
        else:
            if pending is not None:
                block = memoryview(ZERO_BLOCK) if digest == ZERO_DIGEST else buffer
                pending.put(block_index, block, digest, self._stop)
            self._tally.add(moved=1)

    def _is_inherited(self, block_index: int, digest: Digest) -> bool:
        """Whether the snapshot reads as these bytes without a put."""
        if self._parent is None:
            return digest == ZERO_DIGEST
        if self._held is None:
            return False
        held = self._held.get(block_index) if block_index < self._held.block_count else None
        return digest == (ZERO_DIGEST if held is None else held)


@dataclass(frozen=True)
class UploadResult:
    """The result of an upload; `snapshot_id` is None after a dry run."""

    snapshot_id: str | None
    kind: str
    """`full` or `incremental`."""
    reason: str
    volume_size_gib: int
    sent_count: int
    zero_count: int
    unchanged_count: int
    resumed_count: int
    seconds: float

    @property
    def sent_bytes(self) -> int:
        """Bytes of all blocks sent."""
        return self.sent_count * BLOCK_SIZE


def upload(
    service: Service,
    image: Image,
    options: UploadOptions | None = None,
    *,
    state: Folders | None = None,
    observer: Observer | None = None,
) -> UploadResult:
    """Make a snapshot of an image.

    Raises ClientError: a resumable one leaves a journal and the pending snapshot, so that the same call resumes; any
    other deletes what was begun, unless `keep_failed`.
    """
    options = options or UploadOptions()
    dirty = read_dirty(Path(options.dirty)) if isinstance(options.dirty, str | os.PathLike) else options.dirty
    folders = state or Folders.standard()
    folders.prepare()
    with opened_image(image, format=options.format, size=options.size) as source:
        return _Upload(service, source, options, dirty, folders, observer or NullObserver()).run()


class _Upload:
    def __init__(
        self,
        service: Service,
        source: Source,
        options: UploadOptions,
        dirty: DirtyRanges | None,
        folders: Folders,
        observer: Observer,
    ) -> None:
        options.check(source, None if dirty is None else dirty.block_end)
        self._service = service
        self._source = source
        self._options = options
        self._dirty = dirty
        self._folders = folders
        self._observer = observer
        self._tally = Tally("upload")
        self._began_at = time.monotonic()
        self._state = source.state()
        if self._state.get("size", source.size) != source.size:
            raise SourceChangedError(f"{source.name} is being written to; its size changed while it was opened")
        self._parent: Parent | None = None
        if options.parent_id is not None:
            self._parent = find_parent(service, options.parent_id, folders, may_read=dirty is None, stop=StopSignal())
        self._held = None if self._parent is None else self._parent.table
        parent_size_gib = 0 if self._parent is None else self._parent.volume_size_gib
        self._volume_size_gib = options.volume_size_for(source, parent_size_gib)

    def run(self) -> UploadResult:
        kind, reason = self._kind()
        self._observer.note(Note("plan", f"{kind} upload ({reason})", {"upload": kind, "reason": reason}))
        try:
            snapshot_id = None
            if self._options.dry_run:
                self._move(None)
                self._check_unchanged()
            else:
                self._warn_of_use()
                self._check_rights()
                snapshot_id = self._make()
        finally:
            if self._held is not None:
                self._held.close()
        return self._outcome(snapshot_id, kind, reason)

    def _kind(self) -> tuple[str, str]:
        parent = self._parent
        if parent is None:
            return "full", "no --parent given"
        if parent.table is None:
            return "incremental", f"on {parent.snapshot_id}; the dirty bitmap lists what changed"
        how = "its digest index" if parent.known_from == "index" else "its own blocks"
        where = " inside the dirty bitmap" if self._dirty else ""
        return "incremental", f"on {parent.snapshot_id}; compared{where} with {how}"

    def _make(self) -> str:
        options, resume = self._options, self._options.resume and not self._source.sequential
        with JournalStore(self._folders.journals, self._observer).open_or_create(
            self._key(resume=resume), self._volume_size_gib * BLOCKS_PER_GIB
        ) as journal:
            request = options.start(self._source, self._volume_size_gib)
            pending = PendingSnapshot(self._service, journal, request, self._observer, resumable=resume)
            try:
                status = self._sealed_before(pending, request) or self._sealed(pending)
            except ClientError as error:
                pending.after_failure(error, keep=options.keep_failed)
                raise
            self._keep_index(journal, pending.snapshot_id)
            if options.wait:
                pending.wait(status)
            journal.finish(self._observer)
        return pending.snapshot_id

    def _sealed_before(self, pending: PendingSnapshot, request: StartRequest) -> str | None:
        """The status of what an earlier run sealed, if the image still matches it; else everything starts over."""
        if not pending.is_sealed:
            return None
        status = pending.complete()
        try:
            self._move(pending)
        except SealedError:
            pending.start_anew(request)
            self._tally = Tally("upload")
            return None
        self._check_unchanged()
        return status

    def _sealed(self, pending: PendingSnapshot) -> str:
        self._move(pending)
        self._check_unchanged()
        return pending.complete()

    def _warn_of_use(self) -> None:
        """Warn early about devices in use: a change would be detected only at the end of the upload."""
        if isinstance(self._source, DeviceSource):
            for use in self._source.uses:
                text = f"{self._source.name} {use.what}: if it changes in the meantime, the upload will fail at the end"
                self._observer.note(Note("warning", text))

    def _check_rights(self) -> None:
        """Check early for the permission needed last; only warn, because permissions may depend on tags."""
        if not self._service.may_complete():
            text = "these credentials appear to lack ebs:CompleteSnapshot; the upload could not be completed"
            self._observer.note(Note("warning", text))

    def _key(self, *, resume: bool) -> Mapping[str, object]:
        """The facts that make two runs the same work. Not the image's state: a resumed run reads the image again."""
        options, endpoint = self._options, self._service.endpoint
        return {
            "kind": "upload",
            "endpoint": endpoint.url,
            "region": endpoint.region,
            "source": self._source.name,
            "parent_id": options.parent_id,
            "volume_size_gib": self._volume_size_gib,
            "description": options.description,
            "tags": dict(sorted(options.tags.items())),
            "encrypted": options.encrypted,
            "kms_key_arn": options.kms_key_arn,
            "run": None if resume else new_client_token(),
        }

    def _move(self, pending: PendingSnapshot | None) -> None:
        sending = Sending(self._source, self._parent, self._dirty, pending, self._tally)
        sending.run(self._service, self._observer)

    def _check_unchanged(self) -> None:
        """Raises SourceChangedError if the image was written to since the upload began."""
        state = self._source.state()
        if state != self._state:
            facts = ", ".join(
                sorted(name for name in {*state, *self._state} if state.get(name) != self._state.get(name))
            )
            raise SourceChangedError(
                f"{self._source.name} changed while it was read ({facts} changed), so what was read is not "
                "a consistent state. Upload a snapshot of it (LVM, ZFS, qemu), or upload while nothing writes to it"
            )

    def _keep_index(self, journal: Journal, snapshot_id: str) -> None:
        """By which the next upload finds what changed, if all of the snapshot is known."""
        if self._parent is not None and self._held is None:
            return
        store = IndexStore(self._folders.indexes, self._observer)
        with store.trying(snapshot_id):
            store.merge(self._held, journal.table, snapshot_id, self._volume_size_gib).close()

    def _outcome(self, snapshot_id: str | None, kind: str, reason: str) -> UploadResult:
        tally = self._tally
        return UploadResult(
            snapshot_id=snapshot_id,
            kind=kind,
            reason=reason,
            volume_size_gib=self._volume_size_gib,
            sent_count=tally.moved_count,
            zero_count=tally.zero_count,
            unchanged_count=tally.unchanged_count,
            resumed_count=tally.resumed_count,
            seconds=time.monotonic() - self._began_at,
        )
