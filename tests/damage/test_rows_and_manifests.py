"""Rows held against manifests: what one of them says and the other does not is damage, and never somebody's answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.errors import DamageError, SnapshotNotFoundError
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address
from snapstone.service.ec2.copies import copy_snapshot
from snapstone.service.ec2.recycle_bin import restore_snapshot_from_recycle_bin
from snapstone.service.ec2.snapshots import describe_snapshots
from snapstone.service.ec2.tags import create_tags
from snapstone.service.health import FILE_SUBJECT as FILE
from snapstone.service.health import SUBJECT as ROWS
from snapstone.service.manifests import SUBJECT as MANIFESTS
from snapstone.service.manifests import seal_guard
from snapstone.storage.contract import ObjectKind
from tests.damage.stored_records import flip_bit, place_of, segment_file
from tests.installation import CALLER, Installation, block

A, B = block("a"), block("b")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def subjects(installation: Installation) -> list[str]:
    return [problem.subject for problem in installation.engine.health.problems()]


def manifest_of(installation: Installation, snapshot_id: SnapshotId) -> Manifest:
    return decode_manifest(installation.store.get(ObjectKind.MANIFEST, manifest_address(snapshot_id)))


def put_manifest(installation: Installation, manifest: Manifest, snapshot_id: SnapshotId) -> None:
    """Store a manifest in place of a snapshot's own."""
    installation.store.remove([manifest_address(snapshot_id)])
    installation.store.put_many(ObjectKind.MANIFEST, [(manifest_address(snapshot_id), manifest.encode())])


def with_changed_manifest(installation: Installation, **changes: Any) -> SnapshotId:
    """A completed snapshot that has not been used since its manifest says something else."""
    snapshot_id = installation.sealed({0: A})
    put_manifest(installation, replace(manifest_of(installation, snapshot_id), **changes), snapshot_id)
    installation.reopen()
    return snapshot_id


def copied(installation: Installation, snapshot_id: str) -> None:
    region = CALLER.region
    copy_snapshot(installation.engine, CALLER, source_region=region, source_snapshot_id=snapshot_id)


USES: list[Callable[[Installation, str], object]] = [
    lambda installation, snapshot_id: installation.list_all(snapshot_id),
    lambda installation, snapshot_id: installation.changes(snapshot_id, snapshot_id),
    lambda installation, snapshot_id: installation.start(parent_snapshot_id=snapshot_id),
    copied,
]


