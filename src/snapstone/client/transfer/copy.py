"""A snapshot from one endpoint into a new one at another: every block got, checked, put, acknowledged and journaled.

The bytes are hashed once, when they have been got: that digest is held against the source's checksum, and is the
checksum of the put. What is durable when is in `pending`. Unlike an upload, a copy that goes on believes its journal
and does not read again what was acknowledged: its source is a completed snapshot, which never changes, so a journaled
digest cannot be out of date. An entry that was lost with the power is absent, and its block is sent again; one that was
harmed makes another aggregate, which the endpoint refuses.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.api.values import BlockPage, ChangePage, ListedBlock
from snapstone.client.errors import ClientError, DamagedError, DeniedError, NotFoundError, RemoteError
from snapstone.client.events import Note, Observer, Silence, Tally
from snapstone.client.transfer.copy_request import (
    AUTO,
    Asked,
    Plan,
    SourceSnapshot,
    facts_of,
    look_at,
    plan_for,
    plan_in,
    request_for,
)
from snapstone.client.transfer.counterparts import Counterparts
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import Journal, JournalStore
from snapstone.client.transfer.pending import PendingSnapshot, new_client_token
from snapstone.client.transfer.pipeline import Stop, run
from snapstone.client.transfer.zeros import ZERO_BLOCK
from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB, ZERO_DIGEST, Digest

AHEAD_COUNT: Final = 65_536
"""Blocks that are listed before the first one moves (some 20 MiB), so that the number of blocks is known where it is
smaller: 32 GiB of changes."""

MAX_WORKER_COUNT: Final = 128
"""Workers, each of which is at the source or at the target; a buffer for each."""

INVALID_TOKEN: Final = "INVALID_BLOCK_TOKEN"

_ZEROS: Final = memoryview(ZERO_BLOCK)


@dataclass(frozen=True)
class Copied:
    """What a copy did; `snapshot_id` is None after a dry run, and the counts are then what would be done."""

    snapshot_id: str | None
    kind: str
    """`full` or `incremental`."""
    reason: str
    source_id: str
    parent_id: str | None
    """The copy's parent, at the target."""
    source_parent_id: str | None
    """What the parent is a copy of, at the source."""
    volume_size_gib: int
    sent_count: int
    zero_count: int
    """Blocks of zeros that were not sent, because nothing is there on the other side."""
    resumed_count: int
    seconds: float

    @property
    def sent_bytes(self) -> int:
        """Bytes of all blocks sent."""
        return self.sent_count * BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class _Move:
    block_index: int
    token: str | None
    """None: the block is in the earlier snapshot only, and becomes zeros."""
    over_parent: bool
    """Whether the parent may hold something there, so that zeros have to be written."""


def copy(
    from_service: Service,
    to_service: Service,
    snapshot_id: str,
    *,
    parent_id: str | None = AUTO,
    source_parent_id: str | None = None,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    carry_tags: bool = True,
    encrypted: bool | None = None,
    kms_key_arn: str | None = None,
    wait: bool = True,
    keep_failed: bool = False,
    resume: bool = True,
    dry_run: bool = False,
    state: Folders | None = None,
    observer: Observer | None = None,
    stop: Stop | None = None,
) -> Copied:
    """Make a snapshot at `to_service` that holds what `snapshot_id` holds at `from_service`.

    `parent_id`: `auto` (a snapshot there that is known to hold what an earlier one here holds, if there is one), None
    (a full copy), or a snapshot there; `source_parent_id` is what that is a copy of, where its tag does not say so.
    Description and tags are the source's, with `tags` over them, unless `description` or `carry_tags` say otherwise.

    Raises ClientError: a resumable one leaves a journal and the pending snapshot, so that the same call goes on; any
    other deletes what was begun, unless `keep_failed`.
    """
    asked = Asked(snapshot_id, parent_id, source_parent_id, description, tags or {}, carry_tags, encrypted, kms_key_arn)
    asked.check()
    work = _Copy(from_service, to_service, asked, state or Folders.standard(), observer or Silence(), stop or Stop())
    if dry_run:
        return work.rehearse()
    return work.run(wait=wait, keep_failed=keep_failed, resume=resume)


