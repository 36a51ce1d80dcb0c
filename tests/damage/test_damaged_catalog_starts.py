"""Starts on catalogs with damage at random places: refused, or told; no snapshot is silently gone, or another."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.errors import DamageError
from snapstone.core.ids import SnapshotId
from snapstone.server.config import Settings
from snapstone.server.folder.data_folder import DataFolderError, use_data_folder
from snapstone.server.folder.refusals import start_refusals
from snapstone.server.folder.root_key import ensure_root_key
from snapstone.server.process.preparation import prepare_catalog
from tests.server_process import ServerProcess

SNAPSHOT_COUNT = 12

LEFT_OUT = shutil.ignore_patterns("*.segment", "reserve")
"""Of a copy: preallocated files, which a start does not look at before it has checked the catalog."""

Damage = Callable[[Path, random.Random], None]


def flip_bit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def overwrite(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start, size = chance.randrange(len(content)), chance.choice((16, 512, 4096))
    content[start : start + size] = bytes(len(content[start : start + size]))
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def remove(path: Path, chance: random.Random) -> None:
    del chance
    path.unlink()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[SnapshotId, Snapshot]]:
    """A data folder whose server was killed, so that it has a write-ahead log, and the rows of its snapshots."""
    folder = tmp_path_factory.mktemp("killed") / "data"
    server = ServerProcess(folder)
    ebs = server.client("ebs")
    for _ in range(SNAPSHOT_COUNT):
        snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)["Status"] == "completed"
    server.kill()
    whole = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(folder, whole, ignore=LEFT_OUT)
    catalog = SqliteCatalog(whole / "catalog.db", create=False)
    rows = {}
    for snapshot_id, _ in list(catalog.snapshot_ids()):
        row = catalog.snapshot(snapshot_id)
        assert row is not None
        rows[snapshot_id] = row
    catalog.close()
    assert len(rows) == SNAPSHOT_COUNT
    return folder, rows


@pytest.mark.parametrize("name", ["catalog.db", "catalog.db-wal"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("damage", [flip_bit, overwrite, cut, remove])
def test_no_snapshot_is_silently_gone_or_another(
    killed: tuple[Path, dict[SnapshotId, Snapshot]], tmp_path: Path, name: str, seed: int, damage: Damage
) -> None:
    whole, rows = killed
    folder_path = tmp_path / "data"
    shutil.copytree(whole, folder_path, ignore=LEFT_OUT)
    (folder_path / "server.json").unlink(missing_ok=True)
    damage(folder_path / name, random.Random(f"{name} {seed}"))
    settings = Settings(folder_path)
    try:
        with use_data_folder(folder_path) as folder, start_refusals(folder):
            ensure_root_key(settings, folder)
            prepare_catalog(settings, folder)
            catalog = SqliteCatalog(folder.catalog, create=False)
    except DataFolderError as refusal:
        if str(folder_path) not in refusal.message:
            pytest.fail(f"the refusal names no file: {refusal.message}")
        return
    try:
        for snapshot_id, row in rows.items():
            try:
                assert catalog.snapshot(snapshot_id) == row
            except DamageError:
                continue
    finally:
        catalog.close()
