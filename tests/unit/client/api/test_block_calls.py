"""Puts and gets against an endpoint that answers what a test says: what comes back is held against what was sent."""

from __future__ import annotations

from hashlib import sha256

import pytest

from snapstone.client.api.block_calls import BlockCalls, Signer
from snapstone.client.api.connection import Remote
from snapstone.client.api.endpoint import AccessKey
from snapstone.client.api.faults import FaultError, FaultKind, kind_of
from snapstone.core.blocks import BLOCK_SIZE, checksum_from_digest, digest_of
from tests.unit.client.api.one_answer_server import OneAnswerServer

KEY = AccessKey("AKIAEXAMPLE", "secret", None)
SNAPSHOT_ID = "snap-0123456789abcdef0"
BLOCK = memoryview(b"stone" * (BLOCK_SIZE // 5) + b"sto")
DIGEST = digest_of(BLOCK)
OTHER_CHECKSUM = checksum_from_digest(digest_of(memoryview(bytes(BLOCK_SIZE))))


def answer(status: str, body: bytes, checksum: str | None) -> bytes:
    """An HTTP answer; its checksum header is left out for None."""
    header = "" if checksum is None else f"x-amz-Checksum: {checksum}\r\nx-amz-Checksum-Algorithm: SHA256\r\n"
    return f"HTTP/1.1 {status}\r\n{header}Content-Length: {len(body)}\r\n\r\n".encode() + body


def calls(server: OneAnswerServer) -> BlockCalls:
    return BlockCalls(Remote(server.url), Signer(server.url.removeprefix("http://"), "us-east-1"))


def put(checksum: str | None) -> None:
    with OneAnswerServer([answer("201 Created", b"{}", checksum)]) as server:
        calls(server).put(SNAPSHOT_ID, 0, BLOCK, DIGEST, KEY)


def test_a_put_is_done_when_the_answer_has_the_checksum_of_the_block() -> None:
    put(checksum_from_digest(DIGEST))


@pytest.mark.parametrize("checksum", [OTHER_CHECKSUM, None])
def test_a_put_whose_answer_has_another_checksum_or_none_is_not_done(checksum: str | None) -> None:
    with pytest.raises(FaultError) as raised:
        put(checksum)
    assert kind_of(raised.value.fault) is FaultKind.CORRUPT


@pytest.mark.parametrize(
    ("body", "checksum"),
    [
        (bytes(BLOCK), OTHER_CHECKSUM),
        (bytes(BLOCK), None),
        (bytes(BLOCK[:-1]), checksum_from_digest(DIGEST)),
        (bytes(BLOCK[:-1]), checksum_from_digest(digest_of(BLOCK[:-1]))),
    ],
)
def test_a_block_that_is_not_what_its_checksum_says_or_not_whole_is_not_taken(
    body: bytes, checksum: str | None
) -> None:
    into = memoryview(bytearray(BLOCK_SIZE))
    with OneAnswerServer([answer("200 OK", body, checksum)]) as server, pytest.raises(FaultError) as raised:
        calls(server).get(SNAPSHOT_ID, 0, "token", into, KEY)
    assert kind_of(raised.value.fault) is FaultKind.CORRUPT


def test_a_block_with_its_checksum_is_taken() -> None:
    into = memoryview(bytearray(BLOCK_SIZE))
    with OneAnswerServer([answer("200 OK", bytes(BLOCK), checksum_from_digest(DIGEST))]) as server:
        assert calls(server).get(SNAPSHOT_ID, 0, "token", into, KEY) == sha256(BLOCK).digest()
    assert into == BLOCK
