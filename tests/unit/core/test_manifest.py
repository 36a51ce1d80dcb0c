"""The manifest: canonical bytes, a round trip, and what is no manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address

MANIFEST = Manifest(
    snapshot_id=SnapshotId("snap-0123456789abcdef0"),
    account_id=AccountId("111122223333"),
    region=Region("eu-central-1"),
    volume_size_gib=8,
    parent_id=SnapshotId("snap-00000000000000001"),
    lineage_id=SnapshotId("snap-00000000000000002"),
    root=Address(bytes(range(32))),
    block_count=3,
    description='nightly "ü"',
    tags=(("b", "2"), ("a", "")),
    started_at_ms=1_790_337_440_328,
    sealed_at_ms=1_790_337_441_000,
)

CANONICAL = (
    '{"account_id":"111122223333","block_count":3,"description":"nightly \\"\\u00fc\\"",'
    '"lineage_id":"snap-00000000000000002","parent_id":"snap-00000000000000001","region":"eu-central-1",'
    '"root":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
    '"sealed_at_ms":1790337441000,"snapshot_id":"snap-0123456789abcdef0","started_at_ms":1790337440328,'
    '"tags":[["b","2"],["a",""]],"version":1,"volume_size_gib":8}'
)


def test_a_manifest_is_canonical_json() -> None:
    assert MANIFEST.encode() == CANONICAL.encode("ascii")


@pytest.mark.parametrize("changes", [{}, {"parent_id": None, "description": None, "tags": ()}])
def test_a_manifest_is_decoded_as_it_was(changes: dict[str, Any]) -> None:
    manifest = replace(MANIFEST, **changes)
    assert decode_manifest(manifest.encode()) == manifest


def members(**changes: object) -> bytes:
    return json.dumps(json.loads(CANONICAL) | changes).encode()


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_manifest_of_another_version_is_not_guessed_at(version: object) -> None:
    with pytest.raises(DamageError):
        decode_manifest(members(version=version))


def test_a_newer_manifest_with_more_members_is_not_guessed_at() -> None:
    with pytest.raises(DamageError):
        decode_manifest(members(version=2, shards=7))


def test_a_manifest_without_a_member_is_none() -> None:
    for name in json.loads(CANONICAL):
        content = {key: value for key, value in json.loads(CANONICAL).items() if key != name}
        with pytest.raises(DamageError):
            decode_manifest(json.dumps(content).encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"1", b"null", b'"text"', b"\xff\xfe", members(root=5), members(root="xy"), members(tags=7)],
)
def test_other_bytes_are_no_manifest(content: bytes) -> None:
    with pytest.raises(DamageError):
        decode_manifest(content)


def test_a_manifest_is_found_by_its_snapshots_id_alone() -> None:
    expected = sha256(b"snapstone manifest\x00snap-0123456789abcdef0").digest()
    assert manifest_address(SnapshotId("snap-0123456789abcdef0")) == expected


ENCRYPTED = replace(
    MANIFEST,
    kms_key_arn="arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    data_key_id=bytes(range(16)),
)


def test_an_encrypted_snapshots_manifest_names_its_keys_and_is_of_version_2() -> None:
    members = json.loads(ENCRYPTED.encode())
    assert members["version"] == 2
    assert members["kms_key_arn"] == "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    assert members["data_key_id"] == "000102030405060708090a0b0c0d0e0f"
    assert decode_manifest(ENCRYPTED.encode()) == ENCRYPTED


def test_a_version_2_manifest_without_its_keys_is_damage() -> None:
    members = json.loads(ENCRYPTED.encode())
    for missing in ("data_key_id", "version"):
        with pytest.raises(DamageError):
            decode_manifest(json.dumps({name: value for name, value in members.items() if name != missing}).encode())
