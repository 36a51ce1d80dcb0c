"""The load under which faults happen: several clients that write, overwrite, complete, derive, copy, tag and delete.

Each client works on snapshots of its own. It retries what the server answers with an error, as an SDK would, and stops
once the server is gone. What it was told goes into the history.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from time import sleep
from typing import Final, TypeVar

from tests.faults.client import ZERO_STAMP, Client, GoneError, RefusedError, block
from tests.faults.history import Call, History, Put, Story
from tests.faults.servers import Running

CLIENTS: Final = 4
SHARED_STAMPS: Final = 12
"""Stamps 1 to this are written by all clients, so that duplicates race."""

INDEXES: Final = (*range(24), *range(500, 524), 1024, 2047)
"""Of three leaf pages of the block map."""

ATTEMPTS: Final = 60
RETRY_PAUSE_SECONDS: Final = 0.05
COMPLETION_ATTEMPTS: Final = 2_400
"""Two minutes: a seal that has failed three times is tried again after 40 seconds."""

Result = TypeVar("Result")


class GivenUpError(Exception):
    """A call was refused by the server repeatedly."""


class LimitedError(Exception):
    """As many copies are under way as AWS allows at once: on a slow machine they end later than the load asks."""


@dataclass
class Load:
    """The load of one server; `moment` tells the time in moments of the recording."""

    history: History
    moment: Callable[[], int]
    seed: int
    put_limit: int = 1 << 30
    """Acknowledged puts after which no new snapshot is begun."""
    patient: bool = False
    """Whether a client goes on that gets no answer: another worker may give one."""
    stopped: Event = field(default_factory=Event)
    _stamps: count[int] = field(default_factory=lambda: count(1000))
    _put_count: int = 0

    def run(self, running: Running, clients: int = CLIENTS) -> None:
        """Work until the limit is reached, the server is gone, or `stopped` is set."""
        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(self._work, running, number) for number in range(clients)]:
                done.result()

    def _work(self, running: Running, number: int) -> None:
        worker = _Worker(self, running.client(), random.Random(f"{self.seed}/{number}"))
        try:
            while not self.stopped.is_set() and self._put_count < self.put_limit:
                worker.one_snapshot()
        except GoneError:
            return
        except GivenUpError as error:
            self.history.complaints.append(f"stuck: {error}")
        finally:
            worker.client.close()

    def next_stamp(self, chance: random.Random) -> int:
        """A block's stamp: shared, zero or new."""
        drawn = chance.random()
        if drawn < 0.2:
            return chance.randint(1, SHARED_STAMPS)
        return ZERO_STAMP if drawn < 0.28 else next(self._stamps)

    def count_put(self) -> None:
        self._put_count += 1


