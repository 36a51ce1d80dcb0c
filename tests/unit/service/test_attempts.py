"""Seals and copies that fail: how often they are tried, what clients see meanwhile, and how it ends."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.blocks import Address, digest_of
from snapstone.core.errors import DamageError, ReadOnlyError, StoreFullError, StoreLostError
from snapstone.core.ids import SnapshotId
from snapstone.service.background import DAMAGED, FULL, UNFORESEEN, Patience, patience_with, pause_ms
from snapstone.service.ec2.copies import copy_snapshot
from snapstone.service.kms.key_operations import create_key
from snapstone.storage.record import HEADER_SIZE
from tests.damage.stored_records import flip_bit, place_of, segment_file
from tests.installation import Installation, block

A, B = block("a"), block("b")
SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000


class Failing:
    """An object store whose `put_many` raises as long as there is an error to raise."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.error: Exception | None = None
        self.call_count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_many(self, *arguments: Any, **named: Any) -> Any:
        self.call_count += 1
        if self.error is not None:
            raise self.error
        return self._store.put_many(*arguments, **named)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data", wrap_objects=Failing)
    yield installation
    installation.close()


def objects(installation: Installation) -> Failing:
    wrapped: Any = installation.engine.objects
    assert isinstance(wrapped, Failing)
    return wrapped


def written(installation: Installation, **members: Any) -> SnapshotId:
    snapshot_id = installation.start(**members)
    installation.put(snapshot_id, 1, B)
    return snapshot_id


def run(installation: Installation, minutes: float) -> None:
    """The server runs for so long: a tick every ten seconds."""
    for _ in range(int(minutes * 6)):
        installation.clock.now_ms += 10 * SECOND_MS
        installation.tick()


def state(installation: Installation, snapshot_id: SnapshotId) -> tuple[SnapshotState, str | None]:
    row = installation.row(snapshot_id)
    return row.state, row.state_message


def problems(installation: Installation) -> dict[str, str]:
    return {problem.subject: problem.message for problem in installation.engine.health.problems()}


def damaged_child(installation: Installation) -> tuple[SnapshotId, Path, int]:
    """A snapshot whose parent's root page is damaged: its id, and the place of the damage."""
    parent = installation.sealed({0: A})
    place = place_of(installation.folder, installation.row(parent).root)
    path, offset = segment_file(installation.folder, place.segment_id), place.offset + HEADER_SIZE + 2
    flip_bit(path, offset)
    installation.reopen()  # else the page is still in the cache
    return written(installation, parent_snapshot_id=parent), path, offset


def test_a_seal_over_damage_ends_in_error_after_half_an_hour(installation: Installation) -> None:
    child, _, _ = damaged_child(installation)
    assert installation.complete(child, 1) == "pending"
    run(installation, 29)
    assert state(installation, child) == (SnapshotState.SEALING, DAMAGED.message)
    assert installation.complete(child, 1) == "pending"
    assert problems(installation)["seals"].startswith(f"Snapshots that cannot be completed now: 1. {child} ")
    run(installation, 12)
    assert state(installation, child) == (SnapshotState.ERROR, DAMAGED.message)
    assert installation.complete(child, 1) == "error"
    assert list(installation.catalog.pending_writes(child)) == []
    assert "seals" not in problems(installation)


def test_damage_that_heals_in_time_costs_nothing(installation: Installation) -> None:
    child, path, offset = damaged_child(installation)
    installation.complete(child, 1)
    run(installation, 15)
    flip_bit(path, offset)
    run(installation, 11)
    assert state(installation, child) == (SnapshotState.COMPLETED, None)
    assert installation.content(child) == {0: A, 1: B}
    assert "seals" not in problems(installation)


def test_restarts_do_not_begin_the_half_hour_anew(installation: Installation) -> None:
    child, _, _ = damaged_child(installation)
    installation.complete(child, 1)
    for _ in range(41):
        run(installation, 1)
        installation.reopen()
    assert state(installation, child)[0] is SnapshotState.ERROR


