"""The number of the last transaction: a catalog that has lost one is refused, and nothing else is."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from snapstone.catalog.contract.snapshots import SnapshotState
from snapstone.catalog.sqlite import connections as connections
from snapstone.catalog.sqlite import opening as opening
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.opening import CatalogError, CatalogMissingError, OlderCatalogError, UnusableCatalogError
from snapstone.system.sqlite import connect
from tests.suites.catalog_rows import name, pending, plain, put_in_state, record, writes

WRITE_COUNT: Final = 40
KILL_COUNT: Final = 8

SEQUENCE: Final = slice(8, 24)
"""Where the number of the last transaction stands in the file of changes, with its checksum (docs/format.md)."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def killed(folder: Path, target: Path) -> Path:
    """A copy of a folder as `kill -9` would leave it now: with a write-ahead log that is not in the file yet."""
    shutil.copytree(folder, target)
    (target / "catalog.db-shm").unlink()
    return target / "catalog.db"


@pytest.fixture
def path(folder: Path, tmp_path: Path) -> Path:
    """A catalog after a kill: its last transactions, of both kinds, are in the log alone."""
    SqliteCatalog(folder / "catalog.db").close()
    catalog = SqliteCatalog(folder / "catalog.db")
    put_in_state(catalog, 1, SnapshotState.COMPLETED)
    catalog.insert_snapshot(pending(2), None)
    for block_index in range(WRITE_COUNT):
        record(catalog, 2, plain(block_index))
    path = killed(folder, tmp_path / "killed")
    catalog.close()
    return path


def require_whole(path: Path) -> None:
    catalog = SqliteCatalog(path, create=False)
    assert [write.block_index for write in writes(catalog, 2)] == list(range(WRITE_COUNT))
    catalog.close()


def test_after_a_kill_the_catalog_is_whole(path: Path) -> None:
    require_whole(path)


def test_a_lost_log_is_refused_until_the_loss_is_accepted_once(path: Path) -> None:
    path.with_name("catalog.db-wal").unlink()
    with pytest.raises(OlderCatalogError) as refused:
        SqliteCatalog(path, create=False)
    assert refused.value.held < refused.value.recorded
    for part in (str(path), str(refused.value.held), str(refused.value.recorded), "--accept-older-catalog"):
        assert part in str(refused.value)
    accepted = SqliteCatalog(path, create=False, accept_older=True)
    assert accepted.snapshot(name(1)) is None
    accepted.close()
    SqliteCatalog(path, create=False).close()


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 0.9, 0.999])
def test_a_log_that_was_cut_is_refused(path: Path, part: float) -> None:
    log = path.with_name("catalog.db-wal")
    os.truncate(log, int(log.stat().st_size * part))
    with pytest.raises(OlderCatalogError):
        SqliteCatalog(path, create=False)


def test_a_bit_that_flips_anywhere_in_the_log_is_refused(path: Path, tmp_path: Path) -> None:
    log = path.with_name("catalog.db-wal").read_bytes()
    chosen = random.Random(3)
    for number in range(60):
        place = chosen.randrange(len(log)) if number else 5
        copied = tmp_path / str(number)
        shutil.copytree(path.parent, copied)
        damaged = bytearray(log)
        damaged[place] ^= 1 << chosen.randrange(8)
        (copied / "catalog.db-wal").write_bytes(damaged)
        with pytest.raises(CatalogError):
            SqliteCatalog(copied / "catalog.db", create=False)


def test_an_older_copy_of_the_file_is_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "catalog.db"
    catalog = SqliteCatalog(path)
    catalog.insert_snapshot(pending(2), None)
    catalog.close()
    older = tmp_path / "older.db"
    shutil.copy(path, older)
    catalog = SqliteCatalog(path)
    record(catalog, 2, plain(0))
    catalog.close()
    shutil.copy(older, path)
    with pytest.raises(OlderCatalogError):
        SqliteCatalog(path, create=False)


