"""Canonical forms, against AWS's published rules."""

from __future__ import annotations

import pytest

from snapstone.core.sigv4 import (
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_request,
    query_pairs,
    split_target,
)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/snapshots?a=b?c", "/snapshots", "a=b?c"),
        ("/a/./b/../c", "/a/c", ""),
        ("//example//", "/example/", ""),
        ("/../..", "/", ""),
        ("", "/", ""),
        ("/a%2F../b", "/a%2F../b", ""),
        ("/a/.hidden/b", "/a/.hidden/b", ""),
    ],
)
def test_a_target_is_split_at_the_first_question_mark_and_its_path_normalised(
    target: str, path: str, query: str
) -> None:
    assert split_target(target) == (path, query)


def test_an_encoded_path_is_encoded_once_more() -> None:
    assert canonical_path("/snapshots/Snap%2FX~._-:/b c") == "/snapshots/Snap%252FX~._-%3A/b%20c"


def test_a_plus_in_a_query_is_a_plus_sign() -> None:
    assert query_pairs("t=a+b%2Bc%20d&&flag&e=") == [(b"t", b"a+b+c d"), (b"flag", b""), (b"e", b"")]


def test_a_query_is_sorted_by_encoded_name_and_value_without_the_signature() -> None:
    pairs = query_pairs("b=2&a=z&a=%2A&X-Amz-Signature=s&A=%7E+")
    assert canonical_query(pairs) == "A=~%2B&a=%2A&a=z&b=2"


def test_header_values_lose_repeated_spaces() -> None:
    assert canonical_headers({"host": "h", "x": "a  b   c"}, ["host", "x"]) == "host:h\nx:a b c\n"


def test_an_absent_signed_header_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        canonical_headers({"host": "h"}, ["host", "x-amz-date"])


def test_header_bytes_beyond_ascii_are_signed_as_received() -> None:
    assert canonical_request("GET", "/", "", "x:\xe9\n", "x", "h") == b"GET\n/\n\nx:\xe9\n\nx\nh"
