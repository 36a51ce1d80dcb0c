"""The first account and key: made once, known to the catalog, readable by AWS tools."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.configloader import raw_config_parse

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import root_principal
from snapstone.server.folder.administration import Identities, ensure_administrator, identities_of, mint_key_pair
from snapstone.server.folder.credentials import read_credentials
from snapstone.server.folder.data_folder import DataFolderError, StartRefusedError
from snapstone.service.iam.access_keys import mint_account_id
from snapstone.service.identities.identity import credentials_of
from snapstone.service.key_ring import HeldRootKey


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Identities]:
    catalog = SqliteCatalog(tmp_path / "catalog.db")
    yield identities_of(catalog, HeldRootKey(b"r" * 32, os.urandom))
    catalog.close()


def test_the_first_start_makes_a_key_that_the_catalog_knows(engine: Identities, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    ensure_administrator(engine, path)
    pair = read_credentials(path)
    key = credentials_of(engine, pair.access_key_id, None)
    assert key is not None
    assert (key.secret, key.active, key.session_token_ok) == (pair.secret, True, True)
    assert key.principal == root_principal(engine.catalog.first_account(AccountId("999999999999")))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_later_starts_keep_the_key(engine: Identities, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    ensure_administrator(engine, path)
    before = path.read_bytes()
    ensure_administrator(engine, path)
    assert path.read_bytes() == before


def test_a_lost_file_gets_a_new_key_of_the_same_account(engine: Identities, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    keys = []
    for _ in range(2):
        ensure_administrator(engine, path)
        keys.append(engine.catalog.sealed_access_key(read_credentials(path).access_key_id))
        path.unlink()
    first, second = keys
    assert first is not None
    assert second is not None
    assert first.access_key_id != second.access_key_id
    assert first.account_id == second.account_id


def test_a_new_catalog_learns_the_key_that_is_there_if_told_to(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    for name in ("first.db", "second.db"):
        catalog = SqliteCatalog(tmp_path / name)
        engine = identities_of(catalog, HeldRootKey(b"r" * 32, os.urandom))
        ensure_administrator(engine, path, adopt=True)
        assert engine.catalog.sealed_access_key(read_credentials(path).access_key_id) is not None
        catalog.close()


@pytest.mark.parametrize("part", ["aws_access_key_id = ", "aws_secret_access_key = "])
def test_a_pair_that_is_not_as_the_catalog_has_it_is_refused_and_no_key_is_made(
    engine: Identities, tmp_path: Path, part: str
) -> None:
    path = tmp_path / "credentials"
    ensure_administrator(engine, path)
    account_id = engine.catalog.first_account(AccountId("999999999999"))
    text = path.read_text()
    at = text.index(part) + len(part) + 7
    path.write_text(text[:at] + ("B" if text[at] != "B" else "C") + text[at + 1 :])
    with pytest.raises(StartRefusedError) as caught:
        ensure_administrator(engine, path)
    assert str(path) in caught.value.message
    assert read_credentials(path).secret not in caught.value.message
    assert len(engine.catalog.sealed_access_keys(account_id, None)) == 1


def test_a_key_that_is_switched_off_is_the_same_pair(engine: Identities, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    ensure_administrator(engine, path)
    key = engine.catalog.sealed_access_key(read_credentials(path).access_key_id)
    assert key is not None
    engine.catalog.set_access_key_active(key, active=False)
    ensure_administrator(engine, path)


def test_aws_tools_read_the_file(engine: Identities, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    ensure_administrator(engine, path)
    pair = read_credentials(path)
    assert raw_config_parse(str(path)) == {
        "default": {"aws_access_key_id": pair.access_key_id, "aws_secret_access_key": pair.secret}
    }


@pytest.mark.parametrize("text", ["", "[default]\n", "no section", "[default]\naws_access_key_id = SECRET\n"])
def test_a_file_that_holds_no_key_is_refused_without_repeating_it(
    engine: Identities, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)
    with pytest.raises(DataFolderError) as caught:
        ensure_administrator(engine, path)
    assert str(path) in caught.value.message
    assert "SECRET" not in caught.value.message
    assert path.read_text() == text


def test_minted_ids_have_the_forms_of_aws() -> None:
    for filler in (b"\x00", b"\xff"):
        assert re.fullmatch(r"[1-9]\d{11}", mint_account_id(lambda size, filler=filler: filler * size))  # type: ignore[misc]
    pair = mint_key_pair(os.urandom)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", pair.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", pair.secret)
