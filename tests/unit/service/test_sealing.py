"""The seal: what it checks, what it writes, and that one cut off anywhere is done again with the right end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any, Final

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.blocks import Address
from snapstone.core.errors import InvalidParameterError, SnapshotAlreadyCompletedError, SnapshotNotFoundError
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address
from snapstone.service.sealing import LEASE_MS
from snapstone.service.snapshots.deletion import ANSWER_LIFE_MS
from snapstone.service.snapshots.inventory import compare
from snapstone.service.snapshots.write import complete_snapshot
from snapstone.storage.contract import ObjectKind
from tests.installation import CALLER, MINUTE_MS, START_MS, ZERO, Installation, aggregate, block, checksum

A, B, C = block("a"), block("b"), block("c")

VECTOR_PARENT: Final = {0: B, 3: A, 7: ZERO, 2_047: C}


class CutOffError(Exception):
    """What stands for the death of a process between two steps."""


class Cut:
    """Wraps an object: one method, at one of its calls, raises before or after it has done its work."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.method = ""
        self.calls_left = -1
        self.after = False

    def arm(self, method: str, call: int, *, after: bool) -> None:
        self.method, self.calls_left, self.after = method, call, after

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        if name != self.method:
            return member

        def cut(*arguments: Any, **named: Any) -> Any:
            if self.calls_left < 0:
                return member(*arguments, **named)
            self.calls_left -= 1
            dies = self.calls_left < 0
            if dies and not self.after:
                raise CutOffError
            outcome = member(*arguments, **named)
            if dies:
                raise CutOffError
            return outcome

        return cut


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data", wrap_catalog=Cut, wrap_objects=Cut)
    yield installation
    installation.close()


def manifest_of(installation: Installation, snapshot_id: SnapshotId) -> Manifest:
    return decode_manifest(installation.store.get(ObjectKind.MANIFEST, manifest_address(snapshot_id)))


def written(installation: Installation, blocks: dict[int, bytes], **members: Any) -> SnapshotId:
    snapshot_id = installation.start(**members)
    for index, content in blocks.items():
        installation.put(snapshot_id, index, content)
    return snapshot_id


# -- what CompleteSnapshot checks --


@pytest.mark.parametrize(
    ("blocks", "declared"),
    [
        (VECTOR_PARENT, "Pq34jf4xh07iqiQpo/morRl/xL06mqy1ERimH+Hypi8="),
        ({3: C}, "3QuxqZ8HJaS/3NGrkGu/SIvWC/T/bzQSE0bYb+gLjwU="),
        ({0: A}, "hm74cqkUPpcI9ua01PNSVN2PLTzQAAMPsYCbeHfLIX4="),
        ({}, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ],
)
def test_the_checksums_that_aws_accepted_seal(
    installation: Installation, blocks: dict[int, bytes], declared: str
) -> None:
    snapshot_id = written(installation, blocks)
    assert installation.complete(snapshot_id, len(blocks), declared) == "completed"
    assert installation.content(snapshot_id) == blocks


def test_the_checksum_of_a_child_covers_only_what_was_written_there(installation: Installation) -> None:
    parent = installation.sealed(VECTOR_PARENT)
    child = written(installation, {0: ZERO, 3: A, 5: B}, parent_snapshot_id=parent)
    assert installation.complete(child, 3, "hf4A3LvWy4effbPmcB9iS2uEagRPJ7DdLQQXLJYnpsg=") == "completed"
    assert installation.content(child) == {0: ZERO, 3: A, 5: B, 7: ZERO, 2_047: C}


def test_the_hash_of_the_joined_base64_texts_is_a_mismatch(installation: Installation) -> None:
    snapshot_id = written(installation, {0: A, 2: B})
    assert installation.complete(snapshot_id, 2, "xKsCRmgUxD/XwebcOgEG4QQ7TRElxCfHnSnsGQDz4pU=") == "error"
    assert installation.row(snapshot_id).state_message == "Checksum mismatch for snapshot"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count_is_an_error_with_its_message(installation: Installation, count: int) -> None:
    snapshot_id = written(installation, {0: A, 2: B})
    assert installation.complete(snapshot_id, count, aggregate({0: A, 2: B})) == "error"
    row = installation.row(snapshot_id)
    assert (row.state, row.state_message) == (SnapshotState.ERROR, "Changed blocks count mismatch for snapshot")
    assert list(installation.catalog.pending_writes(snapshot_id)) == []


@pytest.mark.parametrize("declared", ["AAAA", "A" * 43 + "=", "=", checksum(b"something else")])
def test_a_checksum_that_is_no_digest_is_a_mismatch(installation: Installation, declared: str) -> None:
    snapshot_id = written(installation, {0: A})
    assert installation.complete(snapshot_id, 1, declared) == "error"
    assert installation.row(snapshot_id).state_message == "Checksum mismatch for snapshot"


def test_an_overwritten_index_counts_once_and_keeps_the_last_bytes(installation: Installation) -> None:
    snapshot_id = installation.start()
    for index, content in [(0, A), (3, B), (0, C), (7, ZERO), (3, B), (9, A)]:
        installation.put(snapshot_id, index, content)
    expected = {0: C, 3: B, 7: ZERO, 9: A}
    assert installation.complete(snapshot_id, 4, aggregate(expected)) == "completed"
    assert installation.content(snapshot_id) == expected


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"checksum": "AAAA", "checksum_aggregation_method": "LINEAR"},
            "Invalid parameter combination. Checksum algorithm is missing.",
        ),
        ({"checksum_algorithm": "SHA256"}, "Invalid parameter combination. Snapshot checksum is missing."),
        ({"checksum_aggregation_method": "LINEAR"}, "Invalid parameter combination. Snapshot checksum is missing."),
    ],
)
def test_a_checksum_member_without_the_others_is_refused_and_changes_nothing(
    installation: Installation, declared: dict[str, str], message: str
) -> None:
    snapshot_id = written(installation, {0: A})
    with pytest.raises(InvalidParameterError) as raised:
        complete_snapshot(installation.engine, CALLER, snapshot_id=snapshot_id, changed_blocks_count=1, **declared)
    assert raised.value.message == message
    assert installation.row(snapshot_id).state is SnapshotState.PENDING


