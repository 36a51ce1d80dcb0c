"""A snapshot from one endpoint into a new one at another: every block read, checked, written, acknowledged, journaled.

The bytes are hashed once, when they have been read: that digest is compared with the source's checksum, and is the
checksum of the write. `pending` describes what is durable when. Unlike an upload, a copy that resumes believes its
journal and does not read again what was acknowledged: its source is a completed snapshot, which never changes, so a
journaled digest cannot be out of date. A block in doubt, or whose entry was lost with the power, is sent again; an
entry that was damaged makes another aggregate checksum, which the endpoint refuses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.api.values import SnapshotInfo, StartRequest
from snapstone.client.errors import ClientError, DeniedError, NotFoundError, RemoteError, UsageError
from snapstone.client.events import Note, NullObserver, Observer, Tally
from snapstone.client.transfer.counterparts import COPIED_FROM, Counterpart, Counterparts, origin_value
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import Journal, JournalStore
from snapstone.client.transfer.moves import Move, Moves
from snapstone.client.transfer.pending import PendingSnapshot, new_client_token
from snapstone.client.transfer.pipeline import StopSignal, run
from snapstone.client.transfer.upload import SIZE_TAG, TIMEOUT_MINUTES
from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB, ZERO_DIGEST
from snapstone.core.tags import MAX_TAGS, is_reserved

AUTO: Final = "auto"
"""Look for a parent on the other side."""


@dataclass(frozen=True, kw_only=True)
class CopyOptions:
    """Options of a copy."""

    parent_id: str | None = AUTO
    """`auto` (a snapshot there that is known to hold what an earlier one here holds, if there is one), None (a full
    copy), or a snapshot there."""
    source_parent_id: str | None = None
    """The source of `parent_id`, if its tag does not say so."""
    description: str | None = None
    """The source's by default."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Over the source's."""
    carry_tags: bool = True
    """The source's tags too."""
    encrypted: bool | None = None
    kms_key_arn: str | None = None
    wait: bool = True
    """Until the copy is completed."""
    keep_failed: bool = False
    """Leave the pending snapshot if the copy fails permanently."""
    resume: bool = True
    """The state of an earlier, interrupted run of the same copy."""
    dry_run: bool = False
    """Count what would be copied, and copy nothing."""

    @property
    def has_key(self) -> bool:
        """Return whether encryption was specified."""
        return self.encrypted is not None or self.kms_key_arn is not None

    def check(self) -> None:
        """Raise UsageError for conflicting options."""
        if self.parent_id not in (None, AUTO) and self.has_key:
            raise UsageError(
                f"an incremental copy uses the key of its parent, {self.parent_id}: omit encryption and KMS key, "
                "or request a full copy"
            )
        if self.source_parent_id is not None and self.parent_id in (None, AUTO):
            raise UsageError(
                f"{self.source_parent_id} is given as the source of the parent, but no parent is given: "
                "also give the snapshot on the target"
            )


@dataclass(frozen=True)
class SourceSnapshot:
    """The snapshot that is copied, as far as its endpoint describes it."""

    snapshot_id: str
    volume_size_gib: int
    info: SnapshotInfo | None
    """None if it may be read but not described."""

    @property
    def present_count(self) -> int | None:
        """Blocks that are present, if the endpoint reports it."""
        return None if self.info is None or self.info.full_size is None else self.info.full_size // BLOCK_SIZE


@dataclass(frozen=True)
class Plan:
    """How the copy is made."""

    counterpart: Counterpart | None
    reason: str
    rejected: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Snapshots there that were checked and cannot be the parent, each with the reason."""

    @property
    def kind(self) -> str:
        """`full` or `incremental`."""
        return "full" if self.counterpart is None else "incremental"

    @property
    def parent_id(self) -> str | None:
        """On the target's side."""
        return None if self.counterpart is None else self.counterpart.target_id

    @property
    def source_parent_id(self) -> str | None:
        """On the source's side."""
        return None if self.counterpart is None else self.counterpart.source_id


def look_at(service: Service, snapshot_id: str, observer: Observer) -> SourceSnapshot:
    """The snapshot to be copied. Raises UsageError if it is not completed, NotFoundError if it is not there."""
    try:
        info = next(iter(service.describe([snapshot_id], owner=None)), None)
    except DeniedError as error:
        if error.resumable:
            raise
        info = None
        message = f"no permission to describe {snapshot_id}, so its description and tags are not copied ({error})"
        observer.note(Note("warning", message))
    except NotFoundError:
        info = None  # The endpoint of the blocks has the last word, in the next call.
    if info is not None and info.state != "completed":
        raise UsageError(f"{snapshot_id} is {info.state}; only a completed snapshot can be copied")
    return SourceSnapshot(snapshot_id, service.volume_size_gib(snapshot_id), info)


