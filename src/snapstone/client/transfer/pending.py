"""A snapshot in the making, with its journal: started once, resumed after any kill, sealed once, or taken back.

The order of what is durable, which is what makes every kill harmless:

1. the journal with the client token and the whole request, before the snapshot is started: started twice with one
   token, it is one snapshot;
2. the snapshot's id in the journal, before the first block is sent;
3. each block's digest in the journal, after its acknowledgement;
4. the stage `completing`, before the seal: who resumes and finds the snapshot completed then knows it for its own;
5. the digest index of the new snapshot, and only then is the journal removed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Final
from uuid import uuid4

from snapstone.client.api.retrying import Stop
from snapstone.client.api.service import Service
from snapstone.client.api.values import StartRequest
from snapstone.client.errors import ClientError, DeniedError, NotFoundError, RemoteError
from snapstone.client.events import Note, Observer
from snapstone.client.transfer.journal import Journal
from snapstone.core.blocks import Digest

SYNC_SECONDS: Final = 1.0
"""The journal is synced about so often: what a loss of power takes from it is sent again."""

WAIT_SECONDS: Final = 3_600.0
"""How long a seal is waited for."""

COMPLETING: Final = "completing"


class PendingSnapshot:
    """One snapshot from its start to its seal. Blocks may be put from any thread."""

    def __init__(self, service: Service, journal: Journal, request: StartRequest, observer: Observer) -> None:
        """Start the snapshot that the journal does not know yet, or go on with the one it knows. Raises ClientError."""
        self._service = service
        self._journal = journal
        self._observer = observer
        self._sync_lock = threading.Lock()
        self._synced_at = time.monotonic()
        self._is_recent = False
        self.is_completed = False
        """The seal was done by the run before, which did not live to see it."""
        self.snapshot_id = self._resumed() or self._started(request)

    def known(self, block_index: int) -> Digest | None:
        """What was acknowledged at an index, by this run or one before."""
        return self._journal.table.get(block_index)

    def acknowledged(self) -> Iterator[tuple[int, Digest]]:
        """All that was acknowledged, by block index."""
        return self._journal.table.items()

    def put(self, block_index: int, block: memoryview, digest: Digest, stop: Stop) -> None:
        """Send a block, and enter it into the journal once it is acknowledged."""
        self._service.put_block(self.snapshot_id, block_index, block, digest, stop=stop, recent=self._is_recent)
        self._is_recent = False
        self._journal.table.record(block_index, digest)
        self._sync_now_and_then()

    def complete(self) -> str:
        """Seal, with count and aggregate of everything acknowledged; `completed` or `pending`."""
        if self.is_completed:
            return "completed"
        table = self._journal.table
        table.sync()
        self._journal.update({"stage": COMPLETING})
        count, aggregate = table.summary()
        status = self._service.complete_snapshot(self.snapshot_id, count, aggregate)
        if status == "error":
            raise RemoteError(
                f"{self.snapshot_id} ended in error: the endpoint does not have the {count} blocks that it "
                "acknowledged, or has others",
                "error",
            )
        return status

    def wait(self, status: str) -> None:
        """Wait until the seal is done, unless `status` says that it is."""
        if status != "completed":
            self._observer.note(Note("waiting", f"waiting until {self.snapshot_id} is completed"))
            self._service.wait_completed(self.snapshot_id, WAIT_SECONDS)

    def after_failure(self, error: ClientError, *, keep: bool) -> None:
        """Leave what can be gone on with; else, unless `keep`, take the snapshot and the journal back."""
        facts = {"snapshot_id": self.snapshot_id}
        if error.resumable:
            text = f"{self.snapshot_id} stays pending: the same command goes on with it"
            self._observer.note(Note("unfinished", text, facts))
            return
        if keep:
            self._observer.note(Note("unfinished", f"{self.snapshot_id} stays pending, as asked", facts))
        else:
            self._take_back()
        self._journal.remove()

    def _take_back(self) -> None:
        try:
            self._service.delete_snapshot(self.snapshot_id)
        except ClientError as error:
            text = f"the unfinished snapshot {self.snapshot_id} could not be deleted, and times out by itself: {error}"
            self._observer.note(Note("warning", text, {"snapshot_id": self.snapshot_id}))
        else:
            self._observer.note(Note("deleted", f"the unfinished snapshot {self.snapshot_id} was deleted"))

    def _resumed(self) -> str | None:
        snapshot_id = self._journal.facts.get("snapshot_id")
        if snapshot_id is None:
            return None
        state = self._state(str(snapshot_id))
        self.is_completed = state == "completed" and self._journal.facts.get("stage") == COMPLETING
        if self.is_completed or state in ("pending", None):
            count = self._journal.table.count()
            text = f"going on with {snapshot_id}, which has acknowledged {count} blocks"
            self._observer.note(Note("resumed", text, {"snapshot_id": snapshot_id, "acknowledged_count": count}))
            return str(snapshot_id)
        text = f"{snapshot_id}, which an earlier run began, is {state}: starting anew"
        self._observer.note(Note("warning", text, {"snapshot_id": snapshot_id}))
        self._forget_everything()
        return None

    def _forget_everything(self) -> None:
        """Entries first: were the id gone first, a kill in between would leave them to another snapshot."""
        table = self._journal.table
        for block_index, _ in self.acknowledged():
            table.forget(block_index)
        table.sync()
        gone = ("snapshot_id", "request", "stage")
        table.set_facts({name: value for name, value in table.facts.items() if name not in gone})

    def _state(self, snapshot_id: str) -> str | None:
        """What EC2 says; None where these credentials may not ask it: then the first put shows."""
        try:
            described = self._service.describe([snapshot_id])
        except DeniedError:
            return None
        except NotFoundError:
            return "gone"
        return described[0].state if described else "gone"

    def _started(self, request: StartRequest) -> str:
        """Start it with the token in the journal, or with a new one that is there before it is used."""
        stored = self._journal.facts.get("request")
        if isinstance(stored, Mapping):
            request = StartRequest(**stored)
        else:
            self._journal.update({"request": asdict(request)})
        try:
            snapshot_id = self._service.start_snapshot(request)
        except ClientError as error:
            if not error.resumable:
                self._journal.remove()
            raise
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