# -- what it writes --


def test_the_manifest_says_what_the_row_says(installation: Installation) -> None:
    parent = installation.sealed(VECTOR_PARENT)
    installation.clock.advance_minutes(1)
    child = installation.start(
        parent_snapshot_id=parent,
        volume_size=2,
        description="nightly: ü",
        tags=[{"Key": "b", "Value": "2"}, {"Key": "a"}],
    )
    installation.put(child, 4_095, A)
    installation.clock.advance_minutes(2)
    assert installation.complete(child, 1) == "completed"
    row = installation.row(child)
    assert manifest_of(installation, child) == Manifest(
        snapshot_id=child,
        account_id=CALLER.account_id,
        region=CALLER.region,
        volume_size_gib=2,
        parent_id=parent,
        lineage_id=parent,
        root=row.root,
        block_count=5,
        description="nightly: ü",
        tags=(("b", "2"), ("a", "")),
        started_at_ms=START_MS + MINUTE_MS,
        sealed_at_ms=START_MS + 3 * MINUTE_MS,
    )
    assert row.block_count == 5
    assert row.completed_at_ms == START_MS + 3 * MINUTE_MS


def test_no_seal_ends_while_the_store_is_lost(installation: Installation) -> None:
    """Neither well nor badly: what is said of the snapshot must be what the next start finds."""
    good, bad = installation.start(), installation.start()
    installation.put(good, 0, A)
    installation.engine.gate.close("the data folder is gone")
    installation.complete(good, 1)
    installation.complete(bad, 1)
    assert installation.sealer.wait_until_idle(30)
    assert [installation.row(each).state for each in (good, bad)] == [SnapshotState.SEALING] * 2
    installation.engine.gate.open()
    for _ in range(4):
        installation.clock.advance_minutes(10)
        installation.tick()
    assert installation.row(good).state is SnapshotState.COMPLETED
    assert installation.row(bad).state is SnapshotState.ERROR


def test_a_snapshot_without_blocks_has_the_empty_root(installation: Installation) -> None:
    row = installation.row(installation.sealed({}))
    assert (row.root, row.block_count) == (EMPTY_ROOT, 0)


def test_a_child_without_writes_has_its_parents_root(installation: Installation) -> None:
    parent = installation.sealed(VECTOR_PARENT)
    child = installation.sealed({}, parent_snapshot_id=parent)
    assert installation.row(child).root == installation.row(parent).root
    assert installation.row(child).block_count == 4
    assert installation.changes(parent, child) == []