def plan_for(options: CopyOptions, counterparts: Counterparts) -> Plan:
    """Full or incremental, and why. Raises UsageError if the parent that was named cannot be used."""
    if options.parent_id is None:
        return Plan(None, "as requested")
    if options.parent_id == AUTO:
        if options.has_key:
            return Plan(None, "encryption was requested, and an incremental copy uses its parent's key")
        search = counterparts.search()
        return Plan(search.found, search.why, search.rejected)
    pair = counterparts.named(options.parent_id, options.source_parent_id)
    return Plan(pair, pair.why)


def request_for(options: CopyOptions, source: SourceSnapshot, plan: Plan, region: str) -> StartRequest:
    """The request that starts the copy; `region` is the source's."""
    info = source.info
    carried = {} if info is None else dict(info.tags)
    if not options.carry_tags:
        carried = {name: value for name, value in carried.items() if name == SIZE_TAG}
    tags = {name: value for name, value in carried.items() if not is_reserved(name)} | dict(options.tags)
    tags[COPIED_FROM] = origin_value(source.snapshot_id, region, "" if info is None else info.owner_id)
    if len(tags) > MAX_TAGS:
        raise UsageError(
            f"the copy would have {len(tags)} tags, including the one that names its source, but {MAX_TAGS} are "
            "allowed: copy no tags, or remove one from the source"
        )
    description = options.description
    if description is None:
        description = "" if info is None else info.description
    return StartRequest(
        volume_size_gib=source.volume_size_gib,
        client_token=new_client_token(),
        parent_id=plan.parent_id,
        description=description,
        tags=tags,
        encrypted=options.encrypted,
        kms_key_arn=options.kms_key_arn,
        timeout_minutes=TIMEOUT_MINUTES,
    )


def facts_of(plan: Plan) -> dict[str, object]:
    """A plan as JSON values, for a journal."""
    return {"reason": plan.reason, "counterpart": None if plan.counterpart is None else asdict(plan.counterpart)}


def plan_in(facts: Mapping[str, object]) -> Plan | None:
    """The plan in a journal, if there is one yet."""
    reason, pair = facts.get("reason"), facts.get("counterpart")
    if reason is None:
        return None
    return Plan(Counterpart(**pair) if isinstance(pair, dict) else None, str(reason))


@dataclass(frozen=True)
class CopyResult:
    """The result of a copy; after a dry run `snapshot_id` is None, and the counts are what would be done."""

    snapshot_id: str | None
    kind: str
    """`full` or `incremental`."""
    reason: str
    source_id: str
    parent_id: str | None
    """The copy's parent, at the target."""
    source_parent_id: str | None
    """The parent's own source."""
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