def test_an_older_copy_of_the_file_under_a_newer_log_is_refused_and_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    path = folder / "catalog.db"
    catalog = SqliteCatalog(path)
    catalog.insert_snapshot(pending(2), None)
    catalog.close()
    older = path.read_bytes()
    catalog = SqliteCatalog(path)
    catalog.secret("name", b"value")
    catalog.close()
    catalog = SqliteCatalog(path)
    record(catalog, 2, plain(0))
    path = killed(folder, tmp_path / "killed")
    catalog.close()
    require_opens(path)
    path.write_bytes(older)
    with pytest.raises(UnusableCatalogError, match="an older copy"):
        SqliteCatalog(path, create=False, accept_older=True)
    assert path.read_bytes() == older
    path.with_name("catalog.db-wal").unlink()
    with pytest.raises(OlderCatalogError):
        SqliteCatalog(path, create=False)
    accepted = SqliteCatalog(path, create=False, accept_older=True)
    assert writes(accepted, 2) == []
    assert list(accepted.integrity()) == []
    accepted.close()


def require_opens(path: Path) -> None:
    shutil.copytree(path.parent, path.parent.with_name("opened"))
    SqliteCatalog(path.parent.with_name("opened") / "catalog.db", create=False).close()


@pytest.mark.parametrize("loss", ["missing", "empty"])
def test_a_file_that_is_gone_is_not_made_anew(path: Path, loss: str) -> None:
    path.unlink()
    path.with_name("catalog.db-wal").unlink()
    if loss == "empty":
        path.touch()
    with pytest.raises(CatalogMissingError, match=r"catalog\.db is missing or empty"):
        SqliteCatalog(path, create=False)
    with pytest.raises(OlderCatalogError):
        SqliteCatalog(path)
    assert path.exists() == (loss == "empty")


def test_a_folder_restored_as_a_whole_is_accepted(folder: Path, tmp_path: Path) -> None:
    path = folder / "catalog.db"
    catalog = SqliteCatalog(path)
    catalog.insert_snapshot(pending(2), None)
    catalog.close()
    shutil.copytree(folder, tmp_path / "backup")
    catalog = SqliteCatalog(path)
    record(catalog, 2, plain(0))
    catalog.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    catalog = SqliteCatalog(path, create=False)
    assert writes(catalog, 2) == []
    catalog.close()


@pytest.mark.parametrize("loss", ["deleted", "zeroed", "cut", "old format", "flipped"])
def test_a_lost_or_damaged_changes_file_is_accepted(path: Path, loss: str) -> None:
    changes = path.with_name("catalog.db-changes")
    content = changes.read_bytes()
    changes.unlink()
    if loss != "deleted":
        changes.write_bytes(
            {
                "zeroed": bytes(len(content)),
                "cut": b"",
                "old format": content[:8],
                "flipped": content[:15] + bytes([content[15] ^ 0x20]) + content[16:],
            }[loss]
        )
    require_whole(path)


def test_a_changes_file_that_a_power_cut_left_behind_is_accepted_and_brought_up_to_date(
    path: Path, folder: Path, tmp_path: Path
) -> None:
    changes = path.with_name("catalog.db-changes")
    newest = changes.read_bytes()[SEQUENCE]
    older = tmp_path / "older"
    older.mkdir()
    catalog = SqliteCatalog(older / "catalog.db")
    catalog.close()
    shutil.copy(older / "catalog.db-changes", changes)
    assert changes.read_bytes()[SEQUENCE] != newest
    require_whole(path)
    assert changes.read_bytes()[SEQUENCE] == newest


def test_a_transaction_that_changes_nothing_has_no_number(folder: Path) -> None:
    catalog = SqliteCatalog(folder / "catalog.db")
    before = (folder / "catalog.db-changes").read_bytes()[8:]
    assert catalog.expire_pending(5, "") == []
    assert not catalog.claim_seal(name(1), 1, 2)
    assert (folder / "catalog.db-changes").read_bytes()[8:] == before
    catalog.insert_snapshot(pending(1), None)
    after = (folder / "catalog.db-changes").read_bytes()[8:]
    assert after != before
    record(catalog, 1, plain(0))
    assert (folder / "catalog.db-changes").read_bytes()[8:] != after
    catalog.close()


