"""Which payload hash a request may have been signed with."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from snapstone.core.sigv4 import split_target
from snapstone.wire.http import Request
from snapstone.wire.refusals import MalformedSignatureError, SignatureMismatchError
from snapstone.wire.sigv4 import EMPTY_HASH, UNSIGNED_PAYLOAD, Claim, hashes_of_body, hashes_of_unread_block, read_claim
from tests.unit.wire.requests import presigned, signed

DIGEST = hashlib.sha256(b"block").digest()
CHECKSUM = b64encode(DIGEST).decode()
PUT = "/snapshots/snap-1/blocks/0"


def claim_of(made: Request) -> Claim:
    return read_claim(made.headers, split_target(made.target)[1])


def block_hashes(made: Request) -> tuple[str, ...]:
    return hashes_of_unread_block(claim_of(made), made.headers, split_target(made.target)[1])


def body_hashes(made: Request, body: bytes) -> tuple[str, ...]:
    return hashes_of_body(claim_of(made), made.headers, split_target(made.target)[1], body)


class TestUnreadBlock:
    def test_an_unsigned_payload_is_taken_as_such(self) -> None:
        assert block_hashes(signed("PUT", PUT, {"X-Amz-Content-SHA256": UNSIGNED_PAYLOAD})) == (UNSIGNED_PAYLOAD,)

    def test_without_a_hash_the_checksum_names_it(self) -> None:
        assert block_hashes(signed("PUT", PUT, {"x-amz-Checksum": CHECKSUM})) == (DIGEST.hex(),)

    def test_a_hexadecimal_hash_must_be_the_checksums(self) -> None:
        headers = {"x-amz-Checksum": CHECKSUM, "X-Amz-Content-SHA256": DIGEST.hex()}
        assert block_hashes(signed("PUT", PUT, headers)) == (DIGEST.hex(),)
        with pytest.raises(SignatureMismatchError):
            block_hashes(signed("PUT", PUT, headers | {"X-Amz-Content-SHA256": EMPTY_HASH}))

    @pytest.mark.parametrize("checksum", [None, "", "abcd", CHECKSUM[:-1]])
    @pytest.mark.parametrize("stated", [None, DIGEST.hex()])
    def test_a_signed_payload_needs_a_checksum_to_compare(self, checksum: str | None, stated: str | None) -> None:
        made = signed("PUT", PUT)
        made.headers.update({} if checksum is None else {"x-amz-checksum": checksum})
        made.headers.update({} if stated is None else {"x-amz-content-sha256": stated})
        with pytest.raises(SignatureMismatchError):
            block_hashes(made)

    @pytest.mark.parametrize("stated", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "00", DIGEST.hex().upper()])
    def test_other_forms_of_hash_are_refused(self, stated: str) -> None:
        made = signed("PUT", PUT, {"x-amz-Checksum": CHECKSUM})
        made.headers["x-amz-content-sha256"] = stated
        with pytest.raises(MalformedSignatureError):
            block_hashes(made)


class TestPresignedBlock:
    def test_the_empty_hash_and_an_unsigned_payload_are_both_possible(self) -> None:
        assert set(block_hashes(presigned("PUT", PUT, {"x-amz-checksum": CHECKSUM}))) == {EMPTY_HASH, UNSIGNED_PAYLOAD}

    @pytest.mark.parametrize("stated", [EMPTY_HASH, UNSIGNED_PAYLOAD])
    def test_a_stated_hash_is_the_only_one(self, stated: str) -> None:
        headers = {"x-amz-checksum": CHECKSUM, "X-Amz-Content-SHA256": stated}
        assert block_hashes(presigned("PUT", PUT, headers)) == (stated,)

    def test_a_hash_may_be_stated_in_the_query(self) -> None:
        made = presigned("PUT", PUT + "?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", {"x-amz-checksum": CHECKSUM})
        assert block_hashes(made) == (UNSIGNED_PAYLOAD,)

    def test_another_hash_is_refused(self) -> None:
        with pytest.raises(SignatureMismatchError):
            block_hashes(presigned("PUT", PUT, {"x-amz-checksum": CHECKSUM, "X-Amz-Content-SHA256": DIGEST.hex()}))

    def test_the_checksum_must_be_signed(self) -> None:
        made = presigned("PUT", PUT)
        made.headers["x-amz-checksum"] = CHECKSUM
        with pytest.raises(SignatureMismatchError, match="x-amz-checksum"):
            block_hashes(made)


class TestBody:
    @pytest.mark.parametrize("body", [b"", b"{}"])
    def test_the_hash_is_that_of_the_bytes(self, body: bytes) -> None:
        expected = hashlib.sha256(body).hexdigest()
        assert body_hashes(signed("POST", "/"), body) == (expected,)
        assert body_hashes(signed("POST", "/", {"X-Amz-Content-SHA256": expected}), body) == (expected,)

    def test_a_stated_hash_must_be_that_of_the_bytes(self) -> None:
        with pytest.raises(SignatureMismatchError):
            body_hashes(signed("POST", "/", {"X-Amz-Content-SHA256": EMPTY_HASH}), b"{}")

    def test_a_hash_in_the_query_counts_for_presigned_requests_alone(self) -> None:
        assert body_hashes(signed("GET", "/?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"), b"") == (EMPTY_HASH,)

    def test_only_a_put_may_be_unsigned(self) -> None:
        with pytest.raises(SignatureMismatchError, match="unsigned payload"):
            body_hashes(signed("POST", "/", {"X-Amz-Content-SHA256": UNSIGNED_PAYLOAD}), b"")