@dataclass
class _Worker:
    """One client."""

    load: Load
    client: Client
    chance: random.Random
    own: list[Story] = field(default_factory=list)
    """Its completed snapshots that are not deleted."""
    key: str | None = None

    def one_snapshot(self) -> None:
        """A snapshot from its start to its completion, and what may follow."""
        if self.key is None and self.chance.random() < 0.3:
            self._make_key()
        story = self._start()
        if story is None:
            return
        for _ in range(self.chance.randint(2, 9)):
            if self.load.stopped.is_set():
                return
            self._put(story, self.chance.choice(INDEXES), self.load.next_stamp(self.chance))
            if self.chance.random() < 0.25:
                self._put(story, story.puts[-1].block_index, self.load.next_stamp(self.chance))
        if self.chance.random() < 0.3:
            self._tag(story)
        if self.chance.random() < 0.85 and self._complete(story):
            self._after(story)

    def _start(self) -> Story | None:
        parent = self.chance.choice(self.own) if self.own and self.chance.random() < 0.5 else None
        key = self.key if parent is None and self.chance.random() < 0.4 else None
        started = Call(self.load.moment())
        snapshot_id = self._told(
            started, lambda: self.client.start(None if parent is None else parent.snapshot_id, key)
        )
        is_encrypted = key is not None or (parent is not None and parent.is_encrypted)
        return self.load.history.add(Story(snapshot_id, started, parent, is_encrypted=is_encrypted))

    def _put(self, story: Story, block_index: int, stamp: int) -> None:
        for _ in range(ATTEMPTS):
            put = Put(self.load.moment(), block_index=block_index, stamp=stamp)
            story.puts.append(put)
            try:
                self.client.put(story.snapshot_id, block_index, stamp)
            except (RefusedError, GoneError) as error:
                self._refused(error)
                continue
            put.answered = self.load.moment()
            self.load.count_put()
            return
        raise GivenUpError(f"put of {story.snapshot_id}/{block_index}")

    def _complete(self, story: Story) -> bool:
        story.completion = Call(self.load.moment())
        stamps = story.acknowledged()
        for _ in range(COMPLETION_ATTEMPTS):
            try:
                status = self.client.complete(story.snapshot_id, stamps)
            except (RefusedError, GoneError) as error:
                self._refused(error)
                continue
            if status == "completed":
                story.completion.answered = self.load.moment()
                self.own.append(story)
                return True
            if status == "error":
                self._complain(f"lost: {story.snapshot_id} ended in error at its completion")
                return False
            sleep(RETRY_PAUSE_SECONDS)
        raise GivenUpError(f"completion of {story.snapshot_id}")

    def _after(self, story: Story) -> None:
        self._read_some(self.chance.choice(self.own))
        drawn = self.chance.random()
        if drawn < 0.3:
            copied = Call(self.load.moment())
            key = self.key if self.chance.random() < 0.6 else None
            try:
                copy_id = self._told(copied, lambda: self.client.copy(story.snapshot_id, key))
            except LimitedError:
                return
            encrypted = story.is_encrypted or key is not None
            self.load.history.add(Story(copy_id, copied, story, is_copy=True, is_encrypted=encrypted))
            self.own.remove(story)  # a source is not deleted while it is copied
        elif drawn < 0.55:
            gone = self.own.pop(self.chance.randrange(len(self.own)))
            gone.deletion = Call(self.load.moment())
            self._told(gone.deletion, lambda: self._delete(gone))

    def _delete(self, story: Story) -> None:
        try:
            self.client.delete(story.snapshot_id)
        except RefusedError as error:
            if error.code != "InvalidSnapshot.NotFound":  # an attempt that was answered 500 may have deleted it
                raise

    def _tag(self, story: Story) -> None:
        value = str(self.chance.randrange(1_000_000))
        call = Call(self.load.moment())
        story.tags.append(("name", value, call))
        self._told(call, lambda: self.client.tag(story.snapshot_id, "name", value))

    def _make_key(self) -> None:
        call = Call(self.load.moment())
        self.key = self._told(call, self.client.create_key)
        with self.load.history.lock:
            self.load.history.keys.append((self.key, call))

    def _told(self, call: Call, ask: Callable[[], Result]) -> Result:
        """Ask until it succeeds, and note when."""
        for _ in range(ATTEMPTS):
            try:
                result = ask()
            except (RefusedError, GoneError) as error:
                self._refused(error)
                continue
            call.answered = self.load.moment()
            return result
        raise GivenUpError(ask.__qualname__)

    def _read_some(self, story: Story) -> None:
        """Read a block or two of a completed snapshot: an error of the server will do, other bytes will not."""
        stamps = story.content()
        try:
            tokens = self.client.tokens(story.snapshot_id)
            if tokens.keys() != stamps.keys():
                self._complain(f"wrong: {story.snapshot_id} lists {sorted(tokens)}, not {sorted(stamps)}")
            for block_index in self.chance.sample(sorted(tokens), min(2, len(tokens))):
                if self.client.get(story.snapshot_id, block_index, tokens[block_index]) != block(stamps[block_index]):
                    self._complain(f"wrong: {story.snapshot_id}/{block_index} holds other bytes")
        except (RefusedError, GoneError) as error:
            self._refused(error)

    def _complain(self, what: str) -> None:
        with self.load.history.lock:
            self.load.history.complaints.append(what)

    def _refused(self, error: RefusedError | GoneError) -> None:
        """An error of the server is retried a little later; anything else would be this bench's mistake, or a lie."""
        if isinstance(error, GoneError) and not self.load.patient:
            raise error
        with self.load.history.lock:
            self.load.history.refused_count += 1
        if isinstance(error, RefusedError) and error.code == "ResourceLimitExceeded":
            raise LimitedError from error
        if isinstance(error, RefusedError) and error.status < 500 and "read-only" not in error.message:
            self._complain(f"wrong: refused as the client's fault: {error}")
        if self.load.stopped.wait(RETRY_PAUSE_SECONDS):
            raise GoneError("stopped")
