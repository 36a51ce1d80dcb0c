"""Data keys and domains: unsealed when needed, remembered within bounds, gone with their KMS key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapstone.catalog.contract.keys import KeyState, KmsKey, MaterialAdded
from snapstone.core.blocks import ZERO_DIGEST, digest_of
from snapstone.core.errors import KeyHiddenError
from snapstone.service.key_ring import CACHED_KEYS, Cache
from snapstone.service.keys.kms_keys import managed_ebs_key
from snapstone.service.kms.rotation import rotate
from tests.installation import ACCOUNT, CALLER, Installation
from tests.suites.races import racing


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


@pytest.fixture
def key(installation: Installation) -> KmsKey:
    return managed_ebs_key(installation.engine, ACCOUNT, CALLER.region)


def destroy(installation: Installation, key: KmsKey) -> None:
    installation.catalog.change_kms_key(
        key.key_id, lambda row: replace(row, state=KeyState.PENDING_DELETION, deletion_at_ms=0)
    )
    assert installation.catalog.destroy_kms_key(key.key_id, 1)


def test_a_data_key_is_the_same_after_a_restart(installation: Installation, key: KmsKey) -> None:
    data_key_id = installation.engine.keys.make_data_key(key)
    before = installation.engine.keys.data_key(data_key_id)
    installation.reopen()
    assert installation.engine.keys.data_key(data_key_id) == before
    assert len(before.key) == 32
    assert repr(before.key) not in repr(before)


def test_a_key_has_one_domain_whoever_asks_first(installation: Installation, key: KmsKey) -> None:
    found = racing(8, lambda _: installation.engine.keys.domain(key).address_key)
    assert len(set(found)) == 1
    installation.reopen()
    assert installation.engine.keys.domain(key).address_key == found[0]


def test_an_address_is_the_keyed_hash_of_a_digest(installation: Installation, key: KmsKey) -> None:
    """HMAC-SHA-256, as RFC 2104 builds it from SHA-256 alone."""
    domain = installation.engine.keys.domain(key)
    padded = domain.address_key.ljust(64, b"\0")
    inner = digest_of(bytes(byte ^ 0x36 for byte in padded) + ZERO_DIGEST)
    assert bytes(domain.zero_address) == digest_of(bytes(byte ^ 0x5C for byte in padded) + inner)


def test_what_is_remembered_does_not_outlive_the_kms_key(installation: Installation, key: KmsKey) -> None:
    data_key_id = installation.engine.keys.make_data_key(key)
    installation.engine.keys.data_key(data_key_id)
    destroy(installation, key)
    with pytest.raises(KeyHiddenError):
        installation.engine.keys.data_key(data_key_id)
    with pytest.raises(KeyHiddenError):
        installation.engine.keys.make_data_key(key)


def test_a_domain_is_not_made_for_a_key_that_is_gone(installation: Installation, key: KmsKey) -> None:
    destroy(installation, key)
    with pytest.raises(KeyHiddenError):
        installation.engine.keys.domain(key)


def test_a_data_key_is_current_until_the_kms_key_is_rotated(installation: Installation, key: KmsKey) -> None:
    data_key_id = installation.engine.keys.make_data_key(key)
    assert installation.engine.keys.is_current(key, data_key_id)
    assert rotate(installation.engine, key, 1) is MaterialAdded.ADDED
    rotated = installation.catalog.kms_key(key.key_id)
    assert rotated is not None
    assert not installation.engine.keys.is_current(rotated, data_key_id)
    assert installation.engine.keys.is_current(rotated, installation.engine.keys.make_data_key(rotated))


def test_a_cache_is_bounded_and_drops_the_oldest() -> None:
    cache: Cache[str, int] = Cache()
    for number in range(CACHED_KEYS + 1):
        cache.put(str(number), number)
    assert cache.get("0") is None
    assert cache.get("1") == 1
    assert cache.get(str(CACHED_KEYS)) == CACHED_KEYS
