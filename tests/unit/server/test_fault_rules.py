"""Files of faults: what they may hold."""

from __future__ import annotations

import json

import pytest

from snapstone.server.fault_rules import ERRORS, Rule, parse_rules


def test_rules_are_read_as_written() -> None:
    assert parse_rules(
        '[{"operation": "ebs:Get*", "rate": 0.5, "error": "internal", "seed": 7}, {"cut_after": 0}]'
    ) == [
        Rule(operation="ebs:Get*", rate=0.5, error="internal", seed=7),
        Rule(cut_after=0),
    ]


def test_a_rule_may_name_an_error_as_aws_does() -> None:
    for name in ("RequestThrottledException/RESOURCE_LEVEL_THROTTLE", "KMSInternalException", "Unavailable"):
        assert parse_rules(json.dumps([{"error": name}])) == [Rule(error=name)]
        assert name in ERRORS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '[{"rates": 1}]',
        '[{"rate": 1.1}]',
        '[{"rate": NaN}]',
        '[{"every": 0}]',
        '[{"first": true}]',
        '[{"latency_ms": 60001}]',
        '[{"cut_after": -1}]',
        '[{"error": "unheard-of"}]',
        '[{"error": []}]',
        '[{"operation": 1}]',
        "[" + ",".join(["{}"] * 101) + "]",
    ],
)
def test_what_is_no_list_of_rules_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_rules(text)
