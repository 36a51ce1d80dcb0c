"""What a client requested, what it was told, and when: the facts that a server is held against after a fault.

Moments are those of the recordings (`Control.moment`): an answer read at a moment rests only on what ended before it,
and a call has had no effect before the moment at which it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

NOT_YET = 1 << 62


@dataclass(slots=True)
class Call:
    """One call. Without a successful answer it may have been carried out or not."""

    sent: int
    answered: int = NOT_YET

    def is_sure(self, moment: int) -> bool:
        """Whether success had been told by then."""
        return self.answered <= moment

    def is_possible(self, moment: int) -> bool:
        """Whether it may have had an effect by then."""
        return self.sent < moment


@dataclass(slots=True)
class Put(Call):
    """One block written."""

    block_index: int = 0
    stamp: int = 0


@dataclass(eq=False)
class Story:
    """One snapshot, from its start to its deletion."""

    snapshot_id: str
    started: Call
    parent: Story | None = None
    """Whose blocks it inherits: a parent, or the source of a copy."""
    is_copy: bool = False
    is_encrypted: bool = False
    puts: list[Put] = field(default_factory=list)
    """Puts at one index follow each other: none was sent before the one before it was over."""
    completion: Call | None = None
    deletion: Call | None = None
    tags: list[tuple[str, str, Call]] = field(default_factory=list)

    def written(self, moment: int = NOT_YET) -> dict[int, set[int | None]]:
        """For each block index, the stamps that may stand there at a moment; None for no block of its own."""
        found: dict[int, set[int | None]] = {}
        for put in self.puts:
            if not put.is_possible(moment):
                continue
            before = found.get(put.block_index, {None})
            found[put.block_index] = {put.stamp} if put.is_sure(moment) else before | {put.stamp}
        return found

    def acknowledged(self) -> dict[int, int]:
        """The blocks of its own, where every index is known."""
        stamps: dict[int, int] = {}
        for block_index, possible in self.written().items():
            [stamp] = possible
            assert stamp is not None
            stamps[block_index] = stamp
        return stamps

    def content(self) -> dict[int, int]:
        """The stamp at each index that is present once it is completed."""
        inherited = self.parent.content() if self.parent is not None else {}
        return inherited | self.acknowledged()

    def is_completed(self, moment: int) -> bool:
        """Whether its completion had been told by then."""
        return self.completion is not None and self.completion.is_sure(moment)

    def may_be_deleted(self, moment: int) -> bool:
        """Whether its deletion had been requested by then."""
        return self.deletion is not None and self.deletion.is_possible(moment)

    def is_deleted(self, moment: int) -> bool:
        """Whether its deletion had been told by then."""
        return self.deletion is not None and self.deletion.is_sure(moment)

    def sure_tags(self, moment: int) -> Mapping[str, set[str | None]]:
        """For each tag, the values that it may have at a moment."""
        found: dict[str, set[str | None]] = {}
        for name, value, call in self.tags:
            if call.is_possible(moment):
                found[name] = {value} if call.is_sure(moment) else found.get(name, {None}) | {value}
        return found


@dataclass
class History:
    """All that several clients did."""

    stories: list[Story] = field(default_factory=list)
    keys: list[tuple[str, Call]] = field(default_factory=list)
    """ARNs of KMS keys."""
    complaints: list[str] = field(default_factory=list)
    """Answers under load that were wrong by themselves."""
    refused_count: int = 0
    """Calls that were answered by an error of the server."""
    lock: Lock = field(default_factory=Lock)

    def __getstate__(self) -> dict[str, object]:
        """For a recording that is kept: all but the lock."""
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, lock=Lock())

    def add(self, story: Story) -> Story:
        """Note a snapshot."""
        with self.lock:
            self.stories.append(story)
        return story

    def acknowledged_count(self, moment: int = NOT_YET) -> int:
        """Puts that had been acknowledged by then."""
        return sum(put.is_sure(moment) for story in self.stories for put in story.puts)
