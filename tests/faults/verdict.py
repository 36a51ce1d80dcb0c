"""Holds a server against what its clients were told before the fault."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from time import monotonic, sleep
from typing import Final

from tests.faults.client import Client, Described, GoneError, RefusedError, block
from tests.faults.history import Call, History, Put, Story
from tests.faults.servers import Running

WAIT_SECONDS: Final = 40.0
"""How long a snapshot may take to complete that was cut off in its seal or copy; leases end before."""

PAUSE_SECONDS: Final = 0.05

PENDING: Final = "is still pending"
"""What is said of a snapshot that does not complete in that time."""


class Fault(Enum):
    """What a server must not do."""

    LOST = "lost"
    """Something acknowledged is not there, or cannot be read."""
    WRONG = "wrong"
    """Something else is told than what was written."""
    STUCK = "stuck"
    """It does not start, or something never ends."""
    SILENT = "silent"
    """Something is missing, and nothing says so."""


@dataclass
class Verdict:
    """What was looked up, and what was wrong with it."""

    faults: list[tuple[Fault, str]] = field(default_factory=list)
    looked_up: Counter[str] = field(default_factory=Counter)

    def add(self, fault: Fault, what: str) -> None:
        """Note something wrong."""
        self.faults.append((fault, what))

    def merge(self, other: Verdict) -> None:
        """Take another's in."""
        self.faults += other.faults
        self.looked_up += other.looked_up

    def count(self, fault: Fault) -> int:
        """How often."""
        return sum(found is fault for found, _ in self.faults)


def judge(
    running: Running,
    history: History,
    moment: int,
    wait_seconds: float = WAIT_SECONDS,
    now: Callable[[], int] | None = None,
) -> Verdict:
    """Look everything up that was acknowledged by a moment; what was pending is completed on the way.

    With `now`, which tells the time as the history does, what is written and completed is noted there.
    """
    verdict = Verdict()
    client = running.client()
    try:
        _Judge(client, history, moment, verdict, wait_seconds, now).look()
    except GoneError as error:
        verdict.add(Fault.STUCK, f"the server is gone: {error}")
    except RefusedError as error:
        verdict.add(Fault.STUCK, f"a call is refused: {error}")
    finally:
        client.close()
    return verdict


