"""What is refused as a policy, and with which words."""

from __future__ import annotations

import json

import pytest

from snapstone.core.errors import MalformedPolicyError
from snapstone.core.policy.document import DEPTH_LIMIT, DOCUMENT_LIMIT, STATEMENT_LIMIT, PolicyKind, read_policy
from snapstone.core.policy.evaluation import Policies, decide
from snapstone.core.policy.managed import MANAGED_POLICIES
from tests.unit.core.policy.case import ALICE_ARN, ALLOWED, DENIED, NOTHING, Json, allow, ask, deny


def text(*statements: Json, **members: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements} | members)


def with_condition(condition: object) -> str:
    return text(allow(Condition=condition))


REFUSED = {
    "": "Syntax errors",
    "{": "Syntax errors",
    "[]": "not an object",
    "null": "not an object",
    '{"Statement": NaN}': "NaN",
    '{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": []}': '"Version" appears twice',
    '{"Statement": [{"Effect": "Allow", "Effect": "Deny"}]}': '"Effect" appears twice',
    "{}": "no Statement",
    text(): "1 to 500 statements",
    text(allow(), Version="2012-10-18"): 'Version: "2012-10-18"',
    text(allow(), Version=2012): "Version: 2012",
    text(allow(), Version=["2012-10-17"]): "Version",
    text(allow(), Id=7): "Id: 7 is not a string",
    text(allow(), Comment="x"): '"Comment" is not an element of a policy',
    json.dumps({"Statement": "x"}): 'Statement 1: "x" is not an object',
    text(allow(), allow(Comment="x")): 'Statement 2: "Comment" is not an element of a statement',
    text({**allow(), "effect": "Allow"}): '"effect" is not an element',
    text({"Action": "*", "Resource": "*"}): "Statement 1, Effect: null",
    text(allow(Effect="allow")): 'Effect: "allow" is neither',
    text(allow(Effect=["Allow"])): "is neither",
    text(allow(Sid=1)): "Sid: 1 is not a string",
    text(allow(Sid="a b")): 'Sid: "a b"',
    text(allow(Sid="a"), deny(Sid="a")): "Statement 2, Sid",
    text(allow(None)): "one of Action and NotAction, not 0",
    text(allow(NotAction="ebs:*")): "one of Action and NotAction, not 2",
    text(allow([])): "Action: [] is not a string",
    text(allow(7)): "Action: 7 is not a string",
    text(allow(["ebs:*", None])): "Action: null is not a string",
    text(allow("GetSnapshotBlock")): 'Action: "GetSnapshotBlock"',
    text(allow("")): 'Action: ""',
    text(allow("ebs:${aws:username}")): "is not an action",
    text(allow("ebs:Get Block")): "is not an action",
    text(allow("e*:Get")): "is not an action",
    text(allow(resource=None)): "one of Resource and NotResource, not 0",
    text(allow(NotResource="*")): "one of Resource and NotResource, not 2",
    text(allow(resource=[])): "Resource: [] is not a string",
    text(allow(resource={})): "Resource: {} is not a string",
    text(allow(resource="snap-1")): 'Resource: "snap-1" is not an ARN',
    text(allow(resource="arn:aws:ec2")): "is not an ARN",
    text(allow(resource="arn:aws:ec2:*::snapshot/${aws:username")): "is not a variable",
    text(allow(resource="arn:aws:ec2:*::snapshot/${name}")): "is not a variable",
    text(allow(resource="arn:aws:ec2:*::snapshot/${}")): "is not a variable",
    text(allow(resource="arn:aws:ec2:*::snapshot/${aws:username, all}")): "is not a variable",
    text(allow(resource="arn:aws:ec2:*::snapshot/${aws:" + "x" * 600 + "}")): "is not a variable",
    text(allow(resource="arn:aws:ec2:*::snapshot/" + "${a:b}" * 65)): "more than 64 variables",
    text(allow("ebs:" + "x" * 129)): "is not an action",
    '"\\' * 60_000: "Syntax errors",
    text(allow(Principal="*")): "Principal is not allowed",
    text(deny(NotPrincipal="*")): "NotPrincipal is not allowed",
    with_condition([]): "Condition: [] is not an object",
    with_condition({"StringEquals": "x"}): "is not an object",
    with_condition({"StringMatches": {"a:b": "c"}}): 'Condition: "StringMatches" is not an operator',
    with_condition({"stringequals": {"a:b": "c"}}): "is not an operator",
    with_condition({"ForSomeValues:StringEquals": {"a:b": "c"}}): "is not an operator",
    with_condition({"NullIfExists": {"a:b": "true"}}): "is not an operator",
    with_condition({"ForAnyValue:Null": {"a:b": "true"}}): "is not an operator",
    with_condition({":StringEquals": {"a:b": "c"}}): "is not an operator",
    with_condition({"StringEquals": {"username": "c"}}): "is not a condition key",
    with_condition({"StringEquals": {"a:b": None}}): "null is not a string",
    with_condition({"StringEquals": {"a:b": []}}): "[] is not a string",
    with_condition({"StringEquals": {"a:b": [["c"]]}}): "is not a string",
    with_condition({"StringLike": {"a:b": "${"}}): "is not a variable",
    with_condition({"NumericEquals": {"a:b": "many"}}): "'many' is not a number",
    with_condition({"NumericEquals": {"a:b": "9" * 65}}): "is not a number",
    with_condition({"NumericEquals": {"a:b": "${aws:username}"}}): "is not a number",
    with_condition({"DateEquals": {"a:b": "yesterday"}}): "is not a date",
    with_condition({"DateEquals": {"a:b": "2026-02-30"}}): "is not a date",
    with_condition({"Bool": {"a:b": "yes"}}): "'yes' is not true or false",
    with_condition({"Null": {"a:b": "yes"}}): "true or false",
    with_condition({"BinaryEquals": {"a:b": "*"}}): "is not base64",
    with_condition({"IpAddress": {"a:b": "10.0.0.0/33"}}): "IP address",
    with_condition({"IpAddress": {"a:b": "10.0.0.0/255.0.0.0"}}): "IP address",
    with_condition({"IpAddress": {"a:b": "here"}}): "IP address",
    with_condition({"ArnLike": {"a:b": "snap-1"}}): "is not an ARN",
    with_condition({"ArnLike": {"a:b": "arn:aws:ec2:*"}}): "is not an ARN of six parts",
    text(*[allow()] * (STATEMENT_LIMIT + 1)): "this one has 501",
    "[" * (DEPTH_LIMIT + 1): "deep",
    '{"a":' * 100_000: "at most",
    " " * DOCUMENT_LIMIT + "{}": "characters",
}

