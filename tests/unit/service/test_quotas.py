"""Files of quotas: what they may hold, and what they change."""

from __future__ import annotations

import pytest

from snapstone.core.token_bucket import Rate
from snapstone.service.quotas import AWS_QUOTAS, parse_quotas


def test_an_empty_file_is_the_quotas_of_aws() -> None:
    assert parse_quotas("{}") == AWS_QUOTAS


def test_aws_lets_ten_snapshots_start_in_a_second() -> None:
    assert AWS_QUOTAS.of_account["ebs:StartSnapshot"] == Rate(10, 10)


def test_an_override_replaces_one_rate_and_null_takes_one_away() -> None:
    quotas = parse_quotas(
        '{"account": {"ebs:StartSnapshot": {"rate": 2.5}, "kms:Decrypt": {"rate": 7, "burst": 9},'
        ' "ebs:ListChangedBlocks": null}, "snapshot": {"ebs:PutSnapshotBlock": {"rate": 3}}}'
    )
    assert quotas.of_account["ebs:StartSnapshot"] == Rate(2.5, 3)
    assert quotas.of_account["kms:Decrypt"] == Rate(7, 9)
    assert "ebs:ListChangedBlocks" not in quotas.of_account
    assert quotas.of_account["ebs:CompleteSnapshot"] == Rate(10, 10)
    assert quotas.of_snapshot["ebs:PutSnapshotBlock"] == Rate(3, 3)


def test_the_number_of_pending_snapshots_is_awss_or_another_or_any() -> None:
    assert AWS_QUOTAS.pending_snapshots == 100
    assert parse_quotas('{"pending_snapshots": 7}').pending_snapshots == 7
    assert parse_quotas('{"pending_snapshots": null}').pending_snapshots is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"pending_snapshots": -1}',
        '{"pending_snapshots": true}',
        '{"pending_snapshots": "7"}',
        '{"accounts": {}}',
        '{"account": []}',
        '{"account": {"StartSnapshot": {"rate": 1}}}',
        '{"account": {"ebs:StartSnapshot": 1}}',
        '{"account": {"ebs:StartSnapshot": {}}}',
        '{"account": {"ebs:StartSnapshot": {"rate": 0}}}',
        '{"account": {"ebs:StartSnapshot": {"rate": true}}}',
        '{"account": {"ebs:StartSnapshot": {"rate": NaN}}}',
        '{"account": {"ebs:StartSnapshot": {"rate": 1, "burst": 0}}}',
        '{"account": {"ebs:StartSnapshot": {"rate": 1, "per": 2}}}',
    ],
)
def test_what_is_no_file_of_quotas_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_quotas(text)
