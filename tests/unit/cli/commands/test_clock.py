"""`snapstone clock` on a data folder that no server runs on; tests/faults has it beside a running one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.cli.main import main
from snapstone.core.clock_trust import Trust
from snapstone.server.config import read_settings
from snapstone.server.folder.data_folder import use_data_folder
from snapstone.server.folder.root_key import ensure_root_key
from snapstone.server.process.preparation import prepare_catalog
from snapstone.system.clock import MachineClocks

YEAR_MS = 365 * 86_400_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a server that has run."""
    for name in list(os.environ):
        if name.startswith("SNAPSTONE_"):
            monkeypatch.delenv(name)
    settings = read_settings({"data": str(tmp_path / "data")})
    with use_data_folder(settings.data) as opened:
        ensure_root_key(settings, opened)
        prepare_catalog(settings, opened)
    return settings.data


@pytest.fixture
def catalog(folder: Path) -> Iterator[SqliteCatalog]:
    catalog = SqliteCatalog(folder / "catalog.db")
    yield catalog
    catalog.close()


def set_back(catalog: SqliteCatalog) -> None:
    """Leave the catalog as if the clock had been a year behind when it was trusted last."""
    reading = MachineClocks().read()
    past = replace(reading, wall_ms=reading.wall_ms - YEAR_MS)
    catalog.change_clock(lambda row: replace(row, trust=Trust(past, past.wall_ms)))


def test_a_trusted_clock_is_shown_and_ends_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clock", "--data", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("state\ttrusted\nclock\t20")


def test_a_clock_that_is_not_trusted_is_exit_code_1(
    folder: Path, catalog: SqliteCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    set_back(catalog)
    assert main(["clock", "--json", "--data", str(folder)]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["state"] == "not trusted"
    assert int(shown["clock"][:4]) == int(shown["expected then"][:4]) + 1
    assert shown["minutes left"] == "60"
    assert catalog.clock().trust is not None
    assert not catalog.clock().trust.held, "it only looks"  # type: ignore[union-attr]


@pytest.mark.parametrize("order", ["before", "after"])
def test_confirming_trusts_the_clock_as_it_is(
    folder: Path, catalog: SqliteCatalog, capsys: pytest.CaptureFixture[str], order: str
) -> None:
    """The folder may be named before `confirm` or after it: never is another one confirmed."""
    set_back(catalog)
    named = ["--data", str(folder)]
    assert main(["clock", *named, "confirm"] if order == "before" else ["clock", "confirm", *named]) == 0
    assert capsys.readouterr().out.startswith("state\ttrusted\n")
    assert main(["clock", *named]) == 0


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clock", "confirm", "--data", str(tmp_path / "none")]) == 2
    assert "there is no data folder" in capsys.readouterr().err