def test_a_changed_block_of_a_child_costs_three_pages_and_a_manifest(installation: Installation) -> None:
    parent = installation.sealed({index * 600: A for index in range(3)})
    before = sum(1 for _ in installation.store.walk())
    installation.sealed({600: B}, parent_snapshot_id=parent)
    assert sum(1 for _ in installation.store.walk()) - before == 1 + 3 + 1


# -- cut off --

CUTS: Final = [
    ("catalog", "claim_seal", 0, False),
    ("catalog", "claim_seal", 0, True),
    ("catalog", "pending_writes", 0, False),
    ("catalog", "pending_writes", 1, False),
    ("objects", "put_many", 0, False),
    ("objects", "put_many", 0, True),
    ("objects", "put_many", 1, False),
    ("objects", "put_many", 1, True),
    ("catalog", "finish_seal", 0, False),
    ("catalog", "finish_seal", 0, True),
]
"""Floor, method, which of its calls in one seal, and whether it had done its work."""


def arm(installation: Installation, floor: str, method: str, call: int, after: bool) -> None:
    wrapped: Any = installation.catalog if floor == "catalog" else installation.engine.objects
    wrapped.arm(method, call, after=after)


@pytest.mark.parametrize(("floor", "method", "call", "after"), CUTS)
def test_a_seal_that_is_cut_off_is_done_again_and_ends_right(
    installation: Installation, floor: str, method: str, call: int, after: bool
) -> None:
    parent = installation.sealed({0: A, 1: B})
    child = written(installation, {1: C, 600: ZERO}, parent_snapshot_id=parent)
    arm(installation, floor, method, call, after)
    expected = "completed" if (method, after) == ("finish_seal", True) else "pending"
    assert installation.complete(child, 2, aggregate({1: C, 600: ZERO})) == expected
    installation.clock.now_ms += LEASE_MS
    installation.tick()
    assert installation.row(child).state is SnapshotState.COMPLETED
    assert installation.content(child) == {0: A, 1: C, 600: ZERO}
    assert manifest_of(installation, child).root == installation.row(child).root
    assert manifest_of(installation, child).block_count == installation.row(child).block_count == 3


@pytest.mark.parametrize(("floor", "method", "call", "after"), CUTS)
def test_a_seal_that_is_cut_off_is_done_again_after_a_restart(
    installation: Installation, floor: str, method: str, call: int, after: bool
) -> None:
    snapshot_id = written(installation, {1: C, 600: ZERO})
    arm(installation, floor, method, call, after)
    installation.complete(snapshot_id, 2)
    installation.reopen()
    installation.clock.now_ms += LEASE_MS
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.COMPLETED
    assert installation.content(snapshot_id) == {1: C, 600: ZERO}


@pytest.mark.parametrize("after", [False, True])
def test_a_mismatch_found_again_after_a_cut_is_still_an_error(installation: Installation, after: bool) -> None:
    snapshot_id = written(installation, {0: A})
    arm(installation, "catalog", "fail_seal", 0, after)
    installation.complete(snapshot_id, 2)
    installation.clock.now_ms += LEASE_MS
    installation.tick()
    assert installation.row(snapshot_id).state_message == "Changed blocks count mismatch for snapshot"


def test_a_seal_is_left_alone_while_its_lease_lasts(installation: Installation) -> None:
    snapshot_id = written(installation, {0: A})
    arm(installation, "objects", "put_many", 0, after=False)
    assert installation.complete(snapshot_id, 1) == "pending"
    installation.clock.now_ms += LEASE_MS - 1
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.SEALING
    installation.clock.now_ms += 1
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.COMPLETED