@dataclass
class _Judge:
    client: Client
    history: History
    moment: int
    verdict: Verdict
    wait_seconds: float
    now: Callable[[], int] | None

    def look(self) -> None:
        described = self.client.describe()
        for story in self.history.stories:
            if story.started.is_sure(self.moment):
                self._look_at(story, described.get(story.snapshot_id))
        self._look_at_unknown(described)
        for key, made in self.history.keys:
            if made.is_sure(self.moment):
                self._expect(Fault.LOST, f"key {key}", partial(self._is_enabled, key))
        self._write_anew()

    def _look_at(self, story: Story, described: Described | None) -> None:
        snapshot_id = story.snapshot_id
        if story.may_be_deleted(self.moment):
            if described is not None and story.is_deleted(self.moment):
                self.verdict.add(Fault.WRONG, f"{snapshot_id} was deleted and is {described.state}")
            if described is None:
                return
        if described is None:
            self.verdict.add(Fault.LOST, f"{snapshot_id} is not described")
            return
        for name, values in story.sure_tags(self.moment).items():
            self.verdict.looked_up["tags"] += 1
            if described.tags.get(name) not in values:
                self.verdict.add(Fault.LOST, f"tag {name} of {snapshot_id}: {described.tags.get(name)}, not {values}")
        if story.is_copy:
            stamps = story.content()
            self._wait_for_copy(story)
        elif story.is_completed(self.moment):
            stamps = story.content()
            if described.state != "completed":
                self.verdict.add(Fault.LOST, f"{snapshot_id} was completed and is {described.state}")
        elif described.state == "error":
            self.verdict.add(Fault.LOST, f"{snapshot_id} is in error: {described.message}")
            return
        else:
            completed = self._complete(story, described)
            if completed is None:
                return
            stamps = completed
        self._read(story, stamps)

    def _complete(self, story: Story, described: Described) -> dict[int, int] | None:
        """Complete a pending snapshot as its writer would: what is in doubt is written again first."""
        stamps: dict[int, int] = {}
        for block_index, possible in story.written(self.moment).items():
            known = [stamp for stamp in possible if stamp is not None]
            stamps[block_index] = known[-1]
            if len(possible) > 1 and not self._was_asked_to_complete(story):
                self.client.put(story.snapshot_id, block_index, known[-1])
                if self.now is not None:
                    story.puts.append(Put(self.now(), self.now(), block_index, known[-1]))
        self.verdict.looked_up["acknowledged puts"] += len(stamps)
        if not stamps and described.state == "pending":
            return None
        status = self._poll(lambda: self.client.complete(story.snapshot_id, stamps))
        if status != "completed":
            fault, state = (Fault.STUCK, PENDING) if status == "pending" else (Fault.LOST, f"is in {status}")
            self.verdict.add(fault, f"{story.snapshot_id}, {len(stamps)} blocks, {state} when it is completed")
            return None
        if self.now is not None:
            story.completion = Call(self.now(), self.now())
        inherited = story.parent.content() if story.parent is not None else {}
        return inherited | stamps

    def _was_asked_to_complete(self, story: Story) -> bool:
        return story.completion is not None and story.completion.is_possible(self.moment)

    def _wait_for_copy(self, story: Story) -> None:
        status = self._poll(lambda: self.client.describe()[story.snapshot_id].state)
        if status != "completed":
            state = PENDING if status == "pending" else f"is in {status}"
            self.verdict.add(Fault.STUCK, f"copy {story.snapshot_id} {state}")

    def _poll(self, ask: Callable[[], str]) -> str:
        deadline = monotonic() + self.wait_seconds
        while (status := ask()) == "pending" and monotonic() < deadline:
            sleep(PAUSE_SECONDS)
        return status

    def _read(self, story: Story, stamps: dict[int, int]) -> None:
        snapshot_id = story.snapshot_id
        self.verdict.looked_up["snapshots"] += 1
        try:
            tokens = self.client.tokens(snapshot_id)
        except RefusedError as error:
            self.verdict.add(Fault.LOST, f"{snapshot_id} cannot be listed: {error}")
            return
        if tokens.keys() != stamps.keys():
            self.verdict.add(Fault.WRONG, f"{snapshot_id} lists {sorted(tokens)}, not {sorted(stamps)}")
        for block_index, token in tokens.items():
            if block_index in stamps:
                self._read_block(story, block_index, token, stamps[block_index])
        if story.parent is not None and not story.is_copy and not story.parent.may_be_deleted(self.moment):
            before = story.parent.content()
            expected = {index for index in stamps if before.get(index) != stamps[index]}
            self._expect(
                Fault.WRONG,
                f"differences of {snapshot_id} from its parent",
                partial(self._differs_at, story.parent.snapshot_id, snapshot_id, expected),
            )

    def _is_enabled(self, key: str) -> bool:
        return self.client.key_state(key) == "Enabled"

    def _differs_at(self, first_id: str, second_id: str, expected: set[int]) -> bool:
        return self.client.changed(first_id, second_id) == expected

    def _read_block(self, story: Story, block_index: int, token: str, stamp: int) -> None:
        self.verdict.looked_up["blocks"] += 1
        try:
            data = self.client.get(story.snapshot_id, block_index, token)
        except RefusedError as error:
            self.verdict.add(Fault.LOST, f"{story.snapshot_id}/{block_index}: {error}")
            return
        if data != block(stamp):
            self.verdict.add(Fault.WRONG, f"{story.snapshot_id}/{block_index} holds other bytes")

    def _look_at_unknown(self, described: dict[str, Described]) -> None:
        """A snapshot whose start was not answered is pending; nobody has completed it. A copy may complete."""
        known = {story.snapshot_id for story in self.history.stories}
        for snapshot_id in described.keys() - known:
            self.verdict.looked_up["unknown snapshots"] += 1
            if described[snapshot_id].state == "completed":
                self.verdict.looked_up["unknown completed snapshots"] += 1

    def _expect(self, fault: Fault, what: str, ask: Callable[[], bool]) -> None:
        self.verdict.looked_up["other facts"] += 1
        try:
            if not ask():
                self.verdict.add(fault, what)
        except RefusedError as error:
            self.verdict.add(Fault.LOST, f"{what}: {error}")

    def _write_anew(self) -> None:
        """The server goes on: a new snapshot can be written, completed and read."""
        stamp = random.Random(self.moment).randrange(1 << 40, 1 << 41)
        stamps = {0: stamp, 700: 1, 1500: 0}
        snapshot_id = self.client.start()
        for block_index, each in stamps.items():
            self.client.put(snapshot_id, block_index, each)
        status = self._poll(lambda: self.client.complete(snapshot_id, stamps))
        if status != "completed":
            self.verdict.add(Fault.STUCK, f"a new snapshot {PENDING if status == 'pending' else f'is in {status}'}")
            return
        self._read(Story(snapshot_id, Call(0, 0)), stamps)
