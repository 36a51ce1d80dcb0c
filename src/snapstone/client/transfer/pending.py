"""A snapshot in the making, with its journal: started once, resumed after any kill, sealed once, or taken back.

The order of what is durable, which is what makes every kill harmless:

1. the journal with the client token and the whole request, before the snapshot is started: started twice with one
   token, it is one snapshot;
2. the snapshot's id in the journal, before the first block is sent;
3. for each block, that it is in doubt, before it is sent, and its digest after its acknowledgement: a block whose
   acknowledgement was lost with this process is sent again, whatever the image holds there by then;
4. the stage `completing`, before the seal: who resumes then seals again, which is harmless, and sends nothing more to
   this snapshot;
5. the digest index of the new snapshot; the journal is removed when the seal is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Final
from uuid import uuid4

from snapstone.client.api.retrying import SETTLE_SECONDS, Interruption
from snapstone.client.api.service import Service
from snapstone.client.api.values import StartRequest
from snapstone.client.errors import ClientError, DeniedError, NotFoundError, RemoteError
from snapstone.client.events import Note, Observer
from snapstone.client.transfer.journal import Journal
from snapstone.core.blocks import DIGEST_SIZE, Digest

IN_DOUBT: Final = Digest(b"\xff" * DIGEST_SIZE)
"""Entry of a block that was being sent: it may be there, or not. No block has this digest."""

SYNC_SECONDS: Final = 1.0
"""The journal is synced about this often; what a power loss takes from it is sent again."""

WAIT_SECONDS: Final = 3_600.0
"""How long a seal is waited for."""

COMPLETING: Final = "completing"
GONE: Final = "gone"


class SealedError(ClientError):
    """A block differs from what an earlier run has sealed already: this snapshot cannot take it any more."""


class PendingSnapshot:
    """One snapshot from its start to its seal. Blocks may be put from any thread."""

    def __init__(
        self, service: Service, journal: Journal, request: StartRequest, observer: Observer, *, resumable: bool = True
    ) -> None:
        """Start the snapshot that the journal does not know yet, or resume the one it knows. Raises ClientError.

        Without `resumable`, no later run can find this journal: what fails is taken back.
        """
        self._service = service
        self._journal = journal
        self._observer = observer
        self._resumable = resumable
        self._sync_lock = threading.Lock()
        self._synced_at = time.monotonic()
        self._is_recent = False
        self._has_earlier = journal.resumed
        """Whether there are entries of an earlier run: without them, none need be looked for."""
        self.is_sealed = False
        """An earlier run reached the seal. Nothing more is put: calling `complete` again finishes it."""
        self.snapshot_id = self._resumed(request) or self._started(request)

    def known(self, block_index: int) -> Digest | None:
        """The digest that an earlier run got acknowledged at an index; IN_DOUBT if unknown."""
        return self._journal.table.get(block_index) if self._has_earlier else None

    def has_acknowledged(self, block_index: int) -> bool:
        """Whether a block was acknowledged for sure."""
        return self.known(block_index) not in (None, IN_DOUBT)

    def entries(self) -> Iterator[tuple[int, Digest]]:
        """All that was sent, by block index; some of it in doubt."""
        return self._journal.table.items()

    def put(self, block_index: int, block: memoryview, digest: Digest, stop: Interruption) -> None:
        """Send a block, and enter it into the journal once it is acknowledged. Raises SealedError, and as Service."""
        if self.is_sealed:
            raise SealedError(f"block {block_index} is not the same as in {self.snapshot_id}")
        table = self._journal.table
        self._service.put_block(
            self.snapshot_id,
            block_index,
            block,
            digest,
            stop=stop,
            recent=self._is_recent,
            before_sending=lambda: table.record(block_index, IN_DOUBT),
        )
        self._is_recent = False
        table.record(block_index, digest)
        self._sync_now_and_then()

    def complete(self) -> str:
        """Seal, with count and aggregate of everything acknowledged; `completed` or `pending`."""
        table = self._journal.table
        table.sync()
        self._journal.update({"stage": COMPLETING})
        count, aggregate = table.summary()
        status = self._service.complete_snapshot(self.snapshot_id, count, aggregate, recent=self._is_recent)
        if status == "error":
            raise RemoteError(
                f"{self.snapshot_id} ended in error: the endpoint does not have the {count} blocks that it "
                "acknowledged",
                "error",
            )
        return status

    def wait(self, status: str) -> None:
        """Wait until the seal is done, unless `status` says that it is."""
        if status != "completed":
            self._observer.note(Note("waiting", f"waiting for {self.snapshot_id} to complete"))
            self._service.wait_completed(self.snapshot_id, WAIT_SECONDS, recent=True)

    def start_anew(self, request: StartRequest) -> None:
        """Leave the snapshot that is sealed as it is, and start another."""
        text = f"the image changed since an earlier run completed {self.snapshot_id}; starting over"
        self._observer.note(Note("warning", text, {"snapshot_id": self.snapshot_id}))
        self._forget_everything()
        self.is_sealed = False
        self.snapshot_id = self._started(request)

    def after_failure(self, error: ClientError, *, keep: bool) -> None:
        """Leave what can be resumed; else, unless `keep`, delete the snapshot and the journal."""
        facts = {"snapshot_id": self.snapshot_id}
        if error.resumable and self._resumable:
            text = f"{self.snapshot_id} left pending; run the same command to resume"
            self._observer.note(Note("unfinished", text, facts))
        elif keep:
            self._observer.note(Note("unfinished", f"{self.snapshot_id} left pending, as requested", facts))
            self._journal.finish(self._observer)
        elif self._take_back(self.snapshot_id) or not self._resumable:
            self._journal.finish(self._observer)

    def _take_back(self, snapshot_id: str) -> bool:
        """Delete what is half done; whether that worked."""
        facts = {"snapshot_id": snapshot_id}
        try:
            self._service.delete_snapshot(snapshot_id)
        except NotFoundError:
            return True
        except ClientError as error:
            text = f"could not delete the incomplete snapshot {snapshot_id}, which will time out: {error}"
            self._observer.note(Note("warning", text, facts))
            return False
        self._observer.note(Note("deleted", f"deleted the incomplete snapshot {snapshot_id}", facts))
        return True

    def _resumed(self, request: StartRequest) -> str | None:
        """The ID of the snapshot that an earlier run began, if it can be resumed."""
        snapshot_id = self._journal.facts.get("snapshot_id")
        if not isinstance(snapshot_id, str):
            return None
        stage, state = self._journal.facts.get("stage"), self._state(snapshot_id)
        unlike = None
        if state in ("error", GONE) or (state == "completed" and stage != COMPLETING):
            unlike = f"is {state}"
        elif not _is_same(self._journal.facts.get("request"), request):
            unlike = "was started with other tags or another size"
        if unlike is not None:
            self._begin_anew(snapshot_id, unlike, keep=state == "completed")
            return None
        self.is_sealed = stage == COMPLETING
        count = self._journal.table.count()
        text = f"resuming {snapshot_id} ({count} blocks already uploaded)"
        self._observer.note(Note("resumed", text, {"snapshot_id": snapshot_id, "sent_count": count}))
        return snapshot_id

    def _begin_anew(self, snapshot_id: str, why: str, *, keep: bool) -> None:
        text = f"{snapshot_id} of an earlier run {why}; starting over"
        self._observer.note(Note("warning", text, {"snapshot_id": snapshot_id}))
        if not keep:
            self._take_back(snapshot_id)
        self._forget_everything()

    def _forget_everything(self) -> None:
        """Entries first: were the id gone first, a kill in between would leave them to another snapshot."""
        table = self._journal.table
        for block_index, _ in self.entries():
            table.forget(block_index)
        table.sync()
        gone = ("snapshot_id", "request", "stage", "started_at")
        table.set_facts({name: value for name, value in table.facts.items() if name not in gone})
        self._has_earlier = False

    def _state(self, snapshot_id: str) -> str | None:
        """The state from EC2; None without permission, or if EC2 may not know it yet: then the puts will show it."""
        try:
            described = self._service.describe([snapshot_id])
        except DeniedError:
            return None
        except NotFoundError:
            described = []
        if described:
            return described[0].state
        started_at = self._journal.facts.get("started_at")
        young = isinstance(started_at, float) and 0 <= time.time() - started_at < SETTLE_SECONDS
        self._is_recent = young and next(self.entries(), None) is None
        return None if self._is_recent else GONE

    def _started(self, request: StartRequest) -> str:
        """Start it with the token in the journal, or with a new one that is there before it is used."""
        stored = _stored(self._journal.facts.get("request"))
        if stored is not None and _is_same(asdict(stored), request):
            snapshot_id = self._start(stored)
            if self._state(snapshot_id) in ("pending", None):
                return self._entered(snapshot_id)
        self._journal.update({"request": asdict(request), "started_at": time.time()})
        return self._entered(self._start(request))

    def _start(self, request: StartRequest) -> str:
        try:
            return self._service.start_snapshot(request)
        except ClientError as error:
            if not (error.resumable and self._resumable):
                self._journal.finish(self._observer)
            raise

    def _entered(self, snapshot_id: str) -> str:
        self._journal.update({"snapshot_id": snapshot_id})
        self._is_recent = True
        self._observer.note(Note("started", f"started {snapshot_id}", {"snapshot_id": snapshot_id}))
        return snapshot_id

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self._synced_at < SYNC_SECONDS or not self._sync_lock.acquire(blocking=False):
            return
        try:
            self._journal.table.sync()
            self._synced_at = time.monotonic()
        finally:
            self._sync_lock.release()


def new_client_token() -> str:
    """A name for one start of a snapshot."""
    return f"snapstone-{uuid4()}"


def _stored(request: object) -> StartRequest | None:
    """A request as a journal has it; None if there is none, or another release wrote it."""
    if not isinstance(request, Mapping) or set(request) != {field.name for field in fields(StartRequest)}:
        return None
    return StartRequest(**request)


def _is_same(stored: object, request: StartRequest) -> bool:
    """Whether a stored request asks for what this one does, whatever its token."""
    if not isinstance(stored, Mapping):
        return False
    return {**stored, "client_token": None} == {**asdict(request), "client_token": None}