@pytest.mark.parametrize(
    "changes",
    [
        {"root": EMPTY_ROOT},
        {"block_count": 2},
        {"volume_size_gib": 2},
        {"account_id": AccountId("999999999999")},
        {"region": Region("eu-west-1")},
        {"lineage_id": SnapshotId("snap-00000000000000001")},
        {"parent_id": SnapshotId("snap-00000000000000001")},
        {"snapshot_id": SnapshotId("snap-00000000000000001")},
        {"kms_key_arn": "arn:aws:kms:eu-central-1:111122223333:key/1", "data_key_id": bytes(16)},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_a_snapshot_that_its_manifest_tells_otherwise_is_damaged_for_every_use_of_its_map(
    installation: Installation, changes: dict[str, Any]
) -> None:
    snapshot_id = with_changed_manifest(installation, **changes)
    for use in USES:
        with pytest.raises(DamageError):
            use(installation, snapshot_id)
    assert subjects(installation) == [ROWS]
    assert snapshot_id in installation.engine.health.problems()[0].message


def test_a_seal_does_not_build_on_a_map_that_its_parents_manifest_does_not_have(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    child = installation.start(parent_snapshot_id=parent)
    put_manifest(installation, replace(manifest_of(installation, parent), root=EMPTY_ROOT), parent)
    installation.reopen()
    with pytest.raises(DamageError), seal_guard(installation.engine, installation.row(child)):
        pytest.fail("the seal is not begun")


def test_a_seal_builds_on_its_parents_map_and_no_other(installation: Installation) -> None:
    parent = installation.sealed({0: A})
    child = installation.row(installation.start(parent_snapshot_id=parent))
    for wrong in (replace(child, root=EMPTY_ROOT), replace(child, block_count=2), replace(child, parent_id=None)):
        with pytest.raises(DamageError), seal_guard(installation.engine, wrong):
            pytest.fail("the seal is not begun")
    with seal_guard(installation.engine, child):
        pass


def test_a_row_is_held_against_its_manifest_once(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.reopen()
    kinds = []
    get = installation.store.get

    def counting(kind: ObjectKind, address: Any) -> bytes:
        kinds.append(kind)
        return get(kind, address)

    monkeypatch.setattr(installation.store, "get", counting)
    for _ in range(3):
        assert len(installation.list_all(snapshot_id)) == 1
        installation.start(parent_snapshot_id=snapshot_id)
    assert kinds.count(ObjectKind.MANIFEST) == 1


def test_a_block_is_read_without_a_look_at_the_manifest(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    token = str(installation.list_all(snapshot_id)[0]["BlockToken"])
    put_manifest(installation, replace(manifest_of(installation, snapshot_id), root=EMPTY_ROOT), snapshot_id)
    installation.reopen()
    assert installation.get(snapshot_id, 0, token) == A


# -- manifests that are missing --


def test_a_snapshot_without_a_manifest_stands_by_its_row_and_that_is_told_until_it_has_one(
    installation: Installation,
) -> None:
    snapshot_id = installation.sealed({0: A})
    manifest = manifest_of(installation, snapshot_id)
    installation.store.remove([manifest_address(snapshot_id)])
    installation.reopen()
    assert installation.content(snapshot_id) == {0: A}
    assert subjects(installation) == [MANIFESTS]
    assert snapshot_id in installation.engine.health.problems()[0].message
    installation.tick()
    assert subjects(installation) == [MANIFESTS]
    put_manifest(installation, manifest, snapshot_id)
    installation.clock.advance_minutes(1)
    installation.tick()
    assert subjects(installation) == []


def test_a_missing_manifest_of_a_snapshot_that_is_deleted_is_forgotten(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.store.remove([manifest_address(snapshot_id)])
    installation.reopen()
    installation.list_all(snapshot_id)
    installation.delete(snapshot_id)
    installation.tick()
    assert subjects(installation) == []


def test_a_snapshot_with_a_damaged_manifest_stands_by_its_row(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    place = place_of(installation.folder, manifest_address(snapshot_id))
    installation.close()
    flip_bit(segment_file(installation.folder, place.segment_id), place.offset + 4096 + 10)
    installation.__post_init__()
    assert installation.content(snapshot_id) == {0: A}
    assert subjects(installation) == [MANIFESTS]


# -- rows that are missing --


@pytest.fixture
def without_row(installation: Installation) -> SnapshotId:
    """A completed snapshot whose row has vanished."""
    snapshot_id = installation.sealed({0: A})
    installation.close()
    with closing(sqlite3.connect(installation.folder / "catalog.db")) as connection, connection:
        assert connection.execute("DELETE FROM snapshot WHERE snapshot_id = ?", (snapshot_id,)).rowcount == 1
    installation.__post_init__()
    return snapshot_id


LOOK_UPS: list[Callable[[Installation, str], object]] = [
    *USES,
    lambda installation, snapshot_id: installation.put(snapshot_id, 0, A),
    lambda installation, snapshot_id: installation.complete(snapshot_id, 1),
    lambda installation, snapshot_id: installation.delete(snapshot_id),
    lambda installation, snapshot_id: describe_snapshots(
        installation.engine, installation.caller, snapshot_ids=[snapshot_id]
    ),
    lambda installation, snapshot_id: create_tags(
        installation.engine, installation.caller, resources=[snapshot_id], tags=[{"Key": "k", "Value": "v"}]
    ),
    lambda installation, snapshot_id: restore_snapshot_from_recycle_bin(
        installation.engine, installation.caller, snapshot_id=snapshot_id
    ),
]


@pytest.mark.parametrize("look_up", LOOK_UPS)
def test_a_snapshot_whose_row_is_gone_and_whose_manifest_is_not_is_damaged_and_not_unknown(
    installation: Installation, without_row: SnapshotId, look_up: Callable[[Installation, str], object]
) -> None:
    with pytest.raises(DamageError):
        look_up(installation, without_row)
    assert subjects(installation) == [ROWS]


@pytest.mark.parametrize("look_up", LOOK_UPS)
def test_an_id_that_nobody_has_stays_unknown(
    installation: Installation, look_up: Callable[[Installation, str], object]
) -> None:
    with pytest.raises(SnapshotNotFoundError):
        look_up(installation, "snap-0123456789abcdef0")
    assert subjects(installation) == []


def test_to_others_a_snapshot_whose_row_is_gone_is_unknown_as_before(
    installation: Installation, without_row: SnapshotId
) -> None:
    for caller in (replace(CALLER, account_id=AccountId("999999999999")), replace(CALLER, region=Region("eu-west-1"))):
        installation.caller = caller
        for look_up in LOOK_UPS[:1] + LOOK_UPS[4:]:
            with pytest.raises(SnapshotNotFoundError):
                look_up(installation, without_row)


def test_a_deleted_snapshot_is_unknown(installation: Installation) -> None:
    snapshot_id = installation.sealed({0: A})
    installation.delete(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        installation.list_all(snapshot_id)
    assert subjects(installation) == []


def test_an_index_that_lacks_a_row_is_told_before_a_list_may_be_believed(installation: Installation) -> None:
    """The page of another index stands in its place: each page is whole, and the row itself is found by its id."""
    snapshot_id = installation.sealed({0: A})
    installation.close()
    path = installation.folder / "catalog.db"
    with closing(sqlite3.connect(path)) as connection:
        pages = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'index'").fetchall())
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    content = bytearray(path.read_bytes())
    lost, empty = ((pages[name] - 1) * size for name in ("snapshot_by_owner", "snapshot_recycled"))
    content[lost : lost + size] = content[empty : empty + size]
    path.write_bytes(content)
    installation.__post_init__()
    installation.tick()
    assert FILE in subjects(installation)
    assert installation.catalog.snapshot(snapshot_id) is not None
