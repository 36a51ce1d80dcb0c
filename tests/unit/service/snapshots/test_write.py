"""PutSnapshotBlock: what is refused with which words, and that a refused put leaves the index as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.errors import (
    BlockChecksumMismatchError,
    InvalidBlockError,
    InvalidParameterError,
    SnapstoneError,
)
from tests.installation import Installation, SentBlock, aggregate, block, checksum

A, B = block("a"), block("b")

A_CHECKSUM, B_CHECKSUM = "Qib0wLZSCPxxAsnoZ1mqGTwYYUfxBvjcHbuEUOOwNdw=", "7MZ7lYcAJrKN1JmUX5CDaVV97bthlt/bgN4AmbQDHTA="


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


REFUSED: list[tuple[dict[str, Any], SnapstoneError]] = [
    ({"checksum": B_CHECKSUM}, BlockChecksumMismatchError(computed=A_CHECKSUM, expected=B_CHECKSUM)),
    ({"checksum": "AAAA"}, BlockChecksumMismatchError(computed=A_CHECKSUM, expected="AAAA")),
    ({"block_data": SentBlock(A[:-1], None)}, InvalidParameterError("Failed to read block data")),
    ({"block_data": SentBlock(A[:-1], 524_287)}, InvalidParameterError("Failed to read block data")),
    ({"block_data": SentBlock(A[:-1], 524_288)}, InvalidParameterError("Failed to read block data")),
    ({"block_data": SentBlock(b"", 0)}, InvalidParameterError("Failed to read block data")),
    (
        {"block_data": SentBlock(A[:-1], 524_287), "data_length": 524_287},
        InvalidParameterError("Failed to read block data"),
    ),
    ({"data_length": 1}, InvalidBlockError("Block data length 1 is not valid, expected 524288")),
    (
        {"block_data": SentBlock(A, None), "data_length": 1},
        InvalidBlockError("Block data length 1 is not valid, expected 524288"),
    ),
    (
        {"block_data": SentBlock(A + b"x", 524_289)},
        InvalidBlockError("Block data length 524289 is not valid, expected 524288"),
    ),
    ({"block_data": SentBlock(A + b"x", None)}, InvalidBlockError("Block data is longer than 524288 bytes")),
    ({"block_index": 2_048}, InvalidBlockError("Block index 2048 is beyond the volume size extent")),
    (
        {"checksum_algorithm": "SHA1"},
        InvalidParameterError("Unsupported Checksum Algorithm 'SHA1', supported algorithms are SHA256"),
    ),
]


@pytest.mark.parametrize(("members", "error"), REFUSED)
def test_a_refused_put_says_why_and_leaves_the_index_as_it_was(
    installation: Installation, members: dict[str, Any], error: SnapstoneError
) -> None:
    snapshot_id = installation.start()
    installation.put(snapshot_id, 0, B)
    put: dict[str, Any] = {"block_index": 0, "content": A} | members
    with pytest.raises(type(error)) as raised:
        installation.put(snapshot_id, **put)
    assert vars(raised.value) == vars(error)
    assert installation.complete(snapshot_id, 1, aggregate({0: B})) == "completed"
    assert installation.content(snapshot_id) == {0: B}


def test_a_refused_put_may_be_repeated(installation: Installation) -> None:
    snapshot_id = installation.start()
    for members in ({"checksum": B_CHECKSUM}, {"data_length": 1}):
        with pytest.raises((BlockChecksumMismatchError, InvalidBlockError)):
            installation.put(snapshot_id, 0, A, **members)
    installation.put(snapshot_id, 0, A)
    assert installation.complete(snapshot_id, 1, aggregate({0: A})) == "completed"


def test_refused_puts_give_their_buffers_back(installation: Installation) -> None:
    snapshot_id = installation.start()
    for _ in range(100):
        with pytest.raises(BlockChecksumMismatchError):
            installation.put(snapshot_id, 0, A, checksum=B_CHECKSUM)


def test_what_the_head_condemns_is_refused_before_the_body_is_read(installation: Installation) -> None:
    def read() -> None:
        raise AssertionError("the body was read")

    snapshot_id = installation.start()
    unread = SentBlock(A, len(A), before_read=read)
    for members in ({"block_index": 2_048}, {"data_length": 1}, {"checksum_algorithm": "SHA1"}):
        put: dict[str, Any] = {"block_index": 0, "content": A, "block_data": unread} | members
        with pytest.raises((InvalidBlockError, InvalidParameterError)):
            installation.put(snapshot_id, **put)


def test_the_last_index_of_the_volume_is_written(installation: Installation) -> None:
    assert installation.content(installation.sealed({2_047: A})) == {2_047: A}
    assert installation.content(installation.sealed({4_095: A}, volume_size=2)) == {4_095: A}
    last = 65_536 * 2_048 - 1
    assert installation.content(installation.sealed({last: A}, volume_size=65_536)) == {last: A}


def test_a_body_of_unannounced_size_is_written(installation: Installation) -> None:
    snapshot_id = installation.start()
    installation.put(snapshot_id, 0, A, block_data=SentBlock(A, None))
    assert installation.complete(snapshot_id, 1, checksum(bytes.fromhex(_A_DIGEST))) == "completed"


_A_DIGEST = "4226f4c0b65208fc7102c9e86759aa193c186147f106f8dc1dbb8450e3b035dc"


def test_the_largest_progress_is_kept(installation: Installation) -> None:
    snapshot_id = installation.start()
    for progress in (10, 70, 30):
        installation.put(snapshot_id, 0, A, progress=progress)
    assert installation.row(snapshot_id).progress == 70
