"""Digest tables of format version 1 stay readable: by a reader written from docs/format.md, and by today's Snapstone.

`version_1/digests.table.xz` was written by Snapstone 0.1.0 and is never written anew: a table of 4,096 blocks, made
with facts that name a source and the stage `started`, entries at the block indexes below, one at 2001 that was
forgotten again, and then other facts.
"""

from __future__ import annotations

import lzma
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from snapstone.client.transfer.digests import DigestTable
from snapstone.core.blocks import Digest
from tests.formats.table_reader import Table, read_table

GOLDEN: Final = Path(__file__).parent / "version_1" / "digests.table.xz"

ZERO_BLOCK: Final = bytes.fromhex("07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541")

FACTS: Final[dict[str, Any]] = {
    "stage": "sending",
    "source": "/images/ü.raw",
    "snapshot_id": "snap-0123456789abcdef0",
    "volume_size_gib": 2,
}
DIGESTS: Final = {
    **{index: sha256(b"block %d" % index).digest() for index in (0, 1, 127, 128, 4_095)},
    2_000: ZERO_BLOCK,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "table"
    path.write_bytes(lzma.decompress(GOLDEN.read_bytes()))
    return path


def test_the_golden_table_is_read_by_the_documented_format(path: Path) -> None:
    assert read_table(path.read_bytes()) == Table(2, 4_096, FACTS, DIGESTS)


def test_todays_code_reads_the_golden_table(path: Path) -> None:
    with DigestTable.open(path) as table:
        assert (table.block_count, dict(table.facts), dict(table.items())) == (4_096, FACTS, DIGESTS)


def test_todays_code_goes_on_with_the_golden_table(path: Path) -> None:
    with DigestTable.open(path, writable=True) as table:
        table.record(5, Digest(ZERO_BLOCK))
        table.forget(0)
        table.set_facts({"stage": "complete"})
    expected = {index: entry for index, entry in DIGESTS.items() if index != 0} | {5: ZERO_BLOCK}
    assert read_table(path.read_bytes()) == Table(3, 4_096, {"stage": "complete"}, expected)


def test_what_todays_code_writes_is_read_by_the_documented_format(tmp_path: Path) -> None:
    with DigestTable.create(tmp_path / "table", 2_048, {"source": "\udcff", "n": [1, None]}) as table:
        table.record(2_047, Digest(ZERO_BLOCK))
    content = (tmp_path / "table").read_bytes()
    assert read_table(content) == Table(1, 2_048, {"source": "\udcff", "n": [1, None]}, {2_047: ZERO_BLOCK})
