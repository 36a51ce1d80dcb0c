"""Sizes, digests and checksums, held against values that AWS accepted.

Source: docs/aws-behaviour/ebs-direct.md, EBS-PUT, EBS-COMPLETE.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from snapstone.core.blocks import (
    BLOCK_SIZE,
    MAX_BLOCK_COUNT,
    ZERO_ADDRESS,
    ZERO_DIGEST,
    checksum_from_digest,
    digest_from_checksum,
    digest_of,
    linear_aggregate,
)

ZERO_CHECKSUM = "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE="


def block(name: str) -> bytes:
    line = f"stackd-ebs-synthetic-{name}\n".encode()
    return (line * (BLOCK_SIZE // len(line) + 1))[:BLOCK_SIZE]


BLOCKS = {"a": block("a"), "b": block("b"), "c": block("c"), "z": bytes(524_288)}

CHECKSUMS = {
    "a": "Qib0wLZSCPxxAsnoZ1mqGTwYYUfxBvjcHbuEUOOwNdw=",
    "b": "7MZ7lYcAJrKN1JmUX5CDaVV97bthlt/bgN4AmbQDHTA=",
    "c": "4b2+EkHNyDn49FNHyinzwIPoVBW30eVGlR/lZ/NPTvE=",
    "z": ZERO_CHECKSUM,
}


def test_a_block_has_524288_bytes_and_64_tib_have_two_to_the_27() -> None:
    assert BLOCK_SIZE == 524_288
    assert MAX_BLOCK_COUNT == 2**27


@pytest.mark.parametrize("name", BLOCKS)
def test_digests_are_those_that_aws_computed(name: str) -> None:
    assert checksum_from_digest(digest_of(BLOCKS[name])) == CHECKSUMS[name]
    assert digest_from_checksum(CHECKSUMS[name]) == digest_of(BLOCKS[name])


def test_a_digest_is_the_same_of_bytes_and_of_a_view() -> None:
    assert digest_of(memoryview(bytearray(BLOCKS["a"]))) == digest_of(BLOCKS["a"])


@pytest.mark.parametrize(
    ("written", "aggregate"),
    [
        ("bazc", "Pq34jf4xh07iqiQpo/morRl/xL06mqy1ERimH+Hypi8="),
        ("zab", "hf4A3LvWy4effbPmcB9iS2uEagRPJ7DdLQQXLJYnpsg="),
        ("c", "3QuxqZ8HJaS/3NGrkGu/SIvWC/T/bzQSE0bYb+gLjwU="),
        ("a", "hm74cqkUPpcI9ua01PNSVN2PLTzQAAMPsYCbeHfLIX4="),
        ("", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ],
)
def test_the_linear_aggregate_is_the_one_that_aws_accepted(written: str, aggregate: str) -> None:
    """Blocks in ascending order of index."""
    assert checksum_from_digest(linear_aggregate(digest_of(BLOCKS[name]) for name in written)) == aggregate


def test_the_aggregate_that_aws_refused_is_not_ours() -> None:
    digests = [digest_of(BLOCKS["a"]), digest_of(BLOCKS["b"])]
    assert checksum_from_digest(linear_aggregate(digests)) != "xKsCRmgUxD/XwebcOgEG4QQ7TRElxCfHnSnsGQDz4pU="


def test_the_order_of_blocks_matters_to_the_aggregate() -> None:
    a, b = digest_of(BLOCKS["a"]), digest_of(BLOCKS["b"])
    assert linear_aggregate([a, b]) != linear_aggregate([b, a])


def test_the_zero_block_is_known_by_the_checksum_that_clients_know() -> None:
    assert b64encode(ZERO_DIGEST).decode() == ZERO_CHECKSUM
    assert digest_of(bytes(BLOCK_SIZE)) == ZERO_DIGEST
    assert bytes(ZERO_ADDRESS) == ZERO_DIGEST


@pytest.mark.parametrize(
    "checksum",
    [
        "",
        "=",
        "AAAA",
        ZERO_CHECKSUM[:-1],
        ZERO_CHECKSUM + "=",
        ZERO_CHECKSUM + "AAAA",
        ZERO_CHECKSUM.replace("+", "-").replace("/", "_"),
        ZERO_CHECKSUM[:-2] + "F=",
        " " + ZERO_CHECKSUM,
        ZERO_CHECKSUM[:10] + "\n" + ZERO_CHECKSUM[10:],
        b64encode(bytes(31)).decode(),
        b64encode(bytes(33)).decode(),
        "é" * 44,
    ],
)
def test_a_text_that_is_not_the_one_spelling_of_32_bytes_names_no_digest(checksum: str) -> None:
    assert digest_from_checksum(checksum) is None


def test_two_spellings_of_the_same_bytes_are_not_both_taken() -> None:
    spelled_otherwise = ZERO_CHECKSUM[:-2] + "F="
    assert b64decode(spelled_otherwise) == ZERO_DIGEST
    assert digest_from_checksum(spelled_otherwise) is None
    assert digest_from_checksum(ZERO_CHECKSUM) == ZERO_DIGEST