def test_two_seals_of_one_snapshot_at_once_end_as_one(installation: Installation, tmp_path: Path) -> None:
    """A lease ran out under a slow seal: the second overtakes it."""
    parent = installation.sealed({0: A, 1: B})
    child = written(installation, {1: C}, parent_snapshot_id=parent)
    installation.catalog.begin_seal(child, 1, None, installation.clock(), installation.clock())
    reached, go_on = Event(), Event()
    pending_writes = installation.catalog.pending_writes

    def stop_before_building(snapshot_id: SnapshotId) -> Iterator[Any]:
        if reached.is_set():
            go_on.wait(30)
        reached.set()
        return pending_writes(snapshot_id)

    installation.catalog.__dict__["pending_writes"] = stop_before_building
    slow = Thread(target=installation.sealer.seal, args=(child,))
    slow.start()
    assert reached.wait(30)
    del installation.catalog.__dict__["pending_writes"]
    installation.clock.now_ms += LEASE_MS
    installation.sealer.seal(child)
    row, manifest = installation.row(child), manifest_of(installation, child)
    assert row.state is SnapshotState.COMPLETED
    go_on.set()
    slow.join(30)
    assert installation.row(child) == row
    assert manifest_of(installation, child) == manifest
    assert installation.content(child) == {0: A, 1: C}


def test_a_seal_that_finds_fewer_writes_when_it_builds_than_when_it_counted_ends_only_with_all_of_them(
    installation: Installation,
) -> None:
    snapshot_id = written(installation, {0: A, 1: B})
    passes = iter([2, 1])
    pending_writes = installation.catalog.pending_writes

    def fewer_in_the_second_pass(of: SnapshotId) -> Iterator[Any]:
        return islice(pending_writes(of), next(passes))

    installation.catalog.__dict__["pending_writes"] = fewer_in_the_second_pass
    assert installation.complete(snapshot_id, 2) == "pending"
    del installation.catalog.__dict__["pending_writes"]
    installation.clock.now_ms += LEASE_MS
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.COMPLETED
    assert installation.content(snapshot_id) == {0: A, 1: B}


# -- deletion --


def during(installation: Installation, floor: str, method: str, act: Callable[[], None], *, call: int = 0) -> None:
    """Do something just before one call of a method."""
    wrapped: Any = installation.catalog if floor == "catalog" else installation.engine.objects
    original = getattr(wrapped, method)
    calls = iter(range(1_000))

    def acting(*arguments: Any, **named: Any) -> Any:
        if next(calls) == call:
            del wrapped.__dict__[method]
            act()
        return original(*arguments, **named)

    wrapped.__dict__[method] = acting


@pytest.mark.parametrize(
    ("floor", "method", "call"),
    [
        ("catalog", "pending_writes", 0),
        ("catalog", "pending_writes", 1),
        ("objects", "put_many", 0),
        ("objects", "put_many", 1),
        ("catalog", "finish_seal", 0),
    ],
)
def test_a_snapshot_deleted_during_its_seal_leaves_no_row_and_no_manifest(
    installation: Installation, floor: str, method: str, call: int
) -> None:
    snapshot_id = written(installation, {0: A})
    during(installation, floor, method, lambda: installation.delete(snapshot_id), call=call)
    with pytest.raises(SnapshotNotFoundError):
        installation.complete(snapshot_id, 1)
    after_the_grace(installation)
    assert installation.catalog.snapshot(snapshot_id) is None
    assert not installation.store.has(manifest_address(snapshot_id))


def after_the_grace(installation: Installation) -> None:
    """Upkeep sees what is being deleted, and again when nobody can be sealing it any more."""
    installation.tick()
    installation.clock.advance_minutes(2)
    installation.tick()


def test_a_manifest_that_was_stored_after_the_deletion_is_removed_even_if_the_sealer_died_then(
    installation: Installation,
) -> None:
    snapshot_id = written(installation, {0: A})
    during(installation, "objects", "put_many", lambda: installation.delete(snapshot_id), call=1)
    arm(installation, "catalog", "finish_seal", 0, after=False)
    with pytest.raises(SnapshotNotFoundError):
        installation.complete(snapshot_id, 1)
    assert installation.store.has(manifest_address(snapshot_id))
    installation.reopen()
    installation.tick()
    assert compare(installation.catalog, installation.store).rowless == ()
    after_the_grace(installation)
    assert installation.catalog.snapshot(snapshot_id) is None
    assert not installation.store.has(manifest_address(snapshot_id))


