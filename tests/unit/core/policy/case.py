"""How the tables write a case down: a claim, what is asked, the policies, and the decision that the rules give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from snapstone.core.ids import AccountId
from snapstone.core.policy.document import Document, PolicyKind, read_policy
from snapstone.core.policy.evaluation import Decision, Policies, Question
from snapstone.core.policy.principals import Principal, PrincipalKind, root_principal

ALLOWED: Final = Decision.ALLOWED
DENIED: Final = Decision.EXPLICITLY_DENIED
NOTHING: Final = Decision.IMPLICITLY_DENIED

OURS: Final = AccountId("111122223333")
THEIRS: Final = AccountId("444455556666")

ROOT_ARN: Final = f"arn:aws:iam::{OURS}:root"
ALICE_ARN: Final = f"arn:aws:iam::{OURS}:user/alice"
BOB_ARN: Final = f"arn:aws:iam::{OURS}:user/staff/bob"
ROLE_ARN: Final = f"arn:aws:iam::{OURS}:role/backup"
SESSION_ARN: Final = f"arn:aws:sts::{OURS}:assumed-role/backup/nightly"

ROOT: Final = root_principal(OURS)
ALICE: Final = Principal(PrincipalKind.USER, OURS, ALICE_ARN, "AIDAALICE", "alice")
BOB: Final = Principal(PrincipalKind.USER, OURS, BOB_ARN, "AIDABOB", "bob")
SESSION: Final = Principal(
    PrincipalKind.ROLE, OURS, SESSION_ARN, "AROABACKUP:nightly", "backup", role_arn=ROLE_ARN, session_policies=None
)

SNAPSHOT: Final = "arn:aws:ec2:us-east-1::snapshot/snap-1"
KEY: Final = f"arn:aws:kms:us-east-1:{OURS}:key/k"

Json = Mapping[str, object]


@dataclass(frozen=True)
class Case:
    """One row."""

    claim: str
    expected: Decision
    question: Question
    policies: Policies


def statement(effect: str, action: object = "*", resource: object = "*", **elements: object) -> Json:
    """A statement; a None leaves an element out."""
    every = {"Effect": effect, "Action": action, "Resource": resource, **elements}
    return {name: value for name, value in every.items() if value is not None}


def allow(action: object = "*", resource: object = "*", **elements: object) -> Json:
    return statement("Allow", action, resource, **elements)


def deny(action: object = "*", resource: object = "*", **elements: object) -> Json:
    return statement("Deny", action, resource, **elements)


def policy(*statements: Json, kind: PolicyKind = PolicyKind.IDENTITY, version: str | None = "2012-10-17") -> Document:
    document: dict[str, object] = {"Statement": statements}
    return read_policy(json.dumps(document | ({"Version": version} if version else {})), kind)


def resource_policy(*statements: Json) -> Document:
    return policy(*statements, kind=PolicyKind.RESOURCE)


def ask(
    action: str = "ebs:GetSnapshotBlock",
    resource: str = SNAPSHOT,
    by: Principal = ALICE,
    of: AccountId | None = OURS,
    **keys: str | tuple[str, ...],
) -> Question:
    """Keys are written with `__` for the colon: `aws__username`."""
    return Question(by, action, resource, {name.replace("__", ":"): value for name, value in keys.items()}, of)


def condition(
    claim: str,
    block: Mapping[str, Mapping[str, object]],
    keys: Mapping[str, str | tuple[str, ...]],
    met: bool,
    version: str | None = "2012-10-17",
) -> Sequence[Case]:
    """Two cases: an Allow and a Deny under the condition, both of which apply when it is met and only then."""
    question = Question(ALICE, "ebs:GetSnapshotBlock", SNAPSHOT, keys, OURS)
    allowing = Policies(identity=(policy(allow(Condition=block), version=version),))
    denying = Policies(identity=(policy(allow(), deny(Condition=block), version=version),))
    return (
        Case(f"{claim} (Allow)", ALLOWED if met else NOTHING, question, allowing),
        Case(f"{claim} (Deny)", DENIED if met else ALLOWED, question, denying),
    )


def doubtful(
    claim: str, block: Mapping[str, Mapping[str, object]], keys: Mapping[str, str | tuple[str, ...]]
) -> Sequence[Case]:
    """Two cases: a condition that cannot be told does not allow, and denies."""
    allowing, denying = condition(claim, block, keys, met=False)
    return allowing, Case(denying.claim, DENIED, denying.question, denying.policies)


def identity(claim: str, expected: Decision, question: Question, *statements: Json) -> Case:
    """One identity policy with these statements."""
    return Case(claim, expected, question, Policies(identity=(policy(*statements),)))
