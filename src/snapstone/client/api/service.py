"""One endpoint as the rest of the client sees it: every call retried here, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, TypeVar

from snapstone.client.api.block_calls import BlockCalls, Signer
from snapstone.client.api.connection import Remote
from snapstone.client.api.control_calls import LONGEST_PAGE, SHORTEST_PAGE, ControlCalls
from snapstone.client.api.endpoint import AccessKey, Endpoint
from snapstone.client.api.faults import FaultError, FaultKind
from snapstone.client.api.pace import Pace
from snapstone.client.api.retrying import SETTLE_SECONDS, Interruption, Options, Retrying, RetryStats
from snapstone.client.api.values import ABSENT_ID, BlockPage, ChangePage, SnapshotInfo, StartRequest
from snapstone.client.errors import DeniedError, NotFoundError, RemoteError, UnreachableError
from snapstone.client.events import NullObserver, Observer
from snapstone.core.blocks import BLOCK_SIZE, Digest, linear_aggregate

P = TypeVar("P", BlockPage, ChangePage)

POLL_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between polls of a pending snapshot; the last one repeats."""

AHEAD_COUNT: Final = 4
"""More blocks that are read ahead than can be sent soon are cold in the processor's cache when their turn comes."""

INVALID_PAGE: Final = "INVALID_PAGE_TOKEN"