class _Copy:
    def __init__(
        self, source: Service, target: Service, asked: Asked, folders: Folders, observer: Observer, stop: Stop
    ) -> None:
        self._source = source
        self._target = target
        self._asked = asked
        self._folders = folders
        self._observer = observer
        self._stop = stop
        self._tally = Tally("copy")
        self._began_at = time.monotonic()
        self._snapshot: SourceSnapshot = look_at(source, asked.snapshot_id, observer)

    def rehearse(self) -> Copied:
        """Say what would be done."""
        plan = self._made_plan()
        self._tell(plan)
        count = sum(len(page.blocks) for page in self._pages(plan))
        self._observer.note(Note("plan", f"{count} blocks would be copied, {count * BLOCK_SIZE} bytes"))
        return self._outcome(None, plan, count)

    def run(self, *, wait: bool, keep_failed: bool, resume: bool) -> Copied:
        """Copy."""
        self._folders.prepare()
        block_count = self._snapshot.volume_size_gib * BLOCKS_PER_GIB
        store = JournalStore(self._folders.journals, self._observer)
        with store.open_or_create(self._key(resume=resume), block_count) as journal:
            plan, pending = self._begun(journal)
            try:
                if not pending.is_completed:
                    self._carry(pending, plan)
                status = pending.complete()
            except ClientError as error:
                pending.after_failure(error, keep=keep_failed)
                raise
            self._keep_index(journal, pending.snapshot_id, plan)
            journal.remove()
        if wait:
            pending.wait(status)
        return self._outcome(pending.snapshot_id, plan, self._tally.moved_count)

    def _key(self, *, resume: bool) -> dict[str, object]:
        """What makes two copies the same piece of work."""
        asked, source, target = self._asked, self._source.endpoint, self._target.endpoint
        return {
            "kind": "copy",
            "snapshot_id": asked.snapshot_id,
            "from": [source.url, source.region],
            "to": [target.url, target.region],
            "parent": [asked.parent_id, asked.source_parent_id],
            "description": asked.description,
            "tags": dict(sorted(asked.tags.items())),
            "carry_tags": asked.carry_tags,
            "encryption": [asked.encrypted, asked.kms_key_arn],
            "run": None if resume else new_client_token(),
        }

    def _begun(self, journal: Journal) -> tuple[Plan, PendingSnapshot]:
        """The plan, in the journal before anything is begun by it, and the pending snapshot."""
        plan = plan_in(journal.facts)
        if plan is None:
            plan = self._made_plan()
            journal.update(facts_of(plan))
        self._tell(plan)
        request = request_for(self._asked, self._snapshot, plan, self._source.endpoint.region)
        try:
            return plan, PendingSnapshot(self._target, journal, request, self._observer)
        except ClientError as error:
            if not error.resumable:
                journal.remove()
            raise

    def _made_plan(self) -> Plan:
        counterparts = Counterparts(
            self._source,
            self._target,
            self._snapshot.snapshot_id,
            self._snapshot.volume_size_gib,
            observer=self._observer,
        )
        return plan_for(self._asked, counterparts)

    def _tell(self, plan: Plan) -> None:
        facts = {"copy": plan.kind, "reason": plan.reason, "parent_id": plan.parent_id, "rejected": dict(plan.rejected)}
        self._observer.note(Note("plan", f"{plan.kind} copy: {plan.reason}", facts))

    def _carry(self, pending: PendingSnapshot, plan: Plan) -> None:
        """Move every block that was not acknowledged yet."""

        def perform(move: _Move, buffer: memoryview) -> None:
            if pending.known(move.block_index) is not None:
                self._tally.add(resumed=1)
                return
            block, digest = self._fetched(move, buffer)
            if digest == ZERO_DIGEST and not move.over_parent:
                self._tally.add(zero=1)
                return
            pending.put(move.block_index, block, digest, self._stop)
            self._tally.add(moved=1)

        source, target = self._source.options, self._target.options
        if plan.counterpart is None:
            self._tally.expected_count = self._snapshot.present_count
        self._observer.begin(self._tally)
        try:
            run(
                self._counted(_moves(self._pages(plan))),
                perform,
                worker_count=min(source.max_in_flight + target.max_in_flight, MAX_WORKER_COUNT),
                stall_seconds=max(source.stall_seconds, target.stall_seconds),
                stop=self._stop,
            )
        finally:
            self._observer.end(self._tally)

    def _fetched(self, move: _Move, buffer: memoryview) -> tuple[memoryview, Digest]:
        """The block's bytes, checked, and their digest. A token that has expired meanwhile is replaced."""
        if move.token is None:
            return _ZEROS, ZERO_DIGEST
        source_id = self._snapshot.snapshot_id
        try:
            return buffer, self._source.get_block(source_id, move.block_index, move.token, buffer, stop=self._stop)
        except RemoteError as error:
            if INVALID_TOKEN not in str(error):
                raise
        token = _token(self._source, source_id, move.block_index)
        return buffer, self._source.get_block(source_id, move.block_index, token, buffer, stop=self._stop)

    def _pages(self, plan: Plan) -> Iterator[BlockPage | ChangePage]:
        """What there is to move, as the source lists it."""
        source_id = self._snapshot.snapshot_id
        if plan.source_parent_id is None:
            return iter(self._source.block_pages(source_id))
        return iter(self._source.changed_pages(plan.source_parent_id, source_id))

    def _keep_index(self, journal: Journal, target_id: str, plan: Plan) -> None:
        """The new snapshot's digest index, for later incremental uploads on it, where all of it is known here."""
        store, size_gib = IndexStore(self._folders.indexes, self._observer), self._snapshot.volume_size_gib
        if plan.parent_id is None:
            store.keep(journal.table, target_id, size_gib)
            return
        try:
            parent = store.find(plan.parent_id, self._target.volume_size_gib(plan.parent_id))
        except (DeniedError, NotFoundError):
            return
        if parent is not None:
            with parent:
                store.merge(parent, journal.table, target_id, size_gib).close()

    def _counted(self, moves: Iterator[_Move]) -> Iterator[_Move]:
        """The same moves; where they are few, all are known, and so counted, before the first is handed out."""
        ahead = deque(islice(moves, AHEAD_COUNT))
        if len(ahead) < AHEAD_COUNT:
            self._tally.expected_count = len(ahead)
        while ahead:
            yield ahead.popleft()
        yield from moves

    def _outcome(self, target_id: str | None, plan: Plan, sent_count: int) -> Copied:
        return Copied(
            snapshot_id=target_id,
            kind=plan.kind,
            reason=plan.reason,
            source_id=self._snapshot.snapshot_id,
            parent_id=plan.parent_id,
            source_parent_id=plan.source_parent_id,
            volume_size_gib=self._snapshot.volume_size_gib,
            sent_count=sent_count,
            zero_count=self._tally.zero_count,
            resumed_count=self._tally.resumed_count,
            seconds=time.monotonic() - self._began_at,
        )


def _moves(pages: Iterable[BlockPage | ChangePage]) -> Iterator[_Move]:
    for page in pages:
        for block in page.blocks:
            if isinstance(block, ListedBlock):
                yield _Move(block.block_index, block.token, over_parent=False)
            else:
                yield _Move(block.block_index, block.second_token, over_parent=block.first_token is not None)


def _token(service: Service, snapshot_id: str, block_index: int) -> str:
    """A new token for a block that is present."""
    for page in service.block_pages(snapshot_id, block_index):
        for block in page.blocks:
            if block.block_index == block_index:
                return block.token
            break
    raise DamagedError(f"block {block_index} of {snapshot_id} was listed before, and is not there any more")