def test_a_server_that_restarts_again_and_again_gives_up_no_sooner(installation: Installation) -> None:
    child, _, _ = damaged_child(installation)
    installation.complete(child, 1)
    for _ in range(20):
        installation.reopen()
        installation.tick()
    assert installation.catalog.failing_work()[0].failure_count > 10
    assert state(installation, child)[0] is SnapshotState.SEALING


def test_a_full_disk_is_waited_for_however_long_it_takes(installation: Installation) -> None:
    snapshot_id = written(installation)
    objects(installation).error = StoreFullError("no room")
    assert installation.complete(snapshot_id, 1) == "pending"
    run(installation, 60)
    installation.clock.now_ms += 30 * 24 * HOUR_MS
    installation.tick()
    assert state(installation, snapshot_id) == (SnapshotState.SEALING, FULL.message)
    assert "seals" in problems(installation)
    objects(installation).error = None
    run(installation, 11)
    assert state(installation, snapshot_id) == (SnapshotState.COMPLETED, None)


def test_a_failure_that_nobody_foresaw_ends_after_a_day(installation: Installation) -> None:
    snapshot_id = written(installation)
    objects(installation).error = ValueError("nobody foresaw this")
    installation.complete(snapshot_id, 1)
    for _ in range(24 * 6):
        installation.clock.now_ms += 10 * MINUTE_MS - 1
        installation.tick()
    assert state(installation, snapshot_id) == (SnapshotState.SEALING, UNFORESEEN.message)
    run(installation, 21)
    assert state(installation, snapshot_id) == (SnapshotState.ERROR, UNFORESEEN.message)


def test_nothing_is_given_up_after_two_attempts_however_far_apart(installation: Installation) -> None:
    child, _, _ = damaged_child(installation)
    installation.complete(child, 1)
    installation.clock.now_ms += 2 * HOUR_MS
    installation.tick()
    assert installation.catalog.failing_work()[0].failure_count == 2
    assert state(installation, child)[0] is SnapshotState.SEALING