def copy(
    from_service: Service,
    to_service: Service,
    snapshot_id: str,
    options: CopyOptions | None = None,
    *,
    state: Folders | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> CopyResult:
    """Make a snapshot at `to_service` that holds what `snapshot_id` holds at `from_service`.

    Raises ClientError: a resumable one leaves a journal and the pending snapshot, so that the same call resumes; any
    other deletes what was begun, unless `keep_failed`.
    """
    options = options or CopyOptions()
    options.check()
    folders = state or Folders.standard()
    work = _Copy(
        from_service, to_service, snapshot_id, options, folders, observer or NullObserver(), stop or StopSignal()
    )
    return work.rehearse() if options.dry_run else work.run()


class _Copy:
    def __init__(
        self,
        source: Service,
        target: Service,
        snapshot_id: str,
        options: CopyOptions,
        folders: Folders,
        observer: Observer,
        stop: StopSignal,
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._folders = folders
        self._observer = observer
        self._stop = stop
        self._tally = Tally("copy")
        self._began_at = time.monotonic()
        self._snapshot: SourceSnapshot = look_at(source, snapshot_id, observer)

    def rehearse(self) -> CopyResult:
        """Report what would be done."""
        plan = self._made_plan()
        self._tell(plan)
        count = self._moves(plan).count()
        self._observer.note(Note("plan", f"{count} blocks would be copied, {count * BLOCK_SIZE} bytes"))
        return self._outcome(None, plan, count)

    def run(self) -> CopyResult:
        """Copy."""
        self._folders.prepare()
        self._check_rights()
        journal, plan, pending = self._begun(resume=self._options.resume)
        with journal:
            try:
                if not pending.is_sealed:
                    self._carry(pending, plan)
                status = pending.complete()
            except ClientError as error:
                pending.after_failure(error, keep=self._options.keep_failed)
                raise
            self._keep_index(journal, pending.snapshot_id, plan)
            if self._options.wait:
                pending.wait(status)
            journal.finish(self._observer)
        return self._outcome(pending.snapshot_id, plan, self._tally.moved_count)

    def _check_rights(self) -> None:
        """Check in advance the permission needed at the end; only a warning, because it may depend on tags."""
        if not self._target.may_complete():
            text = "the target's credentials appear to lack ebs:CompleteSnapshot; the copy could not be completed"
            self._observer.note(Note("warning", text))

    def _key(self, *, resume: bool) -> dict[str, object]:
        """The facts that make two copies the same work."""
        options, source, target = self._options, self._source.endpoint, self._target.endpoint
        return {
            "kind": "copy",
            "snapshot_id": self._snapshot.snapshot_id,
            "from": [source.url, source.region],
            "to": [target.url, target.region],
            "parent": [options.parent_id, options.source_parent_id],
            "description": options.description,
            "tags": dict(sorted(options.tags.items())),
            "carry_tags": options.carry_tags,
            "encryption": [options.encrypted, options.kms_key_arn],
            "run": None if resume else new_client_token(),
        }

    def _begun(self, *, resume: bool) -> tuple[Journal, Plan, PendingSnapshot]:
        """Journal, plan and pending snapshot; the plan is in the journal before anything is begun by it."""
        journal = self._journal(resume=resume)
        plan = plan_in(journal.facts)
        try:
            plan = plan or self._made_plan()
            return journal, plan, self._pending(journal, plan, resume=resume)
        except ClientError as error:
            if not error.resumable:
                journal.finish(self._observer)
            journal.close()
            if plan is None or not self._may_do_without(plan, error):
                raise
            # Such as a plain parent if new snapshots have to be encrypted since.
            plan = Plan(None, f"{plan.reason}, but it cannot be built on ({error})")
        journal = self._journal(resume=resume)
        try:
            return journal, plan, self._pending(journal, plan, resume=resume)
        except ClientError:
            journal.close()
            raise

    def _may_do_without(self, plan: Plan, error: ClientError) -> bool:
        """Whether the start was refused because of a parent that the user did not choose."""
        return (
            plan.counterpart is not None
            and self._options.parent_id == AUTO
            and isinstance(error, (RemoteError, NotFoundError))
        )

    def _journal(self, *, resume: bool) -> Journal:
        store = JournalStore(self._folders.journals, self._observer)
        return store.open_or_create(self._key(resume=resume), self._snapshot.volume_size_gib * BLOCKS_PER_GIB)

    def _pending(self, journal: Journal, plan: Plan, *, resume: bool) -> PendingSnapshot:
        request = request_for(self._options, self._snapshot, plan, self._source.endpoint.region)
        journal.update(facts_of(plan))
        self._tell(plan)
        return PendingSnapshot(self._target, journal, request, self._observer, resumable=resume)

    def _made_plan(self) -> Plan:
        counterparts = Counterparts(
            self._source,
            self._target,
            self._snapshot.snapshot_id,
            self._snapshot.volume_size_gib,
            observer=self._observer,
        )
        return plan_for(self._options, counterparts)

    def _tell(self, plan: Plan) -> None:
        facts = {"copy": plan.kind, "reason": plan.reason, "parent_id": plan.parent_id, "rejected": dict(plan.rejected)}
        self._observer.note(Note("plan", f"{plan.kind} copy: {plan.reason}", facts))

    def _carry(self, pending: PendingSnapshot, plan: Plan) -> None:
        """Move every block that was not acknowledged yet."""
        moves = self._moves(plan)

        def perform(move: Move, buffer: memoryview) -> None:
            if pending.has_acknowledged(move.block_index):
                self._tally.add(resumed=1)
                return
            block, digest = moves.fetch(move, buffer)
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
                moves.counted(self._tally),
                perform,
                worker_count=lambda: self._source.get_workers() + self._target.put_workers(),
                stall_seconds=max(source.stall_seconds, target.stall_seconds),
                stop=self._stop,
            )
        finally:
            self._observer.end(self._tally)

    def _moves(self, plan: Plan) -> Moves:
        return Moves(self._source, self._snapshot.snapshot_id, plan.source_parent_id, self._stop)

    def _keep_index(self, journal: Journal, target_id: str, plan: Plan) -> None:
        """The copy's digest index, if all of it is known here."""
        store, size_gib = IndexStore(self._folders.indexes, self._observer), self._snapshot.volume_size_gib
        with store.trying(target_id), ExitStack() as opened:
            parent = None
            if plan.parent_id is not None:
                parent = self._parent_index(store, plan.parent_id)
                if parent is None:
                    return
                opened.enter_context(parent)
            store.merge(parent, journal.table, target_id, size_gib).close()

    def _parent_index(self, store: IndexStore, parent_id: str) -> DigestTable | None:
        try:
            return store.find(parent_id, self._target.volume_size_gib(parent_id))
        except (DeniedError, NotFoundError):
            return None

    def _outcome(self, target_id: str | None, plan: Plan, sent_count: int) -> CopyResult:
        return CopyResult(
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
