"""Which snapshot on the other side holds what an earlier one here holds: only what came since has to be carried.

Each copy is tagged with where it came from. So a counterpart is found from either side: a snapshot there that is a copy
of one here, or one here that is a copy of one there. A tag can lie (tags can be edited, and are carried along by other
tools), so a few blocks are compared before it is believed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from snapstone.client.api.control_calls import SHORTEST_PAGE
from snapstone.client.api.service import Service
from snapstone.client.api.values import ListedBlock, SnapshotInfo
from snapstone.client.errors import DeniedError, NotFoundError, RemoteError, UsageError
from snapstone.client.events import Note, Observer
from snapstone.client.transfer.pipeline import StopSignal, ordered, run
from snapstone.core.blocks import BLOCKS_PER_GIB, ZERO_DIGEST, Digest

COPIED_FROM: Final = "snapstone:copied-from"
"""Tag of a copy: the id of the snapshot that it is a copy of, its region and its owner, with spaces between."""

MAX_CANDIDATE_COUNT: Final = 64
"""Candidates that are checked, newest copy first; each costs a request."""

LOOK_COUNT: Final = 8
"""Candidates that are checked at once."""

PROOF_BLOCK_COUNT: Final = 8
"""Blocks that are compared before a counterpart is believed."""

UNRELATED: Final = "UNRELATED_SNAPSHOTS"

_SNAPSHOT_ID: Final = re.compile(r"snap-[0-9a-f]{1,59}")


@dataclass(frozen=True)
class Counterpart:
    """A pair of snapshots of equal content, one on each side."""

    source_id: str
    target_id: str
    why: str
    """How that is known, for people."""


@dataclass(frozen=True)
class CounterpartSearch:
    """The result of a search for a counterpart."""

    found: Counterpart | None
    why: str
    """Why this one, or why none: for people."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Candidates there that were checked and cannot be used, each with the reason."""


@dataclass(frozen=True)
class _Candidate:
    pair: Counterpart
    copied_at: datetime


def origin_value(source_id: str, region: str, owner_id: str) -> str:
    """The value of a copy's tag."""
    return " ".join(filter(None, (source_id, region, owner_id)))


def origin_of(tags: Mapping[str, str]) -> str | None:
    """The id of the snapshot that one with these tags is a copy of, if the tag says so."""
    words = tags.get(COPIED_FROM, "").split()
    return words[0] if words and _SNAPSHOT_ID.fullmatch(words[0]) else None


