"""A snapshot as a file to write: blocks are put together, sent in parallel, and sealed when all of it went well."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from snapstone.client.api.values import StartRequest
from snapstone.client.errors import ClientError, DamagedError, UnreachableError, UsageError
from snapstone.client.events import Note
from snapstone.client.library.composing import Composer, Sender, Spill
from snapstone.client.library.contract import Writable
from snapstone.client.library.listing import Listing
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.pending import new_client_token
from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB, MAX_VOLUME_SIZE_GIB, digest_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WORKER_COUNT: Final = 16
"""Blocks that are sent at the same time."""

WAIT_SECONDS: Final = 3_600.0
"""How long a seal is waited for."""


class SnapshotWriter(io.RawIOBase):
    """A new snapshot, pending until the `with` block that it is used in ends well, or `complete` is called.

    When the block ends by an exception the pending snapshot is deleted; also when `close` is called without `complete`
    outside of a `with` block. Any thread may write; one write follows the other. Raises ClientError.
    """

    def __init__(
        self,
        service: Writable,
        *,
        volume_size_gib: int | None = None,
        parent_id: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        encrypted: bool | None = None,
        kms_key_arn: str | None = None,
        timeout_minutes: int = 60,
        wait: bool = True,
        spill_folder: Path | None = None,
    ) -> None:
        """Start a snapshot. The volume size is the parent's where none is given.

        `wait`: completion returns when the snapshot can be read. `spill_folder`: where to keep a copy of every block
        that was sent, in a file without a name, so that some bytes of it can be changed at any time later.
        """
        super().__init__()
        self._is_over = True
        parent = None if parent_id is None else Listing(service, parent_id)
        size_gib = _checked_size_gib(volume_size_gib, parent)
        self._service = service
        self._wait = wait
        self._block_count = size_gib * BLOCKS_PER_GIB
        self.size: Final = self._block_count * BLOCK_SIZE
        """Bytes of the volume."""
        self._position = 0
        self._is_entered = False
        self._has_arrived = False
        """Whether the endpoint has acknowledged a block, and so knows the snapshot."""
        self._lock = threading.RLock()
        self._stop = threading.Event()
        request = StartRequest(
            volume_size_gib=size_gib,
            client_token=new_client_token(),
            parent_id=parent_id,
            description=description,
            tags=tags or {},
            encrypted=encrypted,
            kms_key_arn=kms_key_arn,
            timeout_minutes=timeout_minutes,
        )
        with ExitStack() as opened:
            self._table = opened.enter_context(_nameless_table(self._block_count))
            spill = None if spill_folder is None else opened.enter_context(closing(Spill(spill_folder)))
            self._sender = opened.enter_context(closing(Sender(self._put, WORKER_COUNT)))
            self._composer = Composer(self._sender, lambda index: self._table.get(index) is not None, parent, spill)
            self.snapshot_id: Final = service.start_snapshot(request)
            self._opened = opened.pop_all()
        self.name = self.snapshot_id
        self.mode = "wb"
        self._is_over = False

    def __enter__(self) -> Self:
        self._check_open()
        self._is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._give_up(error)
        elif not self._is_over:
            self.complete()

    def __del__(self) -> None:
        """Left alone by whoever made it: nothing is sealed, and nothing waits for an endpoint."""
        if not getattr(self, "_is_over", True):
            text = f"{self.snapshot_id} was neither completed nor aborted; it stays pending until it times out"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=1)

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position; to the volume's end at most."""
        self._check_open()
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        position = offset + (0, self._position, self.size)[whence]
        if not 0 <= position <= self.size:
            raise ValueError(f"position {position} is outside the volume's {self.size} bytes")
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        self._check_open()
        return self._position

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data` at the position."""
        with self._lock:
            size = self.pwrite(self._position, data)
            self._position += size
            return size

    def write_block(self, block_index: int, data: ReadableBuffer) -> None:
        """Write a whole block, 524,288 bytes; one of zeros too. The last one for an index counts."""
        with memoryview(data) as view:
            block = bytearray(view)
        if len(block) != BLOCK_SIZE:
            raise UsageError(f"block {block_index}: {len(block)} bytes; a block has {BLOCK_SIZE}")
        if not 0 <= block_index < self._block_count:
            raise UsageError(f"block {block_index} is outside a volume of {self._block_count} blocks")
        with self._lock:
            self._check_open()
            self._composer.put_block(block_index, block)

    def pwrite(self, offset: int, data: ReadableBuffer) -> int:
        """Write all of `data` at an offset; the rest of a block keeps what was written before, or the parent has.

        Zeros if there is nothing yet make no block. Raises UsageError if a block would have to be changed that
        was sent and is no longer here (see `spill_folder`).
        """
        with memoryview(data) as view, view.cast("B") as content, self._lock:
            self._check_open()
            if not 0 <= offset <= self.size - len(content):
                raise UsageError(f"{len(content)} bytes at offset {offset} do not fit into a volume of {self.size}")
            done = 0
            while done < len(content):
                block_index, begin = divmod(offset + done, BLOCK_SIZE)
                with content[done : done + BLOCK_SIZE - begin] as piece:
                    self._composer.put_piece(block_index, begin, piece)
                    done += len(piece)
            return done

    def complete(self) -> str:
        """Send what is held back, seal with count and aggregate, and close; the snapshot's id.

        Where that fails the snapshot is deleted. Raises DamagedError if the endpoint has other blocks than it got.
        """
        with self._lock:
            if self._is_over:
                raise ValueError(f"{self.snapshot_id} is already completed or deleted")
            try:
                self._seal()
            except BaseException as error:
                self._give_up(error)
                raise
            self._end()
            return self.snapshot_id

    def abort(self) -> None:
        """Delete the pending snapshot, and close. Where it cannot be deleted, the observer is told."""
        with self._lock:
            if not self._is_over:
                self._halt()
                try:
                    self._service.delete_snapshot(self.snapshot_id)
                except ClientError as error:
                    self._tell_left(error)
                finally:
                    self._end()

    def close(self) -> None:
        """Write no more. Inside of a `with` block its end decides; elsewhere, without `complete`, this is `abort`."""
        if not self.closed:
            super().close()
            if not self._is_entered:
                self.abort()

    def _give_up(self, error: BaseException) -> None:
        """Delete the pending snapshot, but do not ask an endpoint for it that has just not answered for minutes."""
        if not isinstance(error, UnreachableError):
            self.abort()
        elif not self._is_over:
            self._halt()
            self._tell_left(error)
            self._end()

    def _tell_left(self, error: ClientError) -> None:
        text = f"{self.snapshot_id} could not be deleted and stays pending until it times out: {error}"
        self._service.observer.note(Note("warning", text, {"snapshot_id": self.snapshot_id}))

    def _put(self, block_index: int, block: bytearray) -> None:
        """In one of the sender's threads."""
        digest = digest_of(block)
        with memoryview(block) as view:
            self._service.put_block(
                self.snapshot_id, block_index, view, digest, stop=self._stop, recent=not self._has_arrived
            )
        self._has_arrived = True
        self._table.record(block_index, digest)

    def _seal(self) -> None:
        self._composer.flush()
        count, aggregate = self._table.summary()
        status = self._service.complete_snapshot(self.snapshot_id, count, aggregate)
        if status == "error":
            raise DamagedError(
                f"{self.snapshot_id} ended in error: the endpoint does not have the {count} blocks it acknowledged"
            )
        if self._wait:
            self._service.wait_completed(self.snapshot_id, WAIT_SECONDS)

    def _halt(self) -> None:
        """No block is on its way any more."""
        self._stop.set()
        self._sender.close()

    def _end(self) -> None:
        self._is_over = True
        self._opened.close()
        self._composer.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.snapshot_id} is closed")


def _checked_size_gib(volume_size_gib: int | None, parent: Listing | None) -> int:
    parent_size_gib = 0 if parent is None else parent.block_count // BLOCKS_PER_GIB
    size_gib = parent_size_gib if volume_size_gib is None else volume_size_gib
    if not max(1, parent_size_gib) <= size_gib <= MAX_VOLUME_SIZE_GIB:
        raise UsageError(
            f"volume size {size_gib} GiB is not allowed: it must be from {max(1, parent_size_gib)} "
            f"(the parent's size, if any) to {MAX_VOLUME_SIZE_GIB}"
        )
    return size_gib


def _nameless_table(block_count: int) -> DigestTable:
    """A table whose file has no name once this returns, so that nothing of it outlives the process."""
    with tempfile.TemporaryDirectory(prefix="snapstone-") as folder:
        return DigestTable.create(Path(folder, "digests"), block_count, {})