class Service:
    """The EBS direct APIs of one endpoint, and what EC2 and STS add to them.

    Every method raises ClientError and nothing else, and may be called from any thread. `stop`, if a method takes
    it, ends waiting with InterruptedTransferError once it is set.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: Options | None = None,
        observer: Observer | None = None,
        *,
        blocks: BlockCalls | None = None,
    ) -> None:
        """`blocks` replaces how blocks are sent and received: by default over HTTP, to the endpoint."""
        self.endpoint = endpoint
        self.options = options or Options()
        self.observer: Observer = observer or NullObserver()
        remote = Remote(
            endpoint.url,
            ca_bundle=endpoint.ca_bundle,
            usual_bundle=endpoint.usual_bundle,
            proxy=endpoint.proxy,
        )
        self._signer = Signer(remote.host_header, endpoint.region)
        self._blocks = blocks or BlockCalls(remote, self._signer)
        self._control = ControlCalls(endpoint)
        self._retrying = Retrying(endpoint, self._signer, self.options, self.observer)
        limit = self.options.limit_bytes_per_second
        rate = None if limit is None else limit / BLOCK_SIZE
        self.put_pace = Pace(self.options.max_in_flight, rate)
        self.get_pace = Pace(self.options.max_in_flight, rate)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def trouble(self) -> RetryStats:
        """Throttles and retries so far."""
        return self._retrying.trouble

    def put_workers(self) -> int:
        """Threads that are worth having for puts now: those that may send, and a few that read and hash ahead."""
        return min(self.options.max_in_flight, self.put_pace.limit + AHEAD_COUNT)

    def get_workers(self) -> int:
        """The same for gets."""
        return min(self.options.max_in_flight, self.get_pace.limit + AHEAD_COUNT)

    def close(self) -> None:
        """Close idle connections. The service can be used again."""
        self._blocks.close()

    def start_snapshot(self, request: StartRequest) -> str:
        """Start a snapshot, once for each client token; its id. A parent that was just completed is waited for."""
        return self._retrying.run(
            "start a snapshot", lambda _: self._control.start(request), awaited=(FaultKind.NOT_READY,)
        )

    def put_block(
        self,
        snapshot_id: str,
        block_index: int,
        block: memoryview,
        digest: Digest,
        *,
        stop: Interruption | None = None,
        recent: bool = False,
        before_sending: Callable[[], None] | None = None,
    ) -> None:
        """Write a block of 524,288 bytes with this digest; when it returns, the endpoint has acknowledged it.

        `before_sending` is called when it is the block's turn, just before each attempt.
        `recent`: the snapshot was started a moment ago, so the endpoint's not knowing it is waited for.
        """

        def attempt(key: AccessKey) -> None:
            if before_sending is not None:
                before_sending()
            self._blocks.put(snapshot_id, block_index, block, digest, key)

        self._retrying.run(
            f"put block {block_index} of {snapshot_id}",
            attempt,
            pace=self.put_pace,
            stop=stop,
            awaited=(FaultKind.ABSENT,) if recent else (),
        )

    def complete_snapshot(
        self, snapshot_id: str, changed_block_count: int, aggregate: Digest, *, recent: bool = False
    ) -> str:
        """Seal: `completed`, `pending` (wait for it) or `error` (count or aggregate do not fit)."""
        return self._retrying.run(
            f"complete {snapshot_id}",
            lambda _: self._control.complete(snapshot_id, changed_block_count, aggregate),
            awaited=(FaultKind.ABSENT,) if recent else (),
        )

    def may_complete(self) -> bool:
        """Whether CompleteSnapshot seems to be permitted: found out with an id that cannot exist."""
        try:
            self.complete_snapshot(ABSENT_ID, 0, linear_aggregate([]))
        except DeniedError:
            return False
        except (NotFoundError, RemoteError):
            return True
        return True

    def get_block(
        self,
        snapshot_id: str,
        block_index: int,
        token: str,
        into: memoryview,
        *,
        stop: Interruption | None = None,
    ) -> Digest:
        """Read a block into a buffer of 524,288 bytes; its digest, verified with the checksum that came with it."""
        return self._retrying.run(
            f"get block {block_index} of {snapshot_id}",
            lambda key: self._blocks.get(snapshot_id, block_index, token, into, key),
            pace=self.get_pace,
            stop=stop,
        )

    def block_pages(
        self, snapshot_id: str, starting_block_index: int = 0, page_length: int = LONGEST_PAGE
    ) -> Iterator[BlockPage]:
        """The blocks that are present from an index on, page by page, each fetched when it is requested."""
        return self._pages(
            f"list the blocks of {snapshot_id}",
            lambda start, token: self._control.block_page(snapshot_id, start, token, page_length),
            starting_block_index,
        )

    def changed_pages(self, first_id: str, second_id: str, starting_block_index: int = 0) -> Iterator[ChangePage]:
        """The blocks that differ between two snapshots, from an index on, page by page."""
        return self._pages(
            f"list the changes from {first_id} to {second_id}",
            lambda start, token: self._control.changed_page(first_id, second_id, start, token),
            starting_block_index,
        )

    def volume_size_gib(self, snapshot_id: str) -> int:
        """The volume size of a completed snapshot that this caller may list."""
        page, _ = self._retrying.run(
            f"read {snapshot_id}", lambda _: self._control.block_page(snapshot_id, 0, None, SHORTEST_PAGE)
        )
        return page.volume_size_gib

    def describe(
        self,
        snapshot_ids: Sequence[str] = (),
        filters: Mapping[str, Sequence[str]] | None = None,
        owner: str | None = "self",
    ) -> list[SnapshotInfo]:
        """Snapshots as EC2 describes them: those named, or all of an owner's (None: all that can be seen)."""
        found: list[SnapshotInfo] = []
        token: str | None = None
        while True:
            page, token = self._describe(snapshot_ids, filters or {}, owner, token)
            found += page
            if token is None:
                return found

    def delete_snapshot(self, snapshot_id: str, *, dry_run: bool = False) -> None:
        """Delete a snapshot, pending ones too; with `dry_run`, only ask whether that is permitted."""
        attempt_count = 0

        def attempt(_: AccessKey) -> None:
            nonlocal attempt_count
            attempt_count += 1
            self._control.delete(snapshot_id, dry_run=dry_run)

        try:
            self._retrying.run(f"delete {snapshot_id}", attempt)
        except NotFoundError:
            if attempt_count == 1:  # else an attempt before this one did it, and its answer was lost
                raise
        except RemoteError as error:
            if not dry_run or error.code != "DryRunOperation":
                raise

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        """Add tags, or give them other values."""
        self._retrying.run(f"tag {snapshot_id}", lambda _: self._control.tag(snapshot_id, tags))

    def untag(self, snapshot_id: str, names: Sequence[str]) -> None:
        """Take tags off."""
        self._retrying.run(f"remove tags from {snapshot_id}", lambda _: self._control.untag(snapshot_id, names))

    def caller_arn(self) -> str:
        """The ARN of these credentials' principal."""
        return self._retrying.run("get the caller's identity", lambda _: self._control.caller_arn())

    def wait_completed(self, snapshot_id: str, seconds: float, *, recent: bool = False) -> None:
        """Wait until a snapshot is completed and can be read. `recent`: EC2 may not know it yet.

        Raises RemoteError if it ended in error, NotFoundError if it is gone, UnreachableError if it takes
        longer than `seconds`. Without the right to describe snapshots, it asks for the blocks: those of a pending
        snapshot do not exist.
        """
        began_at = time.monotonic()
        deadline = began_at + seconds
        look = 0
        while not self._is_readable(snapshot_id, recent=recent and time.monotonic() - began_at < SETTLE_SECONDS):
            pause = POLL_SECONDS[min(look, len(POLL_SECONDS) - 1)]
            look += 1
            if time.monotonic() + pause > deadline:
                raise UnreachableError(f"{snapshot_id} is still pending after {seconds:.0f} s")
            time.sleep(pause)

    def _is_readable(self, snapshot_id: str, *, recent: bool) -> bool:
        """EC2 first, for it knows of errors; then EBS, for it may be a minute behind.

        Source: docs/aws-behaviour/ebs-direct.md, EBS-STATE-11 and EBS-STATE-12.
        """
        try:
            described = self.describe([snapshot_id])
        except DeniedError:
            described = []
        except NotFoundError:
            if not recent:
                raise
            return False
        for snapshot in described:
            if snapshot.state == "error":
                raise RemoteError(f"{snapshot_id} ended in error: {snapshot.state_message}", "error")
            if snapshot.state == "pending":
                return False
        try:
            self.volume_size_gib(snapshot_id)
        except NotFoundError:
            return False
        return True

    def _describe(
        self, snapshot_ids: Sequence[str], filters: Mapping[str, Sequence[str]], owner: str | None, token: str | None
    ) -> tuple[list[SnapshotInfo], str | None]:
        return self._retrying.run(
            "describe snapshots", lambda _: self._control.describe(snapshot_ids, filters, owner, token)
        )

    def _pages(self, action: str, fetch: Callable[[int, str | None], tuple[P, str | None]], start: int) -> Iterator[P]:
        """Pages until there is no token; a token that has expired, as those of slow readers do, is replaced."""

        def attempt(_: AccessKey) -> tuple[P, str | None]:
            try:
                return fetch(start, token)
            except FaultError as error:
                if token is None or error.fault.reason != INVALID_PAGE:
                    raise
                return fetch(start, None)

        token: str | None = None
        while True:
            page, token = self._retrying.run(action, attempt)
            if page.blocks:
                start = page.blocks[-1].block_index + 1
            yield page
            if token is None:
                return
