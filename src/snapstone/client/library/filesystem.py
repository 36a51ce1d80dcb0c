"""fsspec's file system of snapshots: `snapstone://snap-0123456789abcdef0` is one snapshot, the root is all of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from snapstone.client.api.endpoint import resolve
from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.api.values import SnapshotInfo
from snapstone.client.errors import NotFoundError
from snapstone.client.library.reader import SnapshotReader
from snapstone.client.library.writer import SnapshotWriter
from snapstone.core.blocks import GIB

try:
    from fsspec.spec import AbstractFileSystem
except ImportError as error:
    raise ImportError("snapstone:// needs fsspec, which is not installed: pip install 'snapstone[fsspec]'") from error


Info = dict[str, Any]
"""What fsspec calls `info`: names and values that programs agree on."""

_SNAPSHOT_ID: Final = re.compile(r"snap-[0-9a-f]+")


class SnapstoneFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Completed snapshots of one endpoint as files of their volume's size, read-only; `wb` makes a new one.

    By fsspec's conventions a path that is not a snapshot raises FileNotFoundError. All other errors are ClientErrors.
    """

    protocol = "snapstone"
    root_marker = ""

    def __init__(
        self,
        profile: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        service: Service | None = None,
        volume_size_gib: int | None = None,
        parent_id: str | None = None,
        **storage_options: Any,
    ) -> None:
        """The endpoint that plain AWS configuration names, unless told otherwise or given as `service`.

        Volume size and parent are for new snapshots, unless `open` is given others.
        """
        super().__init__(**storage_options)
        self._volume_size_gib = volume_size_gib
        self._parent_id = parent_id
        self.service: Service = service or Service(
            resolve(profile=profile, endpoint_url=endpoint_url, region=region), Options()
        )

    @property
    def fsid(self) -> str:
        """The options that distinguish this file system from others."""
        return f"snapstone-{self.service.endpoint.name}"

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Info] | list[str]:
        """All completed snapshots of the caller's account, or the one that is named."""
        name = self._strip_protocol(path)
        if name == self.root_marker:
            found = [_info_of(one) for one in self.service.describe(filters={"status": ["completed"]})]
        else:
            found = [self.info(name)]
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **_: Any) -> Info:
        """A snapshot's size, asked of the EBS direct APIs: snapshots of others that are shared have one too."""
        name = self._strip_protocol(path)
        if name == self.root_marker:
            return {"name": name, "size": 0, "type": "directory"}
        with _absence(name):
            size = self.service.volume_size_gib(_snapshot_id(name)) * GIB
        return {"name": name, "size": size, "type": "file"}

    def ukey(self, path: str) -> str:
        """A snapshot never changes: its id says it all."""
        return _snapshot_id(self._strip_protocol(path))

    def created(self, path: str) -> datetime:
        """When the snapshot was started."""
        name = self._strip_protocol(path)
        with _absence(name):
            found = self.service.describe([_snapshot_id(name)], owner=None)
        if not found:
            raise FileNotFoundError(name)
        return found[0].started_at

    def modified(self, path: str) -> datetime:
        """The same: it is not modified."""
        return self.created(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Bytes from `start` to before `end`; negative ones count from the volume's end."""
        with self._reader(path) as reader:
            begin, stop, _step = slice(start, end).indices(reader.size)
            return reader.pread(begin, max(0, stop - begin))

    def rm_file(self, path: str) -> None:
        """Delete a snapshot."""
        name = self._strip_protocol(path)
        with _absence(name):
            self.service.delete_snapshot(_snapshot_id(name))

    def _rm(self, path: str) -> None:
        self.rm_file(path)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        *,
        volume_size_gib: int | None = None,
        parent_id: str | None = None,
        tags: dict[str, str] | None = None,
        encrypted: bool | None = None,
        kms_key_arn: str | None = None,
        spill_folder: str | Path | None = None,
        **_: Any,
    ) -> SnapshotReader | SnapshotWriter:
        """`rb`: a snapshot. `wb`: a new one, whose description is the path; its id is the file's `snapshot_id`.

        A new one needs `volume_size_gib` or `parent_id`. Closing completes it, as with all of fsspec's files; if
        an exception closes it, it is deleted.
        """
        if not autocommit:
            raise ValueError("a snapshot cannot be part of a transaction")
        name = self._strip_protocol(path)
        if mode == "rb":
            return self._reader(name)
        if mode != "wb":
            raise ValueError(f"mode {mode!r}: open a snapshot for reading (rb), or a new one for writing (wb)")
        if _SNAPSHOT_ID.fullmatch(name):
            raise FileExistsError(f"{name}: a snapshot cannot be changed; a new one gets its ID from the endpoint")
        return ClosedByCompletion(
            self.service,
            volume_size_gib=volume_size_gib or self._volume_size_gib,
            parent_id=parent_id or self._parent_id,
            description=name,
            tags=tags,
            encrypted=encrypted,
            kms_key_arn=kms_key_arn,
            spill_folder=None if spill_folder is None else Path(spill_folder),
        )

    def _reader(self, path: str) -> SnapshotReader:
        name = self._strip_protocol(path)
        with _absence(name):
            return SnapshotReader(self.service, _snapshot_id(name))


class ClosedByCompletion(SnapshotWriter):
    """A writer for which closing is the end of the work, as fsspec takes it, unless an exception is on its way out."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As SnapshotWriter."""
        self._exception_at_start = sys.exception()
        super().__init__(*arguments, **named)

    def close(self) -> None:
        """Complete the snapshot; delete it if an exception that came up since then is the reason to close."""
        if self._is_over or self._is_entered:
            super().close()
        elif sys.exception() is self._exception_at_start:
            self.complete()
        else:
            self.abort()


@contextmanager
def _absence(name: str) -> Iterator[None]:
    """Inside of it, an endpoint's `not found` is said as fsspec says it."""
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(f"{name}: {error}") from error


def _snapshot_id(name: str) -> str:
    if not _SNAPSHOT_ID.fullmatch(name):
        raise FileNotFoundError(f"{name!r} is not a snapshot ID")
    return name


def _info_of(snapshot: SnapshotInfo) -> Info:
    return {
        "name": snapshot.snapshot_id,
        "size": snapshot.volume_size_gib * GIB,
        "type": "file",
        "created": snapshot.started_at,
        "description": snapshot.description,
        "tags": dict(snapshot.tags),
        "encrypted": snapshot.encrypted,
    }
