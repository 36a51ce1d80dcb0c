"""The protocols that the library needs of an endpoint; `client.api.service.Service` implements them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from snapstone.client.api.retrying import Interruption, Options
from snapstone.client.api.values import BlockPage, StartRequest
from snapstone.client.events import Observer
from snapstone.core.blocks import Digest


class Readable(Protocol):
    """An endpoint whose snapshots can be read. Safe from any thread; raises ClientError alone."""

    options: Options

    def block_pages(self, snapshot_id: str, starting_block_index: int = 0) -> Iterator[BlockPage]:
        """The blocks that are present from an index on, page by page, each fetched when it is requested."""
        ...

    def get_block(self, snapshot_id: str, block_index: int, token: str, into: memoryview) -> Digest:
        """Read a block into a buffer of 524,288 bytes; its digest, verified with the checksum that came with it."""
        ...

    def volume_size_gib(self, snapshot_id: str) -> int:
        """The volume size of a completed snapshot."""
        ...


class Writable(Readable, Protocol):
    """An endpoint that takes new snapshots too."""

    observer: Observer

    def start_snapshot(self, request: StartRequest) -> str:
        """Start a snapshot; its id."""
        ...

    def put_block(
        self,
        snapshot_id: str,
        block_index: int,
        block: memoryview,
        digest: Digest,
        *,
        stop: Interruption | None = None,
        recent: bool = False,
    ) -> None:
        """Write a block of 524,288 bytes with this digest; `recent` waits where the snapshot is not known yet."""
        ...

    def complete_snapshot(self, snapshot_id: str, changed_block_count: int, aggregate: Digest) -> str:
        """Seal: `completed`, `pending` or `error`."""
        ...

    def wait_completed(self, snapshot_id: str, seconds: float) -> None:
        """Wait until a snapshot is completed and can be read."""
        ...

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot, pending ones too."""
        ...