def test_attempts_come_at_growing_intervals(installation: Installation) -> None:
    """At 0, 10, 30, 70, 150, 310 and 630 seconds, then every 600."""
    assert [pause_ms(count) // SECOND_MS for count in range(1, 10)] == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    snapshot_id = written(installation)
    objects(installation).error = ValueError("nobody foresaw this")
    installation.complete(snapshot_id, 1)
    counts = {}
    for second in range(10, 1_301, 10):
        run(installation, 1 / 6)
        counts[second] = objects(installation).call_count
    grows = [second for second in counts if counts[second] > counts.get(second - 10, 1)]
    assert grows == [10, 30, 70, 150, 310, 630, 1_230]


def test_an_outage_in_which_a_seal_cannot_even_be_claimed_does_not_lengthen_the_pause(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CompleteSnapshot is called repeatedly meanwhile, as a client does that waits for the end."""
    snapshot_id = written(installation)

    def unavailable(*arguments: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(installation.catalog, "claim_seal", unavailable)
    for _ in range(10):
        installation.complete(snapshot_id, 1)
    assert installation.catalog.failing_work() == []
    monkeypatch.undo()
    installation.tick()
    assert state(installation, snapshot_id)[0] is SnapshotState.COMPLETED


def test_only_the_first_failure_is_logged_with_its_trace(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot_id = written(installation)
    objects(installation).error = ValueError("nobody foresaw this")
    with caplog.at_level(logging.ERROR, "snapstone.service.background"):
        installation.complete(snapshot_id, 1)
        run(installation, 2)
    records = [record for record in caplog.records if record.message == "seal failed"]
    assert len(records) == 4
    assert [record.exc_info is not None for record in records] == [True, False, False, False]
    assert all("nobody foresaw this" in record.__dict__["fields"]["why"] for record in records)


def test_a_failing_seal_does_not_keep_others_from_ending(installation: Installation) -> None:
    children = [damaged_child(installation)[0] for _ in range(4)]
    for child in children:
        installation.complete(child, 1)
    other = written(installation)
    assert installation.complete(other, 1) == "completed"


def test_a_failing_snapshot_can_be_deleted(installation: Installation) -> None:
    child, _, _ = damaged_child(installation)
    installation.complete(child, 1)
    installation.delete(child)
    assert installation.catalog.snapshot(child) is None
    run(installation, 1)
    assert problems(installation) == {}


def new_key(installation: Installation) -> str:
    metadata: Any = create_key(installation.engine, installation.caller)["KeyMetadata"]
    return str(metadata["KeyId"])


def encrypted_copy(installation: Installation, source: SnapshotId) -> SnapshotId:
    answer = copy_snapshot(
        *(installation.engine, installation.caller),
        source_region=installation.caller.region,
        source_snapshot_id=source,
        encrypted=True,
        kms_key_id=new_key(installation),
    )
    return SnapshotId(str(answer["SnapshotId"]))


def test_a_copy_that_fails_is_tried_again_and_ends_after_a_day(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_id = encrypted_copy(installation, installation.sealed({0: A}))

    def failing(*arguments: Any) -> None:
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(installation.store, "put_block", failing)
    run(installation, 1)
    assert state(installation, copy_id) == (SnapshotState.PENDING, UNFORESEEN.message)
    installation.clock.now_ms += 24 * HOUR_MS
    run(installation, 21)
    assert state(installation, copy_id) == (SnapshotState.ERROR, UNFORESEEN.message)


@pytest.mark.parametrize("heals", [True, False])
def test_a_copy_of_damage_waits_half_an_hour_for_it_to_heal(installation: Installation, heals: bool) -> None:
    source = installation.sealed({0: A})
    copy_id = encrypted_copy(installation, source)
    place = place_of(installation.folder, Address(digest_of(A)))
    path, offset = segment_file(installation.folder, place.segment_id), place.offset + HEADER_SIZE + 2
    flip_bit(path, offset)
    run(installation, 29)
    assert state(installation, copy_id) == (SnapshotState.PENDING, DAMAGED.message)
    if heals:
        again = installation.start()
        installation.put(again, 0, A)
        run(installation, 12)
        assert state(installation, copy_id) == (SnapshotState.COMPLETED, None)
        assert installation.content(copy_id) == {0: A}
    else:
        run(installation, 12)
        assert state(installation, copy_id) == (SnapshotState.ERROR, DAMAGED.message)


def test_a_copy_on_a_full_disk_goes_on_when_there_is_room(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_id = encrypted_copy(installation, installation.sealed({0: A}))
    with monkeypatch.context() as full:

        def failing(*arguments: Any) -> None:
            raise StoreFullError("no room")

        full.setattr(installation.store, "put_block", failing)
        run(installation, 60)
        assert state(installation, copy_id) == (SnapshotState.PENDING, FULL.message)
    run(installation, 11)
    assert state(installation, copy_id) == (SnapshotState.COMPLETED, None)
    assert installation.content(copy_id) == {0: A}


@pytest.mark.parametrize(
    ("error", "patience"),
    [
        (DamageError("ab", "a page"), DAMAGED),
        (StoreFullError("objects"), FULL),
        (StoreLostError("objects"), FULL),
        (ReadOnlyError(), FULL),
        (OSError(errno.ENOSPC, "no space"), FULL),
        (OSError(errno.EMFILE, "too many open files"), FULL),
        (OSError(errno.EIO, "input/output error"), UNFORESEEN),
        (KeyError("x"), UNFORESEEN),
    ],
)
def test_the_kind_of_a_failure_decides_how_long_it_is_put_up_with(error: Exception, patience: Patience) -> None:
    assert patience_with(error) is patience
