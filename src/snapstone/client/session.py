"""One endpoint, with all operations as methods: the result of `snapstone.client.connect`."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

from snapstone.client.api.endpoint import resolve
from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.api.values import SnapshotInfo
from snapstone.client.errors import NotFoundError
from snapstone.client.events import Observer
from snapstone.client.images.sources import Image, opened_image
from snapstone.client.library.listing import Block, iterate_blocks
from snapstone.client.library.reader import DEFAULT_BLOCK_COUNT, DEFAULT_READ_AHEAD_COUNT, SnapshotReader
from snapstone.client.library.writer import WAIT_SECONDS, SnapshotWriter
from snapstone.client.transfer.compare import Difference, diff_image, diff_snapshots
from snapstone.client.transfer.copy import CopyOptions, CopyResult, copy
from snapstone.client.transfer.download import DownloadOptions, DownloadResult, download
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.upload import UploadOptions, UploadResult, upload
from snapstone.client.transfer.verify import VerifyResult, verify_image, verify_snapshot

P = ParamSpec("P")
First = TypeVar("First")
Second = TypeVar("Second")
Owner = TypeVar("Owner")
Value = TypeVar("Value")
Result = TypeVar("Result")


class _AsKeywords(Generic[P, Value]):
    """Lets a method that takes options as a value be called with their fields as keywords, declared once."""

    def __init__(self, build: Callable[P, Value]) -> None:
        self._build = build

    @overload
    def __call__(
        self, method: Callable[[Owner, First, Value], Result]
    ) -> Callable[Concatenate[Owner, First, P], Result]: ...

    @overload
    def __call__(
        self, method: Callable[[Owner, First, Second, Value], Result]
    ) -> Callable[Concatenate[Owner, First, Second, P], Result]: ...

    def __call__(self, method: Callable[..., Result]) -> Callable[..., Result]:
        build: Callable[..., Value] = self._build

        @wraps(method)
        def call(*subjects: Any, **options: Any) -> Result:
            return method(*subjects, build(**options))

        return call


class ClientLimits(TypedDict, total=False):
    """Retry, stall, concurrency and rate limits; the defaults are those of `Options`."""

    retry_seconds: float
    stall_seconds: float
    max_in_flight: int
    limit_bytes_per_second: float | None


def connect(
    profile: str | None = None,
    endpoint_url: str | None = None,
    region: str | None = None,
    *,
    observer: Observer | None = None,
    state_folder: Path | None = None,
    **limits: Unpack[ClientLimits],
) -> Client:
    """Return a client for the given endpoint; the defaults come from the AWS configuration. Sends no request yet.

    `observer` receives progress and notes. `state_folder` is where journals and digest indexes are kept; by default
    where the commands keep theirs. Raises UsageError or DeniedError if region or credentials are missing.
    """
    endpoint = resolve(profile=profile, endpoint_url=endpoint_url, region=region)
    folders = Folders.standard() if state_folder is None else Folders(state_folder)
    return Client(Service(endpoint, Options(**limits), observer), folders)


class Client:
    """One endpoint. Thread-safe; every method raises only ClientError on failure."""

    def __init__(self, service: Service, folders: Folders) -> None:
        self.service = service
        """The endpoint's individual calls."""
        self._folders = folders

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self.service.close()

    def blocks(self, snapshot_id: str, start: int = 0, stop: int | None = None) -> Generator[Block]:
        """The blocks that are present, from index `start` to before `stop`, ascending, fetched in parallel."""
        return iterate_blocks(self.service, snapshot_id, start, stop)

    def open(
        self,
        snapshot_id: str,
        *,
        cache_block_count: int = DEFAULT_BLOCK_COUNT,
        read_ahead_count: int = DEFAULT_READ_AHEAD_COUNT,
    ) -> SnapshotReader:
        """A completed snapshot as a file to read."""
        return SnapshotReader(
            self.service, snapshot_id, cache_block_count=cache_block_count, read_ahead_count=read_ahead_count
        )

    def create(
        self,
        volume_size_gib: int | None = None,
        *,
        parent_id: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        encrypted: bool | None = None,
        kms_key_arn: str | None = None,
        timeout_minutes: int = 60,
        wait: bool = True,
        spill_folder: Path | None = None,
    ) -> SnapshotWriter:
        """A new snapshot as a file to write; see SnapshotWriter."""
        return SnapshotWriter(
            self.service,
            volume_size_gib=volume_size_gib,
            parent_id=parent_id,
            description=description,
            tags=tags,
            encrypted=encrypted,
            kms_key_arn=kms_key_arn,
            timeout_minutes=timeout_minutes,
            wait=wait,
            spill_folder=spill_folder,
        )

    @_AsKeywords(UploadOptions)
    def upload(self, image: Image, options: UploadOptions) -> UploadResult:
        """Upload an image as a snapshot; with a parent, send only what differs from it. Keywords: `UploadOptions`."""
        return upload(self.service, image, options, state=self._folders, observer=self._observer)

    @_AsKeywords(DownloadOptions)
    def download(self, snapshot_id: str, path: str | os.PathLike[str], options: DownloadOptions) -> DownloadResult:
        """Write a snapshot to an image, or update an image of an earlier snapshot. Keywords: `DownloadOptions`."""
        return download(self.service, snapshot_id, path, options, state=self._folders, observer=self._observer)

    @_AsKeywords(CopyOptions)
    def copy_to(self, other: Client, snapshot_id: str, options: CopyOptions) -> CopyResult:
        """Copy a snapshot to another endpoint, incrementally if possible.

        Keywords: `CopyOptions`.
        """
        return copy(self.service, other.service, snapshot_id, options, state=self._folders, observer=self._observer)

    def diff(self, first_id: str, second_id: str, *, exact: bool = False) -> Iterator[Difference]:
        """The blocks that differ between two snapshots; `exact` compares bytes, if AWS lists what was written."""
        return diff_snapshots(self.service, first_id, second_id, exact=exact, observer=self._observer)

    def diff_image(self, snapshot_id: str, image: Image) -> Iterator[Difference]:
        """The blocks that differ between a snapshot and an image, by their bytes."""
        with opened_image(image) as source:
            yield from diff_image(self.service, snapshot_id, source, observer=self._observer)

    def verify(
        self, snapshot_id: str, image: Image | None = None, *, sample_percent: float | None = None
    ) -> VerifyResult:
        """Check a snapshot, or a sample of it, against its own checksums or an image."""
        if image is None:
            return verify_snapshot(self.service, snapshot_id, sample_percent=sample_percent, observer=self._observer)
        with opened_image(image) as source:
            return verify_image(
                self.service, snapshot_id, source, sample_percent=sample_percent, observer=self._observer
            )

    def snapshots(
        self, filters: Mapping[str, Sequence[str]] | None = None, *, owner: str | None = "self"
    ) -> list[SnapshotInfo]:
        """Snapshots as EC2 describes them; filters are EC2's (`{"tag:backup": ["nightly"]}`)."""
        return self.service.describe((), filters, owner)

    def describe(self, snapshot_id: str) -> SnapshotInfo:
        """One snapshot, of any owner. Raises NotFoundError."""
        found = self.service.describe([snapshot_id], owner=None)
        if not found:
            raise NotFoundError(f"{snapshot_id} does not exist at {self.service.endpoint.name}")
        return found[0]

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot, completed or pending."""
        self.service.delete_snapshot(snapshot_id)

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        """Add tags, or replace their values."""
        self.service.tag(snapshot_id, tags)

    def untag(self, snapshot_id: str, names: Sequence[str]) -> None:
        """Remove tags."""
        self.service.untag(snapshot_id, names)

    def wait(self, snapshot_id: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a snapshot is completed and can be read."""
        self.service.wait_completed(snapshot_id, seconds)

    @property
    def _observer(self) -> Observer:
        return self.service.observer
