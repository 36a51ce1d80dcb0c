"""Which retention rules apply to which tags."""

from __future__ import annotations

import pytest

from snapstone.core.protection import Retention, TagMatch, retained_days

ALL = Retention(7)
PROD = Retention(30, include=(TagMatch("env", "prod"), TagMatch("keep", None)))
NOT_TEST = Retention(14, exclude=(TagMatch("env", "test"),))


@pytest.mark.parametrize(
    ("retention", "tags", "applies"),
    [
        (ALL, (), True),
        (ALL, (("env", "test"),), True),
        (PROD, (), False),
        (PROD, (("env", "prod"),), True),
        (PROD, (("env", "Prod"),), False),
        (PROD, (("ENV", "prod"),), False),
        (PROD, (("a", "b"), ("keep", "whatever")), True),
        (PROD, (("keep", ""),), True),
        (NOT_TEST, (), True),
        (NOT_TEST, (("env", "prod"),), True),
        (NOT_TEST, (("a", "b"), ("env", "test")), False),
        (Retention(1, include=(TagMatch("a", ""),)), (("a", ""),), True),
        (Retention(1, include=(TagMatch("a", ""),)), (("a", "b"),), False),
    ],
)
def test_a_rule_applies(retention: Retention, tags: tuple[tuple[str, str], ...], applies: bool) -> None:
    assert retention.applies(tags) is applies


def test_the_longest_that_applies_decides() -> None:
    assert retained_days([ALL, PROD, NOT_TEST], (("env", "prod"),)) == 30
    assert retained_days([ALL, PROD, NOT_TEST], ()) == 14
    assert retained_days([ALL, PROD, NOT_TEST], (("env", "test"),)) == 7


def test_where_none_applies_nothing_is_kept() -> None:
    assert retained_days([], (("env", "prod"),)) is None
    assert retained_days([PROD], ()) is None
