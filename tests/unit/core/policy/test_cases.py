"""Every row of the tables: the decision is the one that IAM's rules give."""

from __future__ import annotations

import pytest

from snapstone.core.policy.evaluation import decide
from tests.unit.core.policy.case import Case
from tests.unit.core.policy.condition_cases import CONDITION_CASES
from tests.unit.core.policy.decision_cases import DECISION_CASES

CASES = (*CONDITION_CASES, *DECISION_CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.claim for case in CASES])
def test_the_decision_is_what_the_rules_give(case: Case) -> None:
    assert decide(case.question, case.policies) is case.expected


def test_no_claim_stands_twice() -> None:
    assert len({case.claim for case in CASES}) == len(CASES)
