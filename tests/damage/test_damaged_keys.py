"""Rows of keys and secrets damaged or gone from the catalog: never "there is no such key", always damage, and told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from snapstone.catalog.contract.identities import IdentityKind
from snapstone.core.errors import DamageError, InvalidCiphertextError, KeyHiddenError
from snapstone.core.ids import AccountId
from snapstone.service.health import SUBJECT
from snapstone.service.iam.access_keys import mint_access_key
from snapstone.service.iam.users import create_user
from snapstone.service.identities.identity import credentials_of, session_key
from snapstone.service.identities.owners import Owner
from snapstone.service.kms.cryptography import decrypt, encrypt
from snapstone.service.kms.key_operations import create_key, describe_key
from tests.installation import CALLER, Installation, block

A, B = block("a"), block("b")


def flipped(value: bytes) -> bytes:
    """A sealed value with one bit of its last byte changed: the function `flipped` of the statements below."""
    return value[:-1] + bytes([value[-1] ^ 1])


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


@pytest.fixture
def key_arn(installation: Installation) -> str:
    answer: dict[str, Any] = create_key(installation.engine, installation.caller)
    return str(answer["KeyMetadata"]["Arn"])


@pytest.fixture
def damage(installation: Installation) -> Callable[[str], None]:
    """Runs a statement on the stopped catalog, past all of its rules, and starts again."""

    def run(statement: str) -> None:
        installation.close()
        with closing(sqlite3.connect(installation.folder / "catalog.db")) as connection, connection:
            connection.create_function("flipped", 1, flipped)
            assert connection.execute(statement).rowcount == 1
        installation.__post_init__()

    return run


def assert_told(installation: Installation, row: str) -> None:
    assert [problem.subject for problem in installation.engine.health.problems()] == [SUBJECT]
    assert f"`{row}" in installation.engine.health.problems()[0].message


def first_token(installation: Installation, snapshot_id: str) -> str:
    return str(installation.list_all(snapshot_id)[0]["BlockToken"])


CHANGED_KEYS = [
    ("UPDATE kms_material SET wrapped = flipped(wrapped)", "kms material"),
    ("UPDATE kms_material SET version = 2", "kms material"),
    ("DELETE FROM kms_material", "kms material"),
    ("UPDATE data_key SET wrapped = flipped(wrapped)", "data key"),
    ("UPDATE data_key SET material_version = 2", "kms material"),
    ("UPDATE data_key SET data_key_id = randomblob(16)", "data key"),
    ("UPDATE data_key SET key_id = 'another'", "data key"),
    ("DELETE FROM data_key", "data key"),
    ("UPDATE domain_key SET wrapped = flipped(wrapped)", "domain key"),
    ("UPDATE domain_key SET key_id = 'another'", "domain key"),
    ("DELETE FROM domain_key", "domain key"),
    ("UPDATE kms_key SET key_id = 'another'", "KMS key"),
    ("UPDATE kms_key SET account_id = '999999999999'", "KMS key"),
    ("UPDATE kms_key SET region = 'eu-central-0'", "KMS key"),
]


@pytest.mark.parametrize(("statement", "row"), CHANGED_KEYS)
def test_a_snapshot_whose_keys_are_damaged_is_damaged_and_not_without_a_key(
    installation: Installation, key_arn: str, damage: Callable[[str], None], statement: str, row: str
) -> None:
    snapshot_id = installation.sealed({0: A}, encrypted=True, kms_key_arn=key_arn)
    token = first_token(installation, snapshot_id)
    damage(statement)
    with pytest.raises(DamageError):
        installation.get(snapshot_id, 0, token)
    assert_told(installation, row)
    with pytest.raises(DamageError):
        installation.put(installation.start(parent_snapshot_id=snapshot_id), 1, B)


def test_a_key_without_material_of_its_own_is_damaged_for_kms_too(
    installation: Installation, key_arn: str, damage: Callable[[str], None]
) -> None:
    damage("UPDATE kms_key SET key_id = 'another'")
    with pytest.raises(DamageError):
        describe_key(installation.engine, installation.caller, key_id=key_arn)


def test_a_ciphertext_under_damaged_material_is_not_called_invalid(
    installation: Installation, key_arn: str, damage: Callable[[str], None]
) -> None:
    sealed = encrypt(installation.engine, CALLER, key_id=key_arn, plaintext=b"text")["CiphertextBlob"]
    assert isinstance(sealed, bytes)
    damage("UPDATE kms_material SET wrapped = flipped(wrapped)")
    with pytest.raises(DamageError):
        decrypt(installation.engine, CALLER, ciphertext_blob=sealed)


def test_a_ciphertext_that_names_a_material_that_never_was_is_invalid(installation: Installation, key_arn: str) -> None:
    sealed = encrypt(installation.engine, CALLER, key_id=key_arn, plaintext=b"text")["CiphertextBlob"]
    assert isinstance(sealed, bytes)
    for version in (0, 2, 2**32 - 1):
        forged = sealed[:20] + version.to_bytes(4, "big") + sealed[24:]
        with pytest.raises(InvalidCiphertextError):
            decrypt(installation.engine, CALLER, ciphertext_blob=forged)
    assert installation.engine.health.problems() == []


def test_a_snapshot_whose_key_was_destroyed_is_hidden_as_before(
    installation: Installation, key_arn: str, damage: Callable[[str], None]
) -> None:
    snapshot_id = installation.sealed({0: A}, encrypted=True, kms_key_arn=key_arn)
    damage(f"UPDATE kms_key SET state = 'PendingDeletion', deletion_at_ms = {installation.clock.now_ms}")
    assert installation.catalog.destroy_kms_key(key_arn.rpartition("/")[2], installation.clock.now_ms)
    with pytest.raises(KeyHiddenError):
        installation.list_all(snapshot_id)
    assert installation.engine.health.problems() == []


def test_a_managed_key_that_its_alias_names_and_that_is_gone_is_damage_and_is_not_made_again(
    installation: Installation, damage: Callable[[str], None]
) -> None:
    installation.sealed({0: A}, encrypted=True)
    damage("UPDATE kms_alias SET key_id = 'another'")
    with pytest.raises(DamageError):
        installation.start(encrypted=True)
    assert_told(installation, "KMS key another")


# -- access keys and secrets --


def minted(installation: Installation, owner: Owner | None) -> str:
    installation.catalog.first_account(AccountId(CALLER.account_id))
    if owner is not None:
        create_user(installation.engine, CALLER, user_name=owner.name)
    return mint_access_key(installation.engine, CALLER.account_id, owner)[0].access_key_id


def test_an_access_key_that_cannot_be_opened_is_damage_and_not_an_unknown_key(
    installation: Installation, damage: Callable[[str], None]
) -> None:
    access_key_id = minted(installation, None)
    damage("UPDATE iam_access_key SET sealed_secret = flipped(sealed_secret)")
    with pytest.raises(DamageError):
        credentials_of(installation.engine, access_key_id, None)
    assert_told(installation, f"access key {access_key_id}")


def test_an_access_key_whose_user_is_gone_is_damage_and_not_an_unknown_key(
    installation: Installation, damage: Callable[[str], None]
) -> None:
    access_key_id = minted(installation, Owner(IdentityKind.USER, "ada"))
    assert credentials_of(installation.engine, access_key_id, None) is not None
    damage("DELETE FROM iam_identity")
    with pytest.raises(DamageError):
        credentials_of(installation.engine, access_key_id, None)
    assert_told(installation, "user ")


def test_an_access_key_that_nobody_has_is_unknown(installation: Installation) -> None:
    assert credentials_of(installation.engine, "AKIANOBODYHASTHISONE", None) is None
    assert installation.engine.health.problems() == []


def test_a_secret_behind_sessions_that_cannot_be_opened_is_damage(
    installation: Installation, damage: Callable[[str], None]
) -> None:
    session_key(installation.engine)
    damage("UPDATE secret SET value = flipped(value) WHERE name = 'sessions'")
    with pytest.raises(DamageError):
        credentials_of(installation.engine, "ASIAEXAMPLE", "TOKEN")
    assert_told(installation, "secret sessions")
