"""Flipped bits in the catalog are told of and never believed: in rows, in indexes, anywhere in the file.

Whatever a call answers about a damaged catalog is what it answers about the whole one, or DamageError, or less than
that with the damage reported. Tags and shares, which do not say what bytes a snapshot holds, are left aside."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from snapstone.catalog.contract.sharing import ListPosition, SnapshotScope
from snapstone.catalog.contract.snapshots import CopyWork, PendingWrite, RetentionRule, Snapshot, SnapshotState
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.opening import CatalogError
from snapstone.core.blocks import Address, Digest
from snapstone.core.errors import DamageError
from snapstone.core.protection import Retention
from tests.suites.catalog_rows import (
    ALICE,
    BOB,
    FRANKFURT,
    OREGON,
    OTHER_ROOT,
    STARTED,
    name,
    pending,
    plain,
    put_in_state,
    record,
)

SNAPSHOT_COUNT: Final = 36
PAGE_LIMIT: Final = 5
"""Snapshots on a page of a list."""

FLIPS: Final = int(os.environ.get("SNAPSTONE_FLIPS", "30"))
"""Tried in each kind of place."""

INDEX_ALONE: Final = ("pages of", "recycled")
"""Lists of which a damaged entry in the middle of an index can hide a row: a look at the whole catalog tells of it."""

Answers = dict[str, object]


def build(path: Path) -> None:
    """A catalog with snapshots in every state, of two accounts, and pending writes on several pages."""
    catalog = SqliteCatalog(path)
    states = [SnapshotState.COMPLETED, SnapshotState.PENDING, SnapshotState.SEALING, SnapshotState.ERROR]
    for number in range(1, SNAPSHOT_COUNT + 1):
        account_id = BOB if number % 3 == 0 else ALICE
        put_in_state(catalog, number, states[number % 4], account_id=account_id, started_at_ms=STARTED + number * 7)
        if states[number % 4] is SnapshotState.PENDING:
            for block_index in range(1, 12):
                record(catalog, number, plain(block_index, f"{number} {block_index}"))
            record(catalog, number, PendingWrite(40, Address(bytes([number]) * 32), Digest(b"\x22" * 32)))
    catalog.insert_rule(
        RetentionRule("rule0000001", ALICE, FRANKFURT, "EBS_SNAPSHOT", Retention(3, (), ()), "", (), 1), 5
    )
    catalog.begin_delete(name(4), STARTED, STARTED)  # into the bin
    catalog.begin_delete(name(1), STARTED, STARTED)
    copy = pending(90, account_id=BOB, region=OREGON, copied_from=name(8))
    catalog.insert_copy(copy, CopyWork(name(90), OTHER_ROOT, None), 5)
    catalog.close()


def questions(catalog: SqliteCatalog) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every way to read the rows, by name."""
    numbers = [*range(1, SNAPSHOT_COUNT + 1), 90]
    for number in numbers:
        yield f"snapshot {number}", lambda number=number: bare(catalog.snapshot(name(number)))  # type: ignore[misc]
        yield f"writes {number}", lambda number=number: list(catalog.pending_writes(name(number)))  # type: ignore[misc]
    for account_id in (ALICE, BOB):
        yield (
            f"all of {account_id}",
            lambda account_id=account_id: [  # type: ignore[misc]
                bare(each) for each in catalog.snapshots(account_id, FRANKFURT)
            ],
        )
        yield (
            f"named of {account_id}",
            lambda account_id=account_id: [  # type: ignore[misc]
                bare(each) for each in catalog.snapshots(account_id, FRANKFURT, [name(number) for number in numbers])
            ],
        )
        yield f"pages of {account_id}", lambda account_id=account_id: list(pages(catalog, account_id))  # type: ignore[misc]
    yield "recycled", lambda: [bare(each) for each in catalog.recycled(ALICE, FRANKFURT)]


def sweeps(catalog: SqliteCatalog) -> dict[str, set[str]]:
    """What background work would take up."""
    return {
        "seals": set(catalog.seals_due(STARTED)),
        "copies": set(catalog.copies_due(STARTED)),
        "deletions": set(catalog.deletions_due()),
    }


