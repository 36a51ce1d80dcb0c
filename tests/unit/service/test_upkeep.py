"""Upkeep goes on: no step that fails keeps another from being done, and one that goes on failing is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.core.ids import SnapshotId
from snapstone.core.manifest import manifest_address
from snapstone.core.protection import DAY_MS
from snapstone.service.kms.key_operations import create_key, schedule_key_deletion
from tests.installation import Installation, block

A = block("a")

STEPS = [
    "clock", "seals_due", "copies_due", "expire_pending", "empty_recycle_bin", "end_temporary_restores",
    "deletions_due", "drop_expired_answers", "keys_to_destroy", "keys_to_rotate", "failing_work",
]  # fmt: skip
"""What each step asks of the catalog first, in the order of the steps."""


class Broken:
    """A catalog of which one method fails; it knows which were called."""

    def __init__(self, catalog: Any) -> None:
        self._catalog = catalog
        self.broken = ""
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.called.append(name)
        if name == self.broken:
            raise OSError("broken")
        return getattr(self._catalog, name)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data", wrap_catalog=Broken)
    yield installation
    broken(installation, "")
    installation.close()


def broken(installation: Installation, method: str) -> Broken:
    catalog: Any = installation.catalog
    assert isinstance(catalog, Broken)
    catalog.broken, catalog.called = method, []
    return catalog


def sweep(installation: Installation) -> None:
    installation.clock.now_ms += 10_000
    installation.tick()


def problems(installation: Installation) -> dict[str, str]:
    return {problem.subject: problem.message for problem in installation.engine.health.problems()}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_keeps_no_other_from_being_done(
    installation: Installation, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = broken(installation, step)
    with caplog.at_level(logging.ERROR, "snapstone.service.upkeep"):
        sweep(installation)
    assert [name for name in catalog.called if name in STEPS] == STEPS
    assert [record.message for record in caplog.records] == ["upkeep failed"]


def test_a_step_that_goes_on_failing_is_told_until_it_succeeds(installation: Installation) -> None:
    broken(installation, "drop_expired_answers")
    for _ in range(2):
        sweep(installation)
    assert problems(installation) == {}
    sweep(installation)
    assert "to drop old answers; see its log" in problems(installation)["upkeep"]
    broken(installation, "")
    sweep(installation)
    assert problems(installation) == {}


def test_a_failing_step_is_logged_with_its_trace_once(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    broken(installation, "expire_pending")
    with caplog.at_level(logging.ERROR, "snapstone.service.upkeep"):
        for _ in range(3):
            sweep(installation)
    records = [record for record in caplog.records if record.message == "upkeep failed"]
    assert [record.exc_info is not None for record in records] == [True, False, False]
    assert records[2].__dict__["fields"] == {
        "step": "time out pending snapshots",
        "failures": 3,
        "why": "OSError('broken')",
    }


def test_a_deletion_that_fails_keeps_neither_other_deletions_nor_keys_waiting(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = installation.sealed({0: A}), installation.sealed({1: A})
    metadata: Any = create_key(installation.engine, installation.caller)["KeyMetadata"]
    key_id = str(metadata["KeyId"])
    schedule_key_deletion(installation.engine, installation.caller, key_id=key_id, pending_window_in_days=7)
    for snapshot_id in (stuck, other):
        installation.catalog.begin_delete(snapshot_id, installation.clock(), installation.clock())
    remove = installation.store.remove

    def failing(addresses: Any) -> None:
        if manifest_address(stuck) in addresses:
            raise OSError("broken")
        remove(addresses)

    monkeypatch.setattr(installation.store, "remove", failing)
    installation.clock.now_ms += 7 * DAY_MS
    sweep(installation)
    assert installation.row(stuck).state is SnapshotState.DELETING
    assert installation.catalog.snapshot(other) is None
    assert installation.catalog.kms_key(key_id) is None


def test_a_clock_that_is_not_seen_any_more_still_stops_what_it_should(installation: Installation) -> None:
    """The catalog does not answer for the clock's row: a jump of the wall clock is seen all the same."""
    pending: SnapshotId = installation.start(timeout=10)
    sweep(installation)
    broken(installation, "clock")
    installation.clock.set_by(DAY_MS)
    sweep(installation)
    assert installation.engine.timekeeper.due_ms() < installation.clock() - DAY_MS + 1
    assert installation.row(pending).state is SnapshotState.PENDING