@pytest.mark.parametrize(
    ("floor", "method", "after"),
    [
        ("objects", "remove", False),
        ("objects", "remove", True),
        ("catalog", "finish_delete", False),
    ],
)
def test_a_deletion_that_has_begun_succeeds_whatever_fails_then_and_is_finished_by_upkeep(
    installation: Installation, floor: str, method: str, after: bool
) -> None:
    snapshot_id = installation.sealed({0: A})
    arm(installation, floor, method, 0, after)
    installation.delete(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        installation.list_page(snapshot_id)
    installation.reopen()
    installation.tick()
    assert installation.catalog.snapshot(snapshot_id) is None
    assert not installation.store.has(manifest_address(snapshot_id))


def test_a_deletion_whose_answer_was_lost_is_finished_by_upkeep(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    arm(installation, "catalog", "begin_delete", 0, after=True)
    with pytest.raises(CutOffError):
        installation.delete(snapshot_id)
    installation.reopen()
    installation.tick()
    assert installation.catalog.snapshot(snapshot_id) is None
    assert not installation.store.has(manifest_address(snapshot_id))


def test_a_deletion_that_never_began_is_none(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    arm(installation, "catalog", "begin_delete", 0, after=False)
    with pytest.raises(CutOffError):
        installation.delete(snapshot_id)
    installation.reopen()
    installation.tick()
    assert installation.content(snapshot_id) == {0: A}


def test_the_answer_to_a_client_token_is_kept_for_a_week_after_deletion(installation: Installation) -> None:
    assert ANSWER_LIFE_MS == 7 * 24 * 60 * MINUTE_MS
    snapshot_id = installation.start(client_token="once")
    installation.delete(snapshot_id)
    installation.clock.now_ms += ANSWER_LIFE_MS
    installation.tick()
    assert installation.start(client_token="once") == snapshot_id
    installation.clock.now_ms += 10_000
    installation.tick()
    assert installation.start(client_token="once") != snapshot_id


# -- puts racing the completion --


def test_a_put_overtaken_by_the_completion_is_refused_and_not_counted(installation: Installation) -> None:
    snapshot_id = written(installation, {0: A})
    completed: list[str] = []

    def complete_first() -> None:
        completed.append(installation.complete(snapshot_id, 1, aggregate({0: A})))

    during(installation, "catalog", "record_write", complete_first)
    with pytest.raises(SnapshotAlreadyCompletedError):
        installation.put(snapshot_id, 1, B)
    assert completed == ["completed"]
    assert installation.content(snapshot_id) == {0: A}


def test_no_put_that_races_the_completion_is_acknowledged_and_lost(installation: Installation) -> None:
    contents = [block(f"racing {number}") for number in range(8)]
    for _ in range(15):
        snapshot_id = installation.start()
        barrier = Barrier(len(contents) + 1)

        def put(index: int, snapshot_id: SnapshotId = snapshot_id, barrier: Barrier = barrier) -> bool:
            barrier.wait(30)
            try:
                installation.put(snapshot_id, index, contents[index])
            except (SnapshotAlreadyCompletedError, SnapshotNotFoundError):  # sealed, or in error after a wrong count
                return False
            return True

        def close(snapshot_id: SnapshotId = snapshot_id, barrier: Barrier = barrier) -> int:
            """Seal with whatever count there is at this moment, as if it had been declared."""
            barrier.wait(30)
            count = sum(1 for _ in installation.catalog.pending_writes(snapshot_id))
            return count if installation.complete(snapshot_id, count) == "completed" else -1

        with ThreadPoolExecutor(len(contents) + 1) as threads:
            closing = threads.submit(close)
            acknowledged = [index for index, done in enumerate(threads.map(put, range(len(contents)))) if done]
            declared = closing.result()
        if declared < 0:
            # More was written than was declared: an error, told to the caller.
            assert installation.row(snapshot_id).state is SnapshotState.ERROR
            continue
        assert len(acknowledged) == declared
        assert installation.content(snapshot_id) == {index: contents[index] for index in acknowledged}


def test_a_page_that_another_snapshot_has_is_stored_once(installation: Installation) -> None:
    first, second = installation.sealed({0: A, 9: B}), installation.sealed({0: A, 9: B})
    assert installation.row(first).root == installation.row(second).root
    kinds = [entry.kind for entry in installation.store.walk()]
    assert kinds.count(ObjectKind.PAGE) == 3
    assert kinds.count(ObjectKind.MANIFEST) == 2
    assert kinds.count(ObjectKind.BLOCK) == 2


def test_the_zero_block_is_present_and_takes_no_space(installation: Installation) -> None:
    snapshot_id = installation.sealed({5: ZERO})
    assert installation.content(snapshot_id) == {5: ZERO}
    assert not installation.store.has(
        Address(bytes.fromhex("07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541"))
    )