class Counterparts:
    """Finds the counterpart for a copy of one snapshot from one endpoint to another."""

    def __init__(
        self,
        source: Service,
        target: Service,
        snapshot_id: str,
        volume_size_gib: int,
        *,
        observer: Observer,
        chance: random.Random | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._snapshot_id = snapshot_id
        self._volume_size_gib = volume_size_gib
        self._observer = observer
        self._chance = chance or random.Random()

    def search(self) -> CounterpartSearch:
        """The counterpart whose copy is the newest, among those that can be used."""
        try:
            candidates = self._candidates()
        except DeniedError as error:
            if error.resumable:
                raise
            return CounterpartSearch(None, f"could not search for copies on the target ({error})")
        rejected: dict[str, str] = {}
        for pair, refusal in self._looked_at([candidate.pair for candidate in candidates[:MAX_CANDIDATE_COUNT]]):
            refusal = refusal or self._difference(pair)
            if refusal is None:
                return CounterpartSearch(pair, pair.why, rejected)
            rejected[pair.target_id] = f"{pair.why}, but {refusal}"
        return CounterpartSearch(None, _summary(len(candidates), rejected), rejected)

    def named(self, target_id: str, source_id: str | None) -> Counterpart:
        """The counterpart that somebody names. Raises UsageError if it cannot be used, saying why."""
        pair = self._named_pair(target_id, source_id)
        refusal = self._strangeness(pair) or self._difference(pair)
        if refusal is not None:
            raise UsageError(
                f"{target_id} cannot be the parent of the copy: {pair.why}, but {refusal}; "
                "give another parent, or request a full copy"
            )
        return pair

    def _named_pair(self, target_id: str, source_id: str | None) -> Counterpart:
        if source_id is not None:
            return Counterpart(source_id, target_id, f"{target_id} is given as a copy of {source_id}")
        for info in self._target.describe([target_id]):
            if (origin := origin_of(info.tags)) is not None:
                return _forward(origin, target_id)
        for info in self._tagged(self._source):
            if origin_of(info.tags) == target_id:
                return _backward(info.snapshot_id, target_id)
        raise UsageError(f"{target_id} has no tag {COPIED_FROM} that names its source; give it with --source-parent")

    def _candidates(self) -> Sequence[_Candidate]:
        """Newest copy first."""
        found = [
            _Candidate(_forward(origin, info.snapshot_id), info.started_at)
            for info in self._tagged(self._target)
            if (origin := origin_of(info.tags)) is not None and info.volume_size_gib <= self._volume_size_gib
        ]
        found += self._backward_candidates()
        return sorted(found, key=lambda candidate: candidate.copied_at, reverse=True)

    def _backward_candidates(self) -> list[_Candidate]:
        """Snapshots here that are copies of some there which are still there."""
        try:
            copies = {info.snapshot_id: info for info in self._tagged(self._source)}
        except DeniedError as error:
            if error.resumable:
                raise
            return []
        origins = {snapshot_id: origin_of(info.tags) for snapshot_id, info in copies.items()}
        usable = self._usable_ids_there({origin for origin in origins.values() if origin is not None})
        return [
            _Candidate(_backward(snapshot_id, origin), copies[snapshot_id].started_at)
            for snapshot_id, origin in origins.items()
            if origin is not None and origin in usable
        ]

    def _usable_ids_there(self, snapshot_ids: set[str]) -> set[str]:
        """Those of these ids that the target's account has as completed snapshots that are not too large."""
        if not snapshot_ids:
            return set()
        described = self._target.describe(filters={"status": ["completed"]})
        return {
            info.snapshot_id
            for info in described
            if info.snapshot_id in snapshot_ids and info.volume_size_gib <= self._volume_size_gib
        }

    def _tagged(self, service: Service) -> list[SnapshotInfo]:
        return service.describe(filters={"tag-key": [COPIED_FROM], "status": ["completed"]})

    def _looked_at(self, pairs: Sequence[Counterpart]) -> Iterator[tuple[Counterpart, str | None]]:
        """Pairs in their order, each with why its lineage forbids it; some are asked about at once."""
        looks = ordered(
            pairs,
            lambda pair, _: self._strangeness(pair),
            worker_count=LOOK_COUNT,
            window=LOOK_COUNT,
            stall_seconds=self._source.options.stall_seconds,
            stop=StopSignal(),
        )
        return ((pair, refusal) for pair, _, refusal in looks)

    def _strangeness(self, pair: Counterpart) -> str | None:
        """Why what came since the earlier snapshot cannot be listed; None if it can."""
        try:
            next(self._source.changed_pages(pair.source_id, self._snapshot_id), None)
        except NotFoundError:
            return f"{pair.source_id} no longer exists"
        except DeniedError as error:
            if error.resumable:
                raise
            return f"no permission to read {pair.source_id} ({error})"
        except RemoteError as error:
            if error.reason == UNRELATED:
                return f"{pair.source_id} and {self._snapshot_id} are not related"
            return f"{pair.source_id} cannot be compared ({error})"
        return None

    def _difference(self, pair: Counterpart) -> str | None:
        """The reason why the two are not equal; None if they may be."""
        try:
            differing = self._differing_block(pair)
        except DeniedError as error:
            if error.resumable:
                raise
            message = f"not checked that {pair.target_id} has the content of {pair.source_id} ({error})"
            self._observer.note(Note("warning", message))
            return None
        except (NotFoundError, RemoteError) as error:
            return f"{pair.target_id} cannot be read ({error})"
        return None if differing is None else f"block {differing} of {pair.target_id} does not match"

    def _differing_block(self, pair: Counterpart) -> int | None:
        """Compare a few blocks, chosen on either side; the index of one that differs."""
        chosen = {*self._sample(self._source, pair.source_id), *self._sample(self._target, pair.target_id)}
        if not chosen:
            return None
        here = _tokens(self._source, pair.source_id, chosen)
        there = _tokens(self._target, pair.target_id, chosen)
        differing: list[int] = []

        def compare(block_index: int, buffer: memoryview) -> None:
            first = _digest(self._source, pair.source_id, block_index, here.get(block_index), buffer)
            second = _digest(self._target, pair.target_id, block_index, there.get(block_index), buffer)
            if first != second:
                differing.append(block_index)

        run(
            sorted(chosen),
            compare,
            worker_count=PROOF_BLOCK_COUNT,
            stall_seconds=self._source.options.stall_seconds,
            stop=StopSignal(),
        )
        return min(differing, default=None)

    def _sample(self, service: Service, snapshot_id: str) -> list[int]:
        """Indexes of some blocks that are present, from a place chosen at random."""
        start = self._chance.randrange(self._volume_size_gib * BLOCKS_PER_GIB)
        blocks = _first_blocks(service, snapshot_id, start) or _first_blocks(service, snapshot_id, 0)
        return [block.block_index for block in self._chance.sample(blocks, min(PROOF_BLOCK_COUNT // 2, len(blocks)))]


def _forward(source_id: str, target_id: str) -> Counterpart:
    return Counterpart(source_id, target_id, f"{target_id} on the target is a copy of {source_id}")


def _backward(source_id: str, target_id: str) -> Counterpart:
    return Counterpart(source_id, target_id, f"{source_id} on the source is a copy of {target_id}")


def _first_blocks(service: Service, snapshot_id: str, start: int) -> Sequence[ListedBlock]:
    """The blocks of the first page that has some; few are enough."""
    return next((page.blocks for page in service.block_pages(snapshot_id, start, SHORTEST_PAGE) if page.blocks), ())


def _tokens(service: Service, snapshot_id: str, wanted: Collection[int]) -> dict[int, str]:
    """The tokens of those of these blocks that are present; lists no further than the last of them."""
    found: dict[int, str] = {}
    for block_index in sorted(wanted):
        if block_index in found:
            continue
        blocks = _first_blocks(service, snapshot_id, block_index)
        if not blocks:
            break
        found |= {block.block_index: block.token for block in blocks if block.block_index in wanted}
    return found


def _digest(service: Service, snapshot_id: str, block_index: int, token: str | None, buffer: memoryview) -> Digest:
    return ZERO_DIGEST if token is None else service.get_block(snapshot_id, block_index, token, buffer)


def _summary(candidate_count: int, rejected: Mapping[str, str]) -> str:
    if not candidate_count:
        return "no copy of an earlier snapshot was found"
    newest = next(iter(rejected.values()))
    if candidate_count == 1:
        return newest
    looked_at = f" (only the newest {len(rejected)} were checked)" if len(rejected) < candidate_count else ""
    return f"none of {candidate_count} copies{looked_at} can be the parent; the newest: {newest}"