WRITER: Final = """
import sys
from pathlib import Path
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from tests.suites.catalog_rows import pending, plain, record
catalog = SqliteCatalog(Path(sys.argv[1]), create=False)
number = int(sys.argv[2])
catalog.insert_snapshot(pending(number), None)
for block_index in range(2_000):
    record(catalog, number, plain(block_index))
    if block_index % 7 == 0:
        catalog.claim_seal("snap-0", 0, 1)
        catalog.insert_snapshot(pending(number * 10_000 + block_index), None)
    print(block_index, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_catalog_that_is_accepted(folder: Path) -> None:
    path = folder / "catalog.db"
    SqliteCatalog(path).close()
    chosen = random.Random(5)
    for number in range(1, KILL_COUNT + 1):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chosen.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        acknowledged = [0, *map(int, writer.communicate()[0].split())]
        catalog = SqliteCatalog(path, create=False)
        found = [write.block_index for write in writes(catalog, number)]
        assert found[: len(acknowledged)] == acknowledged
        assert len(found) <= len(acknowledged) + 1
        catalog.close()


# -- the file, while it is open and when it is opened --


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-lock", "-changes"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_is_removed_or_replaced_under_a_running_catalog_is_noticed(
    folder: Path, ending: str, how: str
) -> None:
    path = folder / "catalog.db"
    catalog = SqliteCatalog(path)
    catalog.insert_snapshot(pending(1), None)
    assert catalog.is_in_place()
    touched = folder / f"catalog.db{ending}"
    aside = touched.rename(folder / "aside")
    if how == "replaced":
        shutil.copy(aside, touched)
    assert not catalog.is_in_place()
    aside.replace(touched)
    assert catalog.is_in_place()
    catalog.close()


def test_a_reader_opened_after_the_file_was_removed_does_not_make_another(folder: Path) -> None:
    path = folder / "catalog.db"
    catalog = SqliteCatalog(path)
    path.unlink()
    with pytest.raises(Exception, match="unable to open"):
        catalog.snapshot(name(1))
    assert not path.exists()
    catalog.close()


def test_a_database_of_something_else_is_refused(folder: Path) -> None:
    import sqlite3

    path = folder / "catalog.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title)")
    other.commit()
    other.close()
    with pytest.raises(UnusableCatalogError, match="not a catalog"):
        SqliteCatalog(path)


def test_a_damaged_first_page_is_refused_in_one_sentence(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[:16] = bytes(16)
    path.write_bytes(content)
    path.with_name("catalog.db-wal").unlink()
    with pytest.raises(UnusableCatalogError, match="damaged") as refused:
        SqliteCatalog(path, create=False)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_file_that_may_not_be_written_is_named(path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = path.with_name(f"catalog.db{ending}")
    denied.chmod(0o400)
    if os.geteuid() == 0:  # root may write everything: what another user would get
        monkeypatch.setattr(os, "access", lambda each, _: each != denied)
        monkeypatch.setattr(connections, "connect", lambda each, *_: connect(each, "alone"))
    with pytest.raises(UnusableCatalogError, match=f"chmod 600 {denied}"):
        SqliteCatalog(path, create=False)


def test_a_file_into_which_the_log_was_copied_in_part_is_whole_with_its_log(path: Path) -> None:
    """A power cut or a full disk in the middle of a checkpoint: pages of the file alone are torn, the log has them."""
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as file_alone:
        [(page,)] = file_alone.execute("SELECT rootpage FROM sqlite_master WHERE name = 'catalog_state'").fetchall()
        [(page_size,)] = file_alone.execute("PRAGMA page_size").fetchall()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_size)
        file.write(bytes(page_size // 2))
    require_whole(path)


def test_what_the_file_holds_is_noted_only_once_the_whole_log_is_in_it_and_synced(path: Path) -> None:
    """Else a power cut could leave the note and take what it says of the file."""
    catalog = SqliteCatalog(path, create=False)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM snapshot").fetchall()  # keeps what comes now in the log
    catalog.insert_snapshot(pending(3), None)
    before = catalog._connections.changes.filed
    with catalog._connections.writing_quietly():
        catalog._connections._note_filed()
    assert catalog._connections.changes.filed == before
    reader.close()
    with catalog._connections.writing_quietly():
        pass
    catalog._connections._note_filed()
    assert catalog._connections.changes.filed == catalog._connections.changes.sequence
    catalog.close()
