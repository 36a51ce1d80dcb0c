"""What goes wrong with catalog or store at a start becomes one sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.server.folder.data_folder import StartRefusedError, use_data_folder
from snapstone.server.folder.refusals import start_refusals
from snapstone.system import sqlite as system_sqlite


def test_a_catalog_that_fails_after_it_was_opened_refuses_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_sqlite, "BUSY_TIMEOUT_SECONDS", 0.1)
    with use_data_folder(tmp_path / "data") as folder:
        catalog = SqliteCatalog(folder.catalog)
        foreign = sqlite3.connect(folder.catalog, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        sentence = r"a database in .* cannot be used: .*catalog\.db: .*locked"
        with pytest.raises(StartRefusedError, match=sentence), start_refusals(folder):
            catalog.release_leases()
        foreign.close()
        catalog.close()
