"""Policies of every shape: an explicit deny wins, denies never allow more, allows never less, and nothing crashes."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from snapstone.core.errors import MalformedPolicyError
from snapstone.core.ids import AccountId
from snapstone.core.policy.document import Document, PolicyKind, read_policy
from snapstone.core.policy.evaluation import Decision, Policies, Question, decide
from snapstone.core.policy.pattern import Wildcard, wildcard_pattern
from snapstone.core.policy.principals import Principal, PrincipalKind, root_principal

OURS, THEIRS = AccountId("111122223333"), AccountId("444455556666")
USER = Principal(PrincipalKind.USER, OURS, f"arn:aws:iam::{OURS}:user/al", "AIDA", "al")
ROLE = f"arn:aws:iam::{OURS}:role/r"
SESSION = Principal(PrincipalKind.ROLE, OURS, f"arn:aws:sts::{OURS}:assumed-role/r/s", "AROA:s", "r", role_arn=ROLE)
PRINCIPALS = (root_principal(OURS), USER, SESSION)

actions = st.sampled_from(["*", "ebs:*", "ebs:Get*", "ebs:GetSnapshotBlock", "ec2:*", "ebs:Put?napshotBlock"])
resources = st.sampled_from(
    ["*", "arn:aws:ec2:*::snapshot/*", f"arn:aws:ec2:*:{OURS}:snapshot/*", "arn:aws:ec2:*::snapshot/${aws:username}"]
)
names = st.sampled_from(["*", OURS, USER.arn, ROLE, SESSION.arn, f"arn:aws:iam::{THEIRS}:root"])
values = st.sampled_from(["al", "*", "5", "true", "${aws:username}", "b"])
conditions = st.dictionaries(
    st.sampled_from(
        ["StringEquals", "StringNotEquals", "StringLikeIfExists", "ForAllValues:StringEquals", "ForAnyValue:StringLike"]
    ),
    st.dictionaries(st.sampled_from(["aws:username", "aws:TagKeys", "x:y"]), values, max_size=2),
    max_size=2,
)
questions = st.builds(
    Question,
    principal=st.sampled_from(PRINCIPALS),
    action=st.sampled_from(["ebs:GetSnapshotBlock", "ebs:PutSnapshotBlock", "ec2:DeleteSnapshot"]),
    resource=st.sampled_from(["*", "arn:aws:ec2:r::snapshot/al", "arn:aws:ec2:r::snapshot/b"]),
    keys=st.fixed_dictionaries(
        {}, optional={"aws:username": values, "aws:tagkeys": st.lists(values, max_size=2).map(tuple), "x:y": values}
    ),
    resource_account=st.sampled_from([None, OURS, THEIRS]),
)


@st.composite
def documents(draw: st.DrawFn, kind: PolicyKind, effects: tuple[str, ...] = ("Allow", "Deny")) -> Document:
    def statement() -> dict[str, object]:
        found: dict[str, object] = {"Effect": draw(st.sampled_from(effects)), "Condition": draw(conditions)}
        found[draw(st.sampled_from(["Action", "NotAction"]))] = draw(st.lists(actions, min_size=1, max_size=2))
        found[draw(st.sampled_from(["Resource", "NotResource"]))] = draw(st.lists(resources, min_size=1, max_size=2))
        if kind is PolicyKind.RESOURCE:
            found["Principal"] = {"AWS": draw(st.lists(names, min_size=1, max_size=2))}
        return found

    statements = [statement() for _ in range(draw(st.integers(1, 3)))]
    return read_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}), kind)


identity_policies = documents(PolicyKind.IDENTITY)
resource_policies = documents(PolicyKind.RESOURCE)
policies = st.builds(
    Policies,
    identity=st.lists(identity_policies, max_size=2).map(tuple),
    boundary=st.none() | identity_policies,
    session=st.none() | st.lists(identity_policies, max_size=2).map(tuple),
    resource=st.none() | resource_policies,
    resource_must_allow=st.booleans(),
)
denials = documents(PolicyKind.IDENTITY, ("Deny",))
grants = documents(PolicyKind.IDENTITY, ("Allow",))

EVERYTHING_DENIED = read_policy('{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}')
EVERYTHING_DENIED_TO_ALL = read_policy(
    '{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}', PolicyKind.RESOURCE
)


def joined(first: Document | None, second: Document) -> Document:
    if first is None:
        return second
    return replace(first, allowing=first.allowing + second.allowing, denying=first.denying + second.denying)


@given(questions, policies)
def test_an_explicit_deny_wins_wherever_it_stands(question: Question, held: Policies) -> None:
    for denied in (
        replace(held, identity=(*held.identity, EVERYTHING_DENIED)),
        replace(held, boundary=joined(held.boundary, EVERYTHING_DENIED)),
        replace(held, session=(*(held.session or ()), EVERYTHING_DENIED)),
        replace(held, resource=joined(held.resource, EVERYTHING_DENIED_TO_ALL)),
    ):
        assert decide(question, denied) is Decision.EXPLICITLY_DENIED


@given(questions, policies, denials)
def test_a_deny_more_never_allows_more(question: Question, held: Policies, denial: Document) -> None:
    for narrowed in (
        replace(held, identity=(*held.identity, denial)),
        replace(held, boundary=joined(held.boundary, denial)),
    ):
        if decide(question, narrowed) is Decision.ALLOWED:
            assert decide(question, held) is Decision.ALLOWED


@given(questions, policies, documents(PolicyKind.RESOURCE, ("Deny",)))
def test_a_deny_more_for_a_resource_never_allows_more(question: Question, held: Policies, denial: Document) -> None:
    if decide(question, replace(held, resource=joined(held.resource, denial))) is Decision.ALLOWED:
        assert decide(question, held) is Decision.ALLOWED


@given(questions, policies, grants, documents(PolicyKind.RESOURCE, ("Allow",)))
def test_an_allow_more_never_allows_less(question: Question, held: Policies, grant: Document, shared: Document) -> None:
    if decide(question, held) is Decision.ALLOWED:
        assert decide(question, replace(held, identity=(*held.identity, grant))) is Decision.ALLOWED
        assert decide(question, replace(held, resource=joined(held.resource, shared))) is Decision.ALLOWED


@given(questions, policies, grants)
def test_a_boundary_or_a_session_policy_more_never_allows_more(
    question: Question, held: Policies, limit: Document
) -> None:
    open_ended = replace(held, boundary=None, session=None)
    for limited in (replace(open_ended, boundary=limit), replace(open_ended, session=(limit,))):
        if decide(question, limited) is Decision.ALLOWED:
            assert decide(question, open_ended) is Decision.ALLOWED


WORDS = (
    "Version", "Statement", "Effect", "Allow", "Action", "NotAction", "Resource", "Principal", "AWS", "Condition", "*",
    "StringEquals", "ForAllValues:ArnLikeIfExists", "NumericEquals", "IpAddress", "Null", "aws:username", "2012-10-17",
    "${", "${aws:x, 'y'}", "arn:aws:ec2:*", "DateEquals", "BinaryEquals", "Bool", "1.5", "0001-01-01T00:00:00+14:00",
)  # fmt: skip
texts = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
near_statements = st.fixed_dictionaries(
    {"Effect": st.just("Allow") | anything, "Action": actions | anything, "Resource": resources | texts | anything},
    optional={"Condition": st.dictionaries(texts, st.dictionaries(texts, anything, max_size=2), max_size=2) | anything,
              "Sid": anything, "Principal": names | anything},
)  # fmt: skip


def check_read_or_refused(text: str) -> None:
    for kind in PolicyKind:
        for stored in (False, True):
            with contextlib.suppress(MalformedPolicyError):
                document = read_policy(text, kind, stored=stored)
                assert document.allowing or document.denying


@given(anything | st.builds(lambda each: {"Version": "2012-10-17", "Statement": each}, near_statements))
def test_any_json_is_read_or_refused(found: object) -> None:
    check_read_or_refused(json.dumps(found))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    check_read_or_refused(text)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_wildcards_match_what_a_pattern_that_goes_back_matches(pattern: str, text: str) -> None:
    slow = re.compile(pattern.replace("*", ".*").replace("?", "."))
    quick = wildcard_pattern(Wildcard(each) if each in "*?" else each for each in pattern)
    assert (quick.fullmatch(text) is None) == (slow.fullmatch(text) is None)


def test_many_stars_against_a_long_text_are_soon_refused() -> None:
    pieces = [piece for _ in range(500) for piece in ("a", Wildcard.ANY)]
    assert wildcard_pattern([*pieces, "b"]).fullmatch("a" * 5_000) is None
