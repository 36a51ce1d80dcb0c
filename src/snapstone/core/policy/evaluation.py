"""May this principal do this? All policies that have a say, weighed as AWS documents it.

Source: docs/aws-behaviour/iam-and-sts.md, POL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from snapstone.core.ids import AccountId
from snapstone.core.policy.document import Document, PolicyRequest
from snapstone.core.policy.pattern import Arn, split_arn
from snapstone.core.policy.principals import Principal, PrincipalKind, PrincipalMatch


@dataclass(frozen=True, slots=True)
class Question:
    """One principal, one action, one resource."""

    principal: Principal
    action: str
    """`ebs:PutSnapshotBlock`."""
    resource: str
    """An ARN, or `*` for actions that know no resource. A snapshot's may have its account's part empty, as AWS writes
    it: statements that name `resource_account` there match it too."""
    keys: Mapping[str, str | tuple[str, ...]]
    """Condition keys by their names in lower case, the global ones included."""
    resource_account: AccountId | None
    """The resource's owner; None if it has none."""


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies that have a say in one question."""

    identity: tuple[Document, ...] = ()
    boundary: Document | None = None
    session: tuple[Document, ...] | None = None
    """The session's policies; None if it has none."""
    resource: Document | None = None
    resource_must_allow: bool = False
    """KMS keys and role trust: unless the resource's own policy allows it, to the principal or by leaving it to the
    principal's account, nothing is allowed, to root neither."""


class Decision(Enum):
    """The answer; an explicit denial is distinguished from the lack of an allowance."""

    ALLOWED = "allowed"
    EXPLICITLY_DENIED = "explicitly denied"
    IMPLICITLY_DENIED = "implicitly denied"


def decide(question: Question, policies: Policies) -> Decision:
    """Weigh all policies.

    A Deny anywhere wins. Across accounts the resource's policy, in whatever way it names the principal, and the
    principal's own policies must both allow. In one account either is enough, with these differences in what the
    resource's policy names, which are AWS's:

    - the account or its root: the choice is left to identity policies, boundary and session policies;
    - everyone, or the role of a session: no identity policy is needed, boundary and session policies must allow;
    - the user itself: neither an identity policy nor the boundary must allow; if the user acts through a session
      that was narrowed, the session's policies must;
    - the session of a role itself: no other policy must allow.

    Root needs no identity policy.
    """
    asked = _asked(question)
    if any(statement.denies(asked) for document in _all(policies) for statement in document.denying):
        return Decision.EXPLICITLY_DENIED
    return Decision.ALLOWED if _is_allowed(question, policies, asked) else Decision.IMPLICITLY_DENIED


def _is_allowed(question: Question, policies: Policies, asked: PolicyRequest) -> bool:
    principal = question.principal
    reach = _reach(policies.resource, asked)
    if reach is PrincipalMatch.NONE and policies.resource_must_allow:
        return False
    if question.resource_account not in (None, principal.account_id):
        return reach > PrincipalMatch.NONE and _own_policies_allow(policies, asked)
    if reach is PrincipalMatch.ITSELF:
        return principal.kind is PrincipalKind.ROLE or _session_allows(policies, asked)
    if reach is PrincipalMatch.ROLE:
        return _limits_allow(policies, asked)
    return _own_policies_allow(policies, asked)


def _own_policies_allow(policies: Policies, asked: PolicyRequest) -> bool:
    by_identity = asked.principal.kind is PrincipalKind.ROOT or _any_allows(policies.identity, asked)
    return by_identity and _limits_allow(policies, asked)


def _limits_allow(policies: Policies, asked: PolicyRequest) -> bool:
    bounded = policies.boundary is None or _any_allows((policies.boundary,), asked)
    return bounded and _session_allows(policies, asked)


def _session_allows(policies: Policies, asked: PolicyRequest) -> bool:
    return policies.session is None or _any_allows(policies.session, asked)


def _any_allows(documents: Iterable[Document], asked: PolicyRequest) -> bool:
    return any(statement.applies(asked) for document in documents for statement in document.allowing)


def _reach(document: Document | None, asked: PolicyRequest) -> PrincipalMatch:
    allowing = () if document is None else document.allowing
    return max((statement.reach(asked) for statement in allowing), default=PrincipalMatch.NONE)


def _all(policies: Policies) -> Iterator[Document]:
    yield from policies.identity
    yield from policies.session or ()
    if policies.boundary is not None:
        yield policies.boundary
    if policies.resource is not None:
        yield policies.resource


def _asked(question: Question) -> PolicyRequest:
    return PolicyRequest(question.principal, question.action.lower(), _names(question), question.keys)


def _names(question: Question) -> tuple[Arn, ...]:
    """The resource's ARN, and for EC2's with an empty account's part the form with the account."""
    arn = split_arn(question.resource)
    if arn is None:
        return ()
    partition, service, region, account, rest = arn[1:]
    if service != "ec2" or account or question.resource_account is None:
        return (arn,)
    return (arn, ("arn", partition, service, region, question.resource_account, rest))
