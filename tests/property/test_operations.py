"""The operations in any order against plain dicts: real catalog and segments, deadlines that pass, restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.errors import (
    InvalidBlockError,
    InvalidBlockTokenError,
    InvalidVolumeSizeError,
    ParentNotCompleteError,
    SnapshotAlreadyCompletedError,
    SnapshotNotFoundError,
    UnrelatedSnapshotsError,
)
from snapstone.core.ids import SnapshotId
from tests.installation import MINUTE_MS, ZERO, Installation, aggregate, block

CONTENTS: Final = {"zero": ZERO} | {name: block(name) for name in ("a", "b", "c", "d")}

INDEXES: Final = (0, 1, 2, 511, 512, 2_046, 2_047, 2_048, 4_095)
"""The last two exist in volumes of 2 GiB only."""

names = st.sampled_from(sorted(CONTENTS))
indexes = st.sampled_from(INDEXES)
page_sizes = st.integers(1, 4)

NOT_FOUND: Final = (SnapshotState.ERROR, None)


@dataclass
class Model:
    """One snapshot as it should be; blocks by the names of their contents."""

    size_gib: int
    lineage: SnapshotId
    inherited: dict[int, str]
    timeout_minutes: int
    deadline_ms: int
    written: dict[int, str] = field(default_factory=dict)
    state: SnapshotState | None = SnapshotState.PENDING
    """None once it is deleted."""

    @property
    def blocks(self) -> dict[int, str]:
        return self.inherited | self.written

    def contents(self) -> dict[int, bytes]:
        return {index: CONTENTS[name] for index, name in self.blocks.items()}

    def written_contents(self) -> dict[int, bytes]:
        return {index: CONTENTS[name] for index, name in self.written.items()}


@dataclass(frozen=True)
class Token:
    """A block token from a list, and what it should read."""

    snapshot_id: SnapshotId
    block_index: int
    name: str
    text: str
    expires_at_ms: int


class Operations(RuleBasedStateMachine):
    snapshots = Bundle("snapshots")
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[SnapshotId, Model] = {}

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.installation = Installation(Path(self.folder.name))

    def teardown(self) -> None:
        self.installation.close()
        self.folder.cleanup()

    @property
    def now_ms(self) -> int:
        return self.installation.clock.now_ms

    def time_out(self, model: Model) -> None:
        """What CompleteSnapshot does to a pending snapshot past its deadline."""
        if model.state is SnapshotState.PENDING and self.now_ms > model.deadline_ms:
            model.state = SnapshotState.ERROR
            model.written.clear()

    # -- writing --

    @rule(target=snapshots, size_gib=st.sampled_from([1, 2]), timeout_minutes=st.sampled_from([10, 60]))
    def start(self, size_gib: int, timeout_minutes: int) -> SnapshotId:
        snapshot_id = self.installation.start(volume_size=size_gib, timeout=timeout_minutes)
        deadline_ms = self.now_ms + timeout_minutes * MINUTE_MS
        self.models[snapshot_id] = Model(size_gib, snapshot_id, {}, timeout_minutes, deadline_ms)
        return snapshot_id

    @rule(target=snapshots, parent_id=snapshots, size_gib=st.sampled_from([1, 2]))
    def start_on_parent(self, parent_id: SnapshotId, size_gib: int) -> SnapshotId:
        parent = self.models[parent_id]

        def start() -> SnapshotId:
            return self.installation.start(parent_snapshot_id=parent_id, volume_size=size_gib, timeout=30)

        if parent.state is SnapshotState.PENDING:
            # Past its deadline the reaper may have seen it already, or not.
            with pytest.raises((ParentNotCompleteError, SnapshotNotFoundError)):
                start()
        elif parent.state in NOT_FOUND:
            with pytest.raises(SnapshotNotFoundError):
                start()
        elif size_gib < parent.size_gib:
            with pytest.raises(InvalidVolumeSizeError):
                start()
        else:
            snapshot_id = start()
            deadline_ms = self.now_ms + 30 * MINUTE_MS
            self.models[snapshot_id] = Model(size_gib, parent.lineage, parent.blocks, 30, deadline_ms)
            return snapshot_id
        return multiple()  # type: ignore[return-value]

    @rule(snapshot_id=snapshots, index=indexes, name=names)
    def put(self, snapshot_id: SnapshotId, index: int, name: str) -> None:
        model = self.models[snapshot_id]

        def put() -> None:
            self.installation.put(snapshot_id, index, CONTENTS[name])

        if model.state in NOT_FOUND or (model.state is SnapshotState.PENDING and self.now_ms > model.deadline_ms):
            with pytest.raises(SnapshotNotFoundError):
                put()
        elif model.state is SnapshotState.COMPLETED:
            with pytest.raises(SnapshotAlreadyCompletedError):
                put()
        elif index >= model.size_gib * 2_048:
            with pytest.raises(InvalidBlockError):
                put()
        else:
            put()
            model.written[index] = name
            model.deadline_ms = self.now_ms + model.timeout_minutes * MINUTE_MS

    @rule(snapshot_id=snapshots, declared=st.sampled_from(["count", "count and checksum"]))
    def complete(self, snapshot_id: SnapshotId, declared: str) -> None:
        model = self.models[snapshot_id]
        self.time_out(model)
        checksum = None if declared == "count" else aggregate(model.written_contents())

        if model.state is None:
            with pytest.raises(SnapshotNotFoundError):
                self.installation.complete(snapshot_id, len(model.written), checksum)
            return
        status = self.installation.complete(snapshot_id, len(model.written), checksum)
        if model.state is SnapshotState.PENDING:
            model.state = SnapshotState.COMPLETED
        assert status == str(model.state)

    @rule(snapshot_id=snapshots, wrong=st.sampled_from(["one more", "one less", "checksum", "no checksum at all"]))
    def complete_wrongly(self, snapshot_id: SnapshotId, wrong: str) -> None:
        model = self.models[snapshot_id]
        self.time_out(model)
        count, checksum = len(model.written), aggregate(model.written_contents())
        if wrong in ("one more", "one less"):
            count += 1 if wrong == "one more" or not count else -1
        else:
            checksum = aggregate({0: b"other"}) if wrong == "checksum" else "AAAA"
        if model.state is None:
            with pytest.raises(SnapshotNotFoundError):
                self.installation.complete(snapshot_id, count, checksum)
            return
        status = self.installation.complete(snapshot_id, count, checksum)
        if model.state is SnapshotState.PENDING:
            model.state = SnapshotState.ERROR
            model.written.clear()
        assert status == str(model.state)

    # -- reading --

    @rule(
        target=tokens,
        snapshot_id=snapshots,
        start=st.integers(0, 4_200),
        size=page_sizes,
    )
    def list_blocks(self, snapshot_id: SnapshotId, start: int, size: int) -> Token:
        model = self.models[snapshot_id]
        if model.state is not SnapshotState.COMPLETED:
            with pytest.raises(SnapshotNotFoundError):
                self.installation.list_page(snapshot_id)
            return multiple()  # type: ignore[return-value]
        entries = self.installation.list_all(snapshot_id, max_results=size, starting_block_index=start)
        expected = [index for index in sorted(model.blocks) if index >= start]
        assert [entry["BlockIndex"] for entry in entries] == expected
        expires_at_ms = self.now_ms // 1000 * 1000 + 7 * 24 * 60 * MINUTE_MS
        return multiple(  # type: ignore[return-value]
            *(
                Token(
                    snapshot_id,
                    entry["BlockIndex"],
                    model.blocks[entry["BlockIndex"]],
                    entry["BlockToken"],
                    expires_at_ms,
                )
                for entry in entries
            )
        )

    @rule(token=tokens, other=snapshots)
    def get(self, token: Token, other: SnapshotId) -> None:
        if self.models[token.snapshot_id].state is not SnapshotState.COMPLETED:
            with pytest.raises(SnapshotNotFoundError):
                self.installation.get(token.snapshot_id, token.block_index, token.text)
        elif self.now_ms > token.expires_at_ms:
            with pytest.raises(InvalidBlockTokenError):
                self.installation.get(token.snapshot_id, token.block_index, token.text)
        else:
            assert self.installation.get(token.snapshot_id, token.block_index, token.text) == CONTENTS[token.name]
        if other != token.snapshot_id:
            with pytest.raises((InvalidBlockTokenError, SnapshotNotFoundError)):
                self.installation.get(other, token.block_index, token.text)

    @rule(first_id=snapshots, second_id=snapshots, start=st.integers(0, 4_200), size=page_sizes)
    def compare(self, first_id: SnapshotId, second_id: SnapshotId, start: int, size: int) -> None:
        first, second = self.models[first_id], self.models[second_id]
        if first.state is not SnapshotState.COMPLETED or second.state is not SnapshotState.COMPLETED:
            with pytest.raises(SnapshotNotFoundError):
                self.installation.changes_page(first_id, second_id)
            return
        if first.lineage != second.lineage:
            with pytest.raises(UnrelatedSnapshotsError):
                self.installation.changes_page(first_id, second_id)
            return
        entries = self.installation.changes(first_id, second_id, max_results=size, starting_block_index=start)
        expected = [
            index
            for index in sorted(first.blocks.keys() | second.blocks.keys())
            if index >= start and first.blocks.get(index) != second.blocks.get(index)
        ]
        assert [entry["BlockIndex"] for entry in entries] == expected
        for entry in entries:
            for side, snapshot_id in (("FirstBlockToken", first_id), ("SecondBlockToken", second_id)):
                name = self.models[snapshot_id].blocks.get(entry["BlockIndex"])
                if name is None:
                    assert entry[side] is None
                else:
                    content = self.installation.get(snapshot_id, entry["BlockIndex"], entry[side])
                    assert content == CONTENTS[name]

    # -- what goes, time, restarts --

    @rule(snapshot_id=snapshots)
    def delete(self, snapshot_id: SnapshotId) -> None:
        model = self.models[snapshot_id]
        if model.state is not None:
            self.installation.delete(snapshot_id)
            model.state = None
        with pytest.raises(SnapshotNotFoundError):
            self.installation.delete(snapshot_id)

    @rule(minutes=st.sampled_from([1, 5, 11, 31, 61, 4 * 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.installation.clock.advance_minutes(minutes)

    @rule()
    def tick(self) -> None:
        self.installation.tick()

    @precondition(lambda self: self.models)
    @rule()
    def restart(self) -> None:
        self.installation.reopen()

    @invariant()
    def states_are_as_they_should_be(self) -> None:
        for snapshot_id, model in self.models.items():
            row = self.installation.catalog.snapshot(snapshot_id)
            if model.state is SnapshotState.PENDING and self.now_ms > model.deadline_ms:
                assert row is not None
                assert row.state in (SnapshotState.PENDING, SnapshotState.ERROR)
            else:
                assert (None if row is None else row.state) == model.state
            if row is not None and row.state is SnapshotState.COMPLETED:
                assert row.block_count == len(model.blocks)


TestOperations = Operations.TestCase
TestOperations.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_running_time_goes_on_over_a_restart_wherever_it_falls(tmp_path: Path) -> None:
    """Found by the machine above when a restart did not note the time, as a stopping server does."""
    installation = Installation(tmp_path / "data")
    installation.clock.advance_minutes(1)
    snapshot_id = installation.start(timeout=10)
    installation.reopen()
    installation.clock.advance_minutes(11)
    with pytest.raises(SnapshotNotFoundError):
        installation.put(snapshot_id, 0, CONTENTS["a"])
    installation.close()


def test_every_completed_snapshot_keeps_its_bytes_through_a_long_lineage(tmp_path: Path) -> None:
    """Twenty generations, each over the one before, some deleted: each reads as it did when it was sealed."""
    installation = Installation(tmp_path / "data")
    expected: dict[SnapshotId, dict[int, bytes]] = {}
    parent: dict[str, str] = {}
    content: dict[int, bytes] = {}
    for generation in range(20):
        written = {generation % 7: block(f"g{generation}"), generation * 100: CONTENTS["a"]}
        snapshot_id = installation.sealed(written, **parent)
        content = content | written
        expected[snapshot_id] = content
        parent = {"parent_snapshot_id": snapshot_id}
    for snapshot_id in list(expected)[::3]:
        installation.delete(snapshot_id)
        del expected[snapshot_id]
    installation.reopen()
    for snapshot_id, blocks in expected.items():
        assert installation.content(snapshot_id) == blocks
    installation.close()