def pages(catalog: SqliteCatalog, account_id: str) -> Iterator[Snapshot | None]:
    start = None
    while True:
        found = catalog.visible_snapshots(account_id, FRANKFURT, [SnapshotScope.OWN], start, PAGE_LIMIT)  # type: ignore[arg-type]
        yield from (bare(each) for each in found)
        if len(found) < PAGE_LIMIT:
            return
        start = ListPosition(found[-1].started_at_ms + 1, name(0))


def bare(snapshot: Snapshot | None) -> Snapshot | None:
    return None if snapshot is None else replace(snapshot, tags=(), shared_with=frozenset())


def answers(catalog: SqliteCatalog) -> Answers:
    return {asked: question() for asked, question in questions(catalog)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "catalog.db"
    build(path)
    return path


@pytest.fixture(scope="module")
def truth(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Answers, dict[str, set[str]]]:
    copied = tmp_path_factory.mktemp("truth") / "catalog.db"
    shutil.copy(built, copied)
    catalog = SqliteCatalog(copied, create=False)
    found = answers(catalog), sweeps(catalog)
    catalog.close()
    return found


def silent_differences(path: Path, truth: tuple[Answers, dict[str, set[str]]]) -> list[str]:
    """Where a damaged catalog says something else than the whole one, and does not say that it is damaged."""
    reported: list[DamageError] = []
    try:
        catalog = SqliteCatalog(path, create=False)
    except CatalogError:
        return []
    catalog.watch_damage(reported.append)
    silent = []
    for asked, question in questions(catalog):
        try:
            answer = question()
        except DamageError:
            continue
        if answer != truth[0][asked] and not (asked.startswith(INDEX_ALONE) and list(catalog.integrity())):
            silent.append(f"{asked}: {answer} instead of {truth[0][asked]}")
    try:
        due = sweeps(catalog)
    except DamageError:
        due = truth[1]
    silent += [f"{kind} due: {found}" for kind, found in due.items() if found - truth[1][kind]]
    if due != truth[1] and not reported and not list(catalog.integrity()):
        silent.append(f"due: {due} instead of {truth[1]}")
    catalog.close()
    return silent


def places_of(path: Path, tables: list[str]) -> list[int]:
    """The bytes of a file that b-trees of these names hold in use, by the pages that SQLite says are theirs."""
    connection = sqlite3.connect(path)
    marks = ", ".join("?" * len(tables))
    try:
        rows = connection.execute(f"SELECT pgoffset, pgsize FROM dbstat WHERE name IN ({marks})", tables).fetchall()
    except sqlite3.OperationalError:
        pytest.skip("this SQLite has no dbstat")
    finally:
        connection.close()
    content = path.read_bytes()
    return [place for start, size in rows for place in range(start, start + size) if content[place]]


@pytest.mark.parametrize(
    "tables",
    [
        ["snapshot"],
        ["pending_write"],
        ["snapshot_copy"],
        ["sqlite_autoindex_snapshot_1"],
        ["snapshot_by_owner"],
        ["snapshot_unfinished", "snapshot_recycled_by_owner"],
        ["catalog_state", "sqlite_sequence", "dropped_writes"],
    ],
    ids=lambda tables: "+".join(tables),
)
def test_a_flipped_bit_of_a_row_or_an_index_is_never_believed(
    tables: list[str], built: Path, truth: tuple[Answers, dict[str, set[str]]], tmp_path: Path
) -> None:
    flip_and_ask(places_of(built, tables), built, truth, tmp_path, seed=1)


def test_a_flipped_bit_anywhere_is_never_believed(
    built: Path, truth: tuple[Answers, dict[str, set[str]]], tmp_path: Path
) -> None:
    flip_and_ask(list(range(built.stat().st_size)), built, truth, tmp_path, seed=2)


def flip_and_ask(
    places: list[int], built: Path, truth: tuple[Answers, dict[str, set[str]]], folder: Path, seed: int
) -> None:
    chosen = random.Random(seed)
    content = built.read_bytes()
    for number in range(FLIPS):
        place, bit = chosen.choice(places), chosen.randrange(8)
        path = folder / f"{number}" / "catalog.db"
        path.parent.mkdir()
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        assert silent_differences(path, truth) == [], f"bit {bit} at {place}, seed {seed}"
        shutil.rmtree(path.parent)
