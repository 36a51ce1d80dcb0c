"""Leases of seals and copies: freed by a start, taken over in a stated time, and told in a time that nobody sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.ids import SnapshotId
from snapstone.core.protection import DAY_MS, HOUR_MS
from snapstone.service import sealing
from snapstone.service.ec2.copies import copy_snapshot
from snapstone.service.kms.key_operations import create_key
from snapstone.service.snapshots import copy as copying
from tests.installation import Installation, block

A = block("a")


def with_time_before_each(installation: Installation, method: str, ms: int, then: Callable[[], None]) -> None:
    """Let time pass, and `then` happen, before each call of a method of the catalog."""
    catalog: Any = installation.catalog
    original = getattr(catalog, method)

    def late(*arguments: Any, **named: Any) -> Any:
        installation.clock.now_ms += ms
        then()
        return original(*arguments, **named)

    setattr(catalog, method, late)


SET_BY: tuple[int, ...] = (-400 * DAY_MS, -HOUR_MS, 0, HOUR_MS, 400 * DAY_MS)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def abandoned_seal(installation: Installation) -> SnapshotId:
    """A snapshot whose seal was begun by a process that has died since."""
    snapshot_id = installation.start()
    installation.put(snapshot_id, 0, A)
    installation.catalog.begin_seal(snapshot_id, 1, None, installation.clock(), 0)
    running_ms = installation.timekeeper.running_ms()
    assert installation.catalog.claim_seal(snapshot_id, running_ms, running_ms + sealing.LEASE_MS)
    return snapshot_id


def copied(installation: Installation, source: SnapshotId) -> SnapshotId:
    """A copy under another key, requested and not begun."""
    metadata: Any = create_key(installation.engine, installation.caller)["KeyMetadata"]
    answer = copy_snapshot(
        *(installation.engine, installation.caller),
        source_region=installation.caller.region,
        source_snapshot_id=source,
        encrypted=True,
        kms_key_id=str(metadata["KeyId"]),
    )
    return SnapshotId(str(answer["SnapshotId"]))


def abandoned_copy(installation: Installation) -> SnapshotId:
    """A copy under another key whose process has died before its first block."""
    snapshot_id = copied(installation, installation.sealed({0: A}))
    running_ms = installation.timekeeper.running_ms()
    assert installation.catalog.claim_copy(snapshot_id, running_ms, running_ms + copying.LEASE_MS) is not None
    return snapshot_id


KINDS = [(abandoned_seal, sealing.LEASE_MS), (abandoned_copy, copying.LEASE_MS)]


@pytest.mark.parametrize("set_by_ms", SET_BY)
@pytest.mark.parametrize(("abandon", "lease_ms"), KINDS)
def test_another_worker_takes_over_after_the_lease_whatever_becomes_of_the_clock(
    installation: Installation, abandon: Any, lease_ms: int, set_by_ms: int
) -> None:
    snapshot_id = abandon(installation)
    installation.clock.set_by(set_by_ms)
    installation.clock.now_ms += lease_ms - 1
    installation.tick()
    assert installation.row(snapshot_id).state is not SnapshotState.COMPLETED
    installation.clock.now_ms += 1
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.COMPLETED
    assert installation.content(snapshot_id) == {0: A}


@pytest.mark.parametrize("set_by_ms", SET_BY)
@pytest.mark.parametrize("boot_id", ["boot", "another"])
@pytest.mark.parametrize(("abandon", "lease_ms"), KINDS)
def test_a_start_takes_over_at_once(
    installation: Installation, abandon: Any, lease_ms: int, boot_id: str, set_by_ms: int
) -> None:
    snapshot_id = abandon(installation)
    installation.clock.set_by(set_by_ms)
    installation.clock.boot_id = boot_id
    installation.reopen()
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.COMPLETED
    assert installation.content(snapshot_id) == {0: A}


def test_a_seal_that_takes_longer_than_its_lease_keeps_it_while_it_makes_progress(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "WRITES_PER_RENEWAL", 1)
    snapshot_id = installation.start()
    for block_index in range(4):
        installation.put(snapshot_id, block_index, A)
    claimed, timekeeper = [], installation.timekeeper
    pending_writes = installation.catalog.pending_writes

    def slow_writes(of: SnapshotId) -> Iterator[Any]:
        for write in pending_writes(of):
            installation.clock.now_ms += sealing.LEASE_MS * 3 // 4
            claimed.append(installation.catalog.claim_seal(of, timekeeper.running_ms(), timekeeper.running_ms() + 1))
            yield write

    monkeypatch.setattr(installation.catalog, "pending_writes", slow_writes)
    assert installation.complete(snapshot_id, 4) == "completed"
    assert claimed == [False] * 8, "both passes over the four writes"


def test_a_copy_that_takes_longer_than_its_lease_keeps_it_while_it_makes_progress(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_SIZE", 1)
    source = installation.sealed({0: A, 1: A, 2: A})
    snapshot_id = copied(installation, source)
    claimed, timekeeper = [], installation.timekeeper

    def claim() -> None:
        running_ms = timekeeper.running_ms()
        claimed.append(installation.catalog.claim_copy(snapshot_id, running_ms, running_ms + 1))

    with_time_before_each(installation, "record_write", copying.LEASE_MS * 3 // 4, claim)
    installation.tick()
    assert installation.row(snapshot_id).state is SnapshotState.COMPLETED
    assert claimed == [None] * 3
