"""Tags and filters as they are typed."""

from __future__ import annotations

import argparse

import pytest

from snapstone.cli.snapshot_arguments import filter_values, tag, tag_key


def test_a_tag_ends_its_key_at_the_first_equals_sign() -> None:
    assert tag("Name=web=1") == ("Name", "web=1")
    assert tag("empty=") == ("empty", "")


@pytest.mark.parametrize("text", ["Name", "=value", "aws:owner=x", "AWS:owner=x", "k" * 129 + "=", "k=" + "v" * 257])
def test_what_ec2_takes_for_no_tag_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        tag(text)


def test_a_reserved_key_may_be_taken_off_in_any_case_but_lower() -> None:
    assert tag_key("AWS:owner") == "AWS:owner"
    for key in ("aws:owner", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            tag_key(key)


def test_keys_and_values_may_be_as_long_as_ec2_takes_them() -> None:
    assert tag("k" * 128 + "=" + "v" * 256) == ("k" * 128, "v" * 256)
    assert tag_key("k" * 128) == "k" * 128


def test_a_filter_has_a_name_and_values() -> None:
    assert filter_values("status=completed,pending") == ("status", ("completed", "pending"))
    assert filter_values("tag:a=b=c") == ("tag:a", ("b=c",))
    for text in ("status", "=x"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a filter"):
            filter_values(text)
