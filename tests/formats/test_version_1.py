"""Files of format version 1 stay readable: by a reader written from docs/format.md, and by Snapstone as it is today.

The files in `version_1` were written by Snapstone 0.1.0 and are never written anew: one block, the map of a snapshot
with that block at index 3 and the zero block at index 600, and the snapshot's manifest. They were made by a store with
the time below, whose random bytes counted up from 16, in this order: `put_block`, the pages of one `apply_writes` on
the empty root, the manifest, `close`; the page is that of the leaf with slot 3.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from snapstone.core.block_map import list_blocks
from snapstone.core.blocks import ZERO_ADDRESS, Address
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.manifest import Manifest, decode_manifest, manifest_address
from snapstone.core.page import Page
from snapstone.storage.contract import ObjectKind
from snapstone.storage.pages import PageStore
from snapstone.storage.segment_store import SegmentStore
from tests.formats import segment_reader
from tests.installation import ZERO, Installation, block

VERSION_1: Final = Path(__file__).parent / "version_1"

SNAPSHOT_ID: Final = SnapshotId("snap-0123456789abcdef0")
STORED_AT_MS: Final = 1_790_337_440_328
A: Final = block("a")
A_DIGEST: Final = bytes.fromhex("4226f4c0b65208fc7102c9e86759aa193c186147f106f8dc1dbb8450e3b035dc")

MANIFEST: Final[dict[str, Any]] = {
    "account_id": "111122223333",
    "block_count": 2,
    "description": "nightly ü",
    "lineage_id": SNAPSHOT_ID,
    "parent_id": None,
    "region": "eu-central-1",
    "sealed_at_ms": 1_790_337_441_000,
    "snapshot_id": SNAPSHOT_ID,
    "started_at_ms": 1_790_337_440_328,
    "tags": [["b", "2"], ["a", ""]],
    "version": 1,
    "volume_size_gib": 8,
}
"""But for the root, which follows from the pages."""


def leaf_page(slot: int, address: bytes) -> bytes:
    """A page with one child, by hand."""
    return (1 << slot).to_bytes(64, "little") + address


LEAVES: Final = leaf_page(3, A_DIGEST), leaf_page(600 - 512, segment_reader.ZERO_BLOCK)
BRANCH: Final = (0b11).to_bytes(64, "little") + b"".join(sha256(leaf).digest() for leaf in LEAVES)
ROOT: Final = leaf_page(0, sha256(BRANCH).digest())
ROOT_ADDRESS: Final = sha256(ROOT).digest()


@pytest.fixture(scope="module")
def segment() -> bytes:
    return lzma.decompress((VERSION_1 / "00000001.segment.xz").read_bytes())


@pytest.fixture
def store(segment: bytes, tmp_path: Path) -> Iterator[SegmentStore]:
    """A store whose only segment is the golden one, without an index."""
    folder = tmp_path / "objects" / "segments"
    folder.mkdir(parents=True)
    (folder / "00000001.segment").write_bytes(segment)
    store = SegmentStore(tmp_path / "objects", now_ms=lambda: 0, block_buffers=4, segment_size=8 << 20)
    yield store
    store.close()


# -- by the documented format alone --


def test_the_golden_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in VERSION_1.iterdir()) < 50_000


def test_the_segments_header_is_as_documented(segment: bytes) -> None:
    assert segment_reader.segment_header(segment) == (1, bytes(range(16, 32)))
    assert segment[:4_096] == segment[4_096:8_192]


@pytest.mark.parametrize("copy_offset", [0, 4_096])
def test_the_records_are_read_with_either_copy_of_the_header(segment: bytes, copy_offset: int) -> None:
    damaged = segment[:copy_offset] + bytes(4_096) + segment[copy_offset + 4_096 :]
    assert list(segment_reader.records(damaged)) == list(segment_reader.records(segment))


def test_the_records_are_as_documented(segment: bytes) -> None:
    found = list(segment_reader.records(segment))
    assert [(record.kind, record.address) for record in found] == [
        (segment_reader.BLOCK, A_DIGEST),
        *((segment_reader.PAGE, sha256(page).digest()) for page in (*LEAVES, BRANCH, ROOT)),
        (segment_reader.MANIFEST, segment_reader.manifest_address(SNAPSHOT_ID)),
    ]
    assert [record.offset for record in found] == [8_192, *range(536_576, 536_576 + 5 * 8_192, 8_192)]
    assert {record.stored_at_ms for record in found} == {STORED_AT_MS}
    assert found[0].payload == A
    assert [record.payload for record in found[1:5]] == [*LEAVES, BRANCH, ROOT]
    assert len(segment) == 536_576 + 5 * 8_192


def test_the_snapshot_is_read_from_the_segment_alone(segment: bytes) -> None:
    objects = {record.address: record for record in segment_reader.records(segment)}
    manifest = segment_reader.manifest(objects[segment_reader.manifest_address(SNAPSHOT_ID)].payload)
    assert manifest == MANIFEST | {"root": ROOT_ADDRESS.hex()}
    assert segment_reader.blocks(objects, bytes.fromhex(manifest["root"])) == {3: A, 600: ZERO}


def test_the_page_and_the_manifest_are_as_documented() -> None:
    assert segment_reader.children((VERSION_1 / "page.bin").read_bytes()) == {3: A_DIGEST}
    members = segment_reader.manifest((VERSION_1 / "manifest.json").read_bytes())
    assert members == MANIFEST | {"root": ROOT_ADDRESS.hex()}


# -- by today's code --


def test_todays_store_finds_every_golden_object(store: SegmentStore) -> None:
    assert sorted((entry.kind, entry.payload_size, entry.stored_at_ms) for entry in store.walk()) == [
        (ObjectKind.BLOCK, 524_288, STORED_AT_MS),
        *([(ObjectKind.PAGE, 64 + 32, STORED_AT_MS)] * 3),
        (ObjectKind.PAGE, 64 + 2 * 32, STORED_AT_MS),
        (ObjectKind.MANIFEST, len((VERSION_1 / "manifest.json").read_bytes()), STORED_AT_MS),
    ]
    assert store.get(ObjectKind.BLOCK, Address(A_DIGEST)) == A


def test_todays_code_reads_the_golden_snapshot(store: SegmentStore) -> None:
    manifest = decode_manifest(store.get(ObjectKind.MANIFEST, manifest_address(SNAPSHOT_ID)))
    assert manifest == Manifest(
        snapshot_id=SNAPSHOT_ID,
        account_id=AccountId("111122223333"),
        region=Region("eu-central-1"),
        volume_size_gib=8,
        parent_id=None,
        lineage_id=SNAPSHOT_ID,
        root=Address(ROOT_ADDRESS),
        block_count=2,
        description="nightly ü",
        tags=(("b", "2"), ("a", "")),
        started_at_ms=1_790_337_440_328,
        sealed_at_ms=1_790_337_441_000,
    )
    pages = PageStore(store, cache_bytes=1 << 20)
    assert list(list_blocks(pages, manifest.root)) == [
        (3, A_DIGEST),
        (600, ZERO_ADDRESS),
    ]


def test_todays_code_makes_the_golden_page_and_manifest_again() -> None:
    page = (VERSION_1 / "page.bin").read_bytes()
    assert Page(bytes(64)).with_children({3: Address(A_DIGEST)}).content == page == LEAVES[0]
    manifest = (VERSION_1 / "manifest.json").read_bytes()
    assert decode_manifest(manifest).encode() == manifest


def test_todays_store_appends_behind_the_golden_records(store: SegmentStore, segment: bytes, tmp_path: Path) -> None:
    store.put_many(ObjectKind.PAGE, [(Address(sha256(b"new").digest()), b"new")])
    store.close()
    appended = (tmp_path / "objects" / "segments" / "00000001.segment").read_bytes()
    assert appended[: len(segment)] == segment
    assert [record.payload for record in segment_reader.records(appended)][-1] == b"new"


def test_what_todays_server_writes_is_read_by_the_documented_format(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data")
    parent = installation.sealed({0: A, 511: block("b"), 512: ZERO, 2_047: block("c")})
    child = installation.sealed({0: block("c"), 262_144: A}, parent_snapshot_id=parent, volume_size=200)
    empty = installation.sealed({})
    installation.close()
    segment = (tmp_path / "data" / "segments" / "00000001.segment").read_bytes()
    objects = {record.address: record for record in segment_reader.records(segment)}

    def content(snapshot_id: str) -> dict[int, bytes]:
        manifest = segment_reader.manifest(objects[segment_reader.manifest_address(snapshot_id)].payload)
        found = segment_reader.blocks(objects, bytes.fromhex(manifest["root"]))
        assert manifest["block_count"] == len(found)
        return found

    assert content(parent) == {0: A, 511: block("b"), 512: ZERO, 2_047: block("c")}
    assert content(child) == {0: block("c"), 511: block("b"), 512: ZERO, 2_047: block("c"), 262_144: A}
    assert content(empty) == {}
