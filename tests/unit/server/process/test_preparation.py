"""A catalog from before the root key: what it holds in plain text is sealed at the next start, and still works."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.catalog.contract.snapshots import CopyWork, SnapshotState
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.catalog.sqlite.opening import known_migrations, migrate
from snapstone.core.errors import DamageError
from snapstone.server.config import Settings
from snapstone.server.folder.administration import open_identities
from snapstone.server.folder.data_folder import DataFolderError, StartRefusedError, use_data_folder
from snapstone.server.folder.root_key import ensure_root_key
from snapstone.server.process.preparation import prepare_catalog
from snapstone.service.identities.identity import credentials_of
from snapstone.service.key_ring import server_secret
from snapstone.service.timekeeper import Timekeeper
from snapstone.system.clock import MachineClocks
from tests.suites.catalog_rows import OTHER_ROOT, name, pending, put_in_state

SECRET = "aSecretOfAnEarlierVersionOfFortyLetters+"
TOKEN_KEY = b"the token key of an earlier one!"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a data folder whose catalog holds its secrets in plain text."""
    settings = Settings(tmp_path / "data")
    with use_data_folder(settings.data) as folder:
        ensure_root_key(settings, folder)
        SqliteCatalog(folder.catalog).close()
    with sqlite3.connect(settings.data / "catalog.db") as connection:
        connection.execute("INSERT INTO account (account_id) VALUES ('111122223333')")
        connection.execute("INSERT INTO secret (name, value) VALUES ('tokens', ?)", (TOKEN_KEY,))
        for access_key_id, active in (("AKIAOLD", 1), ("AKIAOFF", 0)):
            connection.execute(
                "INSERT INTO access_key VALUES (?, ?, '111122223333', ?, NULL, NULL)", (access_key_id, SECRET, active)
            )
    connection.close()
    return settings


def prepare(settings: Settings) -> None:
    with use_data_folder(settings.data) as folder:
        prepare_catalog(settings, folder)


def test_keys_and_secrets_stay_what_they_were(settings: Settings) -> None:
    prepare(settings)
    prepare(settings)
    with open_identities(settings) as engine:
        old, off = (credentials_of(engine, name, None) for name in ("AKIAOLD", "AKIAOFF"))
        assert old is not None
        assert off is not None
        assert (old.secret, old.active, off.active) == (SECRET, True, False)
        assert old.principal.arn == "arn:aws:iam::111122223333:root"
        assert server_secret(engine.catalog, engine.keys.root_key, "tokens", b"another") == TOKEN_KEY


def test_nothing_is_left_in_plain_text(settings: Settings) -> None:
    prepare(settings)
    stored = b"".join(path.read_bytes() for path in settings.data.glob("catalog.db*"))
    assert b"AKIAOLD" in stored
    assert SECRET.encode() not in stored
    assert TOKEN_KEY not in stored


def test_a_catalog_of_the_first_version_gets_a_root_key(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data")
    with use_data_folder(settings.data) as folder:
        with sqlite3.connect(folder.catalog) as connection:
            migrate(connection, known_migrations()[:1])
            connection.execute("INSERT INTO account (account_id) VALUES ('111122223333')")
            connection.execute("INSERT INTO access_key VALUES ('AKIAOLD', ?, '111122223333', 1, NULL, NULL)", (SECRET,))
        connection.close()
        ensure_root_key(settings, folder)
    prepare(settings)
    with open_identities(settings) as engine:
        old = credentials_of(engine, "AKIAOLD", None)
    assert old is not None
    assert old.secret == SECRET


def test_leases_that_a_server_left_are_freed_and_running_time_goes_on(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data")
    with use_data_folder(settings.data) as folder:
        ensure_root_key(settings, folder)
        prepare_catalog(settings, folder)
        catalog = SqliteCatalog(folder.catalog)
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        put_in_state(catalog, 2, SnapshotState.SEALING)
        catalog.insert_copy(pending(3, copied_from=name(1)), CopyWork(name(3), OTHER_ROOT, None), 9)
        assert catalog.claim_seal(name(2), 0, 2**62)
        assert catalog.claim_copy(name(3), 0, 2**62) is not None
        catalog.change_clock(lambda row: replace(row, running_ms=12_345))
        prepare_catalog(settings, folder)
        after = catalog.clock()
        assert (catalog.seals_due(0), catalog.copies_due(0)) == ([name(2)], [name(3)])
        assert after.running_ms == 12_345
        assert 12_345 <= Timekeeper(catalog, MachineClocks()).running_ms() < 12_345 + 60_000
        catalog.close()


def test_a_root_key_that_was_lost_is_not_made_anew(settings: Settings) -> None:
    (settings.data / "root.key").unlink()
    with use_data_folder(settings.data) as folder, pytest.raises(DataFolderError) as caught:
        ensure_root_key(settings, folder)
    assert "root.key is missing" in caught.value.message
    assert not (settings.data / "root.key").exists()


def test_another_root_key_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(settings)
    monkeypatch.setenv("SNAPSTONE_ROOT_KEY", "ab" * 32)
    with pytest.raises(DataFolderError) as caught:
        prepare(settings)
    assert "the root key is not the one" in caught.value.message
    assert "ab" * 32 not in caught.value.message


def test_damage_that_is_met_while_the_catalog_is_prepared_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(catalog: SqliteCatalog, candidate: str) -> str:
        raise DamageError(str(tmp_path / "catalog.db"), "the catalog is damaged")

    monkeypatch.setattr(SqliteCatalog, "first_account", damaged)
    settings = Settings(tmp_path)
    with use_data_folder(tmp_path) as folder:
        ensure_root_key(settings, folder)
        with pytest.raises(StartRefusedError, match=r"catalog\.db: the catalog is damaged"):
            prepare_catalog(settings, folder)