REFUSED_WITH_PRINCIPALS = {
    text(allow()): "one of Principal and NotPrincipal, not 0",
    text(deny(Principal="*", NotPrincipal="*")): "one of Principal and NotPrincipal, not 2",
    text(allow(NotPrincipal={"AWS": ALICE_ARN})): "only allowed with Deny",
    text(allow(Principal=ALICE_ARN)): "is not an object",
    text(allow(Principal={})): "names no principal",
    text(allow(Principal={"AWS": []})): "is not a string",
    text(allow(Principal={"AWS": 111122223333})): "is not a string",
    text(allow(Principal={"AWS": "alice"})): '"alice" is not an account',
    text(allow(Principal={"AWS": "arn:aws:iam::111122223333:user/*"})): "is not an account",
    text(allow(Principal={"AWS": "arn:aws:iam::111122223333:user/al?ce"})): "is not an account",
    text(allow(Principal={"AWS": "arn:aws:iam::1111:root"})): "is not an account",
    text(allow(Principal={"Service": "*"})): "is not an account",
    text(allow(Principal={"Federated": "example.com"})): "is not an account",
    text(allow(Principal="*", resource=None)): "one of Resource and NotResource, not 0",
}


@pytest.mark.parametrize("document", REFUSED, ids=lambda document: str(document)[:60])
def test_what_is_no_identity_policy_is_refused_with_its_place(document: str) -> None:
    with pytest.raises(MalformedPolicyError) as refusal:
        read_policy(document)
    assert REFUSED[document] in refusal.value.message


@pytest.mark.parametrize("document", REFUSED_WITH_PRINCIPALS, ids=lambda document: str(document)[:90])
def test_what_is_no_resource_policy_is_refused_with_its_place(document: str) -> None:
    with pytest.raises(MalformedPolicyError) as refusal:
        read_policy(document, PolicyKind.RESOURCE)
    assert REFUSED_WITH_PRINCIPALS[document] in refusal.value.message


@pytest.mark.parametrize("element", ["Resource", "NotResource"])
def test_a_trust_policy_has_no_resource(element: str) -> None:
    statement = {**allow("sts:AssumeRole", None, Principal="*"), element: "*"}
    with pytest.raises(MalformedPolicyError, match=f"{element} is not allowed"):
        read_policy(text(statement), PolicyKind.TRUST)


def test_a_trust_policy_lets_whom_it_names_assume_the_role() -> None:
    trust = read_policy(text(allow("sts:AssumeRole", None, Principal={"AWS": ALICE_ARN})), PolicyKind.TRUST)
    policies = Policies(resource=trust, resource_must_allow=True)
    role = "arn:aws:iam::111122223333:role/backup"
    assert decide(ask("sts:AssumeRole", role), policies) is ALLOWED
    assert decide(ask("sts:TagSession", role), policies) is NOTHING


def test_one_statement_may_stand_without_a_list() -> None:
    document = read_policy(json.dumps({"Statement": allow()}))
    assert decide(ask(), Policies(identity=(document,))) is ALLOWED


def test_a_key_policy_has_sids_with_blanks_and_an_id() -> None:
    written = text(allow(Sid="Enable IAM User Permissions", Principal="*"), Id="key-default-1")
    assert len(read_policy(written, PolicyKind.RESOURCE).allowing) == 1


def test_several_statements_may_have_an_empty_sid() -> None:
    assert len(read_policy(text(allow(Sid=""), allow(Sid=""))).allowing) == 2


def test_as_many_statements_as_the_limit_are_taken() -> None:
    assert len(read_policy(text(*[deny()] * STATEMENT_LIMIT)).denying) == STATEMENT_LIMIT


def test_as_many_characters_as_the_limit_are_taken() -> None:
    written = text(allow())
    assert len(read_policy(written.rjust(DOCUMENT_LIMIT)).allowing) == 1


def test_brackets_inside_texts_nest_nothing() -> None:
    written = with_condition({"StringEquals": {"a:b": '\\"[[[[[[[[[[[[[[[[[[[[[["'}})
    assert len(read_policy(written).allowing) == 1


@pytest.mark.parametrize("operator", ["StringMatches", "ForSomeValues:StringEquals", "NullIfExists"])
def test_an_unknown_operator_that_is_stored_never_allows_and_always_denies(operator: str) -> None:
    condition = {operator: {"aws:username": "x"}}
    allowing = read_policy(text(allow(Condition=condition)), stored=True)
    denying = read_policy(text(allow(), deny(Condition=condition)), stored=True)
    assert decide(ask(aws__username="x"), Policies(identity=(allowing,))) is NOTHING
    assert decide(ask(aws__username="y"), Policies(identity=(denying,))) is DENIED


def test_built_in_policies_are_policies_by_the_arns_of_aws() -> None:
    names = {arn.removeprefix("arn:aws:iam::aws:policy/") for arn in MANAGED_POLICIES}
    assert names >= {"SnapstoneFullAccess", "SnapstoneReadOnly", "SnapstoneBackupWriter", "SnapstoneBackupReader"}
    assert all(read_policy(document).allowing for document in MANAGED_POLICIES.values())


@pytest.mark.parametrize(
    ("name", "action", "may"),
    [
        ("SnapstoneBackupWriter", "ebs:PutSnapshotBlock", True),
        ("SnapstoneBackupWriter", "ebs:GetSnapshotBlock", False),
        ("SnapstoneBackupWriter", "ec2:DeleteSnapshot", False),
        ("SnapstoneBackupReader", "ebs:ListChangedBlocks", True),
        ("SnapstoneBackupReader", "ebs:StartSnapshot", False),
        ("SnapstoneReadOnly", "ec2:DescribeSnapshots", True),
        ("SnapstoneReadOnly", "kms:Decrypt", False),
        ("SnapstoneFullAccess", "ec2:DeleteSnapshot", True),
        ("SnapstoneFullAccess", "iam:CreateUser", False),
        ("AdministratorAccess", "iam:CreateUser", True),
    ],
)
def test_a_built_in_policy_allows_what_its_name_says(name: str, action: str, may: bool) -> None:
    document = read_policy(MANAGED_POLICIES[f"arn:aws:iam::aws:policy/{name}"])
    assert (decide(ask(action), Policies(identity=(document,))) is ALLOWED) is may
