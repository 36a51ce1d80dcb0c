"""Worked by hand from AWS's documents on how policies are weighed (docs/aws-behaviour/iam-and-sts.md, POL): actions,
resources, principals, boundaries, sessions, accounts, key policies and root. Each row: claim, decision, question,
policies."""

from __future__ import annotations

from typing import Final

from snapstone.core.policy.evaluation import Policies
from tests.unit.core.policy.case import (
    ALICE_ARN,
    ALLOWED,
    BOB,
    BOB_ARN,
    DENIED,
    KEY,
    NOTHING,
    OURS,
    ROLE_ARN,
    ROOT,
    ROOT_ARN,
    SESSION,
    SESSION_ARN,
    SNAPSHOT,
    THEIRS,
    Case,
    Json,
    allow,
    ask,
    deny,
    identity,
    policy,
    resource_policy,
)

READ = "ebs:GetSnapshotBlock"
OF_ACCOUNT = f"arn:aws:ec2:us-east-1:{OURS}:snapshot/*"
OWN = "arn:aws:ec2:*::snapshot/${aws:username}-*"

ALLOW_ALL = policy(allow())
NO_POLICY = policy(allow("sts:*"))
DENY_ALL = policy(deny())


def named(arn: object, effect: str = "Allow") -> Json:
    statement = allow if effect == "Allow" else deny
    return statement(Principal={"AWS": arn})


_ACTIONS: Final = (
    identity("an action by its name", ALLOWED, ask(READ), allow(READ)),
    identity("another action", NOTHING, ask(READ), allow("ebs:PutSnapshotBlock")),
    identity("an action of another service", NOTHING, ask(READ), allow("ec2:GetSnapshotBlock")),
    identity("an action in any case of the policy's", ALLOWED, ask(READ), allow("EBS:getsnapshotBLOCK")),
    identity("an action in any case of the question's", ALLOWED, ask("EBS:GETSNAPSHOTBLOCK"), allow(READ)),
    identity("all actions", ALLOWED, ask(READ), allow("*")),
    identity("all actions of a service", ALLOWED, ask(READ), allow("ebs:*")),
    identity("all actions of all services", ALLOWED, ask(READ), allow("*:*")),
    identity("an action by how it begins", ALLOWED, ask(READ), allow("ebs:Get*")),
    identity("an action by how it ends", ALLOWED, ask(READ), allow("ebs:*Block")),
    identity("an action by its middle, in any case", ALLOWED, ask(READ), allow("ebs:*SNAPSHOT*")),
    identity("an action with one open character", ALLOWED, ask(READ), allow("ebs:GetSnapshotBloc?")),
    identity("one open character is not two", NOTHING, ask(READ), allow("ebs:GetSnapshotBlo?")),
    identity("an action that goes on", NOTHING, ask("ebs:GetSnapshotBlocks"), allow(READ)),
    identity("one action of a list", ALLOWED, ask(READ), allow(["ebs:PutSnapshotBlock", READ])),
    identity("NotAction: the action is listed", NOTHING, ask(READ), allow(None, NotAction=READ)),
    identity("NotAction: the action is not listed", ALLOWED, ask(READ), allow(None, NotAction="ebs:Put*")),
    identity("NotAction: the action is one of two", NOTHING, ask(READ), allow(None, NotAction=["ec2:*", "EBS:get*"])),
    identity("NotAction with Deny: not listed", DENIED, ask(READ), allow(), deny(None, NotAction="ec2:*")),
    identity("NotAction with Deny: listed", ALLOWED, ask(READ), allow(), deny(None, NotAction="ebs:*")),
)

_RESOURCES: Final = (
    identity("a resource by its ARN", ALLOWED, ask(READ), allow(READ, SNAPSHOT)),
    identity("another resource", NOTHING, ask(READ), allow(READ, SNAPSHOT + "2")),
    identity("all snapshots of all regions", ALLOWED, ask(READ), allow(READ, "arn:aws:ec2:*::snapshot/*")),
    identity("all snapshots of another region", NOTHING, ask(READ), allow(READ, "arn:aws:ec2:eu-west-1::snapshot/*")),
    identity("a resource's case counts", NOTHING, ask(READ), allow(READ, "arn:aws:ec2:*::Snapshot/*")),
    identity("one open character in a resource", ALLOWED, ask(READ), allow(READ, "arn:aws:ec2:*::snapshot/snap-?")),
    identity("one resource of a list", ALLOWED, ask(READ), allow(READ, [SNAPSHOT + "2", SNAPSHOT])),
    identity(
        "a star spans no colon before the last part",
        NOTHING,
        ask(READ, f"arn:aws:ec2:us-east-1:{OURS}:snapshot/snap-1"),
        allow(READ, "arn:aws:ec2:us-*1::snapshot/*"),
    ),
    identity(
        "a star spans colons in the last part",
        ALLOWED,
        ask("logs:Put", "arn:aws:logs:r:1:group:a:b"),
        allow("logs:*", "arn:aws:logs:r:1:group:*"),
    ),
    identity("an ARN cut short after a star covers the rest", ALLOWED, ask(READ), allow(READ, "arn:aws:ec2:*")),
    identity(
        "an ARN cut short after a star keeps what stands before", NOTHING, ask(READ), allow(READ, "arn:aws:kms:*")
    ),
    identity("a snapshot's ARN with its account", ALLOWED, ask(READ), allow(READ, OF_ACCOUNT)),
    identity("a snapshot's ARN with any account", ALLOWED, ask(READ), allow(READ, "arn:aws:ec2:*:*:snapshot/*")),
    identity(
        "a snapshot's ARN with another account",
        NOTHING,
        ask(READ),
        allow(READ, f"arn:aws:ec2:us-east-1:{THEIRS}:snapshot/*"),
    ),
    identity("a snapshot of nobody has no account", NOTHING, ask(READ, of=None), allow(READ, OF_ACCOUNT)),
    identity("a Deny with the account", DENIED, ask(READ), allow(), deny(READ, OF_ACCOUNT)),
    identity("a Deny with any account", DENIED, ask(READ), allow(), deny(READ, "arn:aws:ec2:*:*:snapshot/*")),
    identity("NotResource: listed with the account", NOTHING, ask(READ), allow(READ, None, NotResource=OF_ACCOUNT)),
    identity("NotResource: listed", NOTHING, ask(READ), allow(READ, None, NotResource=SNAPSHOT)),
    identity("NotResource: not listed", ALLOWED, ask(READ), allow(READ, None, NotResource=SNAPSHOT + "2")),
    identity("NotResource: everything is listed", NOTHING, ask(READ), allow(READ, None, NotResource="*")),
    identity(
        "NotResource with Deny: not listed",
        DENIED,
        ask(READ),
        allow(),
        deny(None, None, NotAction="ec2:*", NotResource="arn:aws:ec2:eu-west-1::*"),
    ),
    identity(
        "NotResource with Deny: listed",
        ALLOWED,
        ask(READ),
        allow(),
        deny(READ, None, NotResource="arn:aws:ec2:us-*::snapshot/*"),
    ),
    identity(
        "an action without resources needs a star",
        NOTHING,
        ask("ec2:DescribeSnapshots", "*"),
        allow("ec2:*", "arn:aws:ec2:*:*:snapshot/*"),
    ),
    identity("an action without resources with a star", ALLOWED, ask("ec2:DescribeSnapshots", "*"), allow("ec2:*")),
    identity(
        "a variable in a resource",
        ALLOWED,
        ask(READ, "arn:aws:ec2:r::snapshot/alice-1", aws__username="alice"),
        allow(READ, OWN),
    ),
    identity(
        "a variable in a resource has one value",
        NOTHING,
        ask(READ, "arn:aws:ec2:r::snapshot/bob-1", aws__username="alice"),
        allow(READ, OWN),
    ),
    identity(
        "a variable without a value matches no resource",
        NOTHING,
        ask(READ, "arn:aws:ec2:r::snapshot/alice-1"),
        allow(READ, OWN),
    ),
    identity(
        "a user's name with a star is not a wildcard",
        NOTHING,
        ask(READ, "arn:aws:ec2:r::snapshot/bob-1", aws__username="*"),
        allow(READ, OWN),
    ),
    identity(
        "a variable without a value denies no resource",
        ALLOWED,
        ask(READ, "arn:aws:ec2:r::snapshot/alice-1"),
        allow(),
        deny(READ, OWN),
    ),
    identity(
        "NotResource and a variable without a value: no Allow", NOTHING, ask(READ), allow(READ, None, NotResource=OWN)
    ),
    identity(
        "NotResource and a variable without a value: Deny",
        DENIED,
        ask(READ),
        allow(),
        deny(READ, None, NotResource=OWN),
    ),
    identity("an escaped star in a resource", NOTHING, ask(READ), allow(READ, "arn:aws:ec2:*::snapshot/${*}")),
    Case(
        "without a version a variable in a resource is plain",
        NOTHING,
        ask(READ, "arn:aws:ec2:r::snapshot/alice-1", aws__username="alice"),
        Policies(identity=(policy(allow(READ, OWN), version=None),)),
    ),
)

_STATEMENTS: Final = (
    Case("no policy allows nothing", NOTHING, ask(), Policies()),
    Case("one of two policies allows", ALLOWED, ask(), Policies(identity=(NO_POLICY, ALLOW_ALL))),
    Case("one of two policies denies", DENIED, ask(), Policies(identity=(ALLOW_ALL, DENY_ALL))),
    Case("a Deny comes first wherever it stands", DENIED, ask(), Policies(identity=(DENY_ALL, ALLOW_ALL))),
    identity("a Deny of another action", ALLOWED, ask(), allow(), deny("ebs:Put*")),
    identity("a Deny of another resource", ALLOWED, ask(), allow(), deny("*", SNAPSHOT + "2")),
    identity("a Deny alone", DENIED, ask(), deny()),
    identity(
        "action and resource must stand in one statement",
        NOTHING,
        ask(),
        allow(READ, SNAPSHOT + "2"),
        allow("ebs:PutSnapshotBlock", SNAPSHOT),
    ),
)

_LIMITS: Final = (
    Case("a boundary alone allows nothing", NOTHING, ask(), Policies(boundary=ALLOW_ALL)),
    Case("a boundary that allows too", ALLOWED, ask(), Policies(identity=(ALLOW_ALL,), boundary=policy(allow(READ)))),
    Case("a boundary that does not allow", NOTHING, ask(), Policies(identity=(ALLOW_ALL,), boundary=NO_POLICY)),
    Case(
        "a boundary that denies", DENIED, ask(), Policies(identity=(ALLOW_ALL,), boundary=policy(allow(), deny(READ)))
    ),
    Case("a session's policy alone allows nothing", NOTHING, ask(by=SESSION), Policies(session=(ALLOW_ALL,))),
    Case(
        "a session's policy that allows too",
        ALLOWED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), session=(policy(allow(READ)),)),
    ),
    Case(
        "a session's policy that does not allow",
        NOTHING,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), session=(NO_POLICY,)),
    ),
    Case(
        "one of two session's policies allows",
        ALLOWED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), session=(NO_POLICY, ALLOW_ALL)),
    ),
    Case(
        "a session's policy that denies",
        DENIED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), session=(ALLOW_ALL, DENY_ALL)),
    ),
    Case("a session narrowed to nothing", NOTHING, ask(by=SESSION), Policies(identity=(ALLOW_ALL,), session=())),
    Case("a session that was not narrowed", ALLOWED, ask(by=SESSION), Policies(identity=(ALLOW_ALL,), session=None)),
    Case(
        "all three allow",
        ALLOWED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), boundary=ALLOW_ALL, session=(ALLOW_ALL,)),
    ),
    Case(
        "of all three the boundary does not",
        NOTHING,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), boundary=NO_POLICY, session=(ALLOW_ALL,)),
    ),
)

_SAME_ACCOUNT: Final = (
    Case(
        "a resource's policy that names the user is enough",
        ALLOWED,
        ask(),
        Policies(resource=resource_policy(named(ALICE_ARN))),
    ),
    Case("one that names another user is not", NOTHING, ask(), Policies(resource=resource_policy(named(BOB_ARN)))),
    Case(
        "one that names the user in a list",
        ALLOWED,
        ask(by=BOB),
        Policies(resource=resource_policy(named([ALICE_ARN, BOB_ARN]))),
    ),
    Case(
        "one that names the account leaves it to the user's own",
        NOTHING,
        ask(),
        Policies(resource=resource_policy(named(OURS))),
    ),
    Case(
        "and the user's own allow it",
        ALLOWED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(OURS))),
    ),
    Case(
        "one that names the root does as one that names the account",
        NOTHING,
        ask(),
        Policies(resource=resource_policy(named(ROOT_ARN))),
    ),
    Case("one that names everyone is enough", ALLOWED, ask(), Policies(resource=resource_policy(allow(Principal="*")))),
    Case("everyone may be written as AWS's", ALLOWED, ask(), Policies(resource=resource_policy(named("*")))),
    Case(
        "one that names a service names no user",
        NOTHING,
        ask(),
        Policies(resource=resource_policy(allow(Principal={"Service": "ec2.amazonaws.com"}))),
    ),
    Case(
        "either is enough: the user's own",
        ALLOWED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(BOB_ARN))),
    ),
    Case(
        "a resource's policy denies the user",
        DENIED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(ALICE_ARN, "Deny"))),
    ),
    Case(
        "a resource's policy denies another user",
        ALLOWED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(BOB_ARN, "Deny"))),
    ),
    Case(
        "a Deny for the account is one for its users",
        DENIED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(OURS, "Deny"))),
    ),
    Case(
        "a Deny for everyone",
        DENIED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(deny(Principal="*"))),
    ),
    Case(
        "a Deny for the role is one for its sessions",
        DENIED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(ROLE_ARN, "Deny"))),
    ),
    Case(
        "a Deny for one session",
        DENIED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(SESSION_ARN, "Deny"))),
    ),
    Case(
        "a Deny in the user's own beats the resource's Allow",
        DENIED,
        ask(),
        Policies(identity=(DENY_ALL,), resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "a resource's policy of another action",
        NOTHING,
        ask(),
        Policies(resource=resource_policy(allow("ebs:Put*", Principal="*"))),
    ),
    Case(
        "a resource's policy of another resource",
        NOTHING,
        ask(),
        Policies(resource=resource_policy(allow(READ, SNAPSHOT + "2", Principal="*"))),
    ),
    Case(
        "a resource's policy whose condition is not met",
        NOTHING,
        ask(aws__securetransport="false"),
        Policies(resource=resource_policy(allow(Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}}))),
    ),
    Case(
        "a user that is named is not held by the boundary",
        ALLOWED,
        ask(),
        Policies(boundary=NO_POLICY, resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "a user that is named is held by a Deny in the boundary",
        DENIED,
        ask(),
        Policies(boundary=DENY_ALL, resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "a user that is named is held by a narrowed session",
        NOTHING,
        ask(),
        Policies(session=(NO_POLICY,), resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "where everyone is named a boundary holds",
        NOTHING,
        ask(),
        Policies(boundary=NO_POLICY, resource=resource_policy(named("*"))),
    ),
    Case(
        "a role that is named needs no identity policy",
        ALLOWED,
        ask(by=SESSION),
        Policies(resource=resource_policy(named(ROLE_ARN))),
    ),
    Case(
        "a role that is named is held by its boundary",
        NOTHING,
        ask(by=SESSION),
        Policies(boundary=NO_POLICY, resource=resource_policy(named(ROLE_ARN))),
    ),
    Case(
        "a role that is named is held by the session's policy",
        NOTHING,
        ask(by=SESSION),
        Policies(session=(NO_POLICY,), resource=resource_policy(named(ROLE_ARN))),
    ),
    Case(
        "a role that is named, and both allow",
        ALLOWED,
        ask(by=SESSION),
        Policies(boundary=ALLOW_ALL, session=(ALLOW_ALL,), resource=resource_policy(named(ROLE_ARN))),
    ),
    Case(
        "a session that is named is held by neither",
        ALLOWED,
        ask(by=SESSION),
        Policies(boundary=NO_POLICY, session=(NO_POLICY,), resource=resource_policy(named(SESSION_ARN))),
    ),
    Case(
        "the closer name counts",
        ALLOWED,
        ask(by=SESSION),
        Policies(session=(NO_POLICY,), resource=resource_policy(named(ROLE_ARN), named(SESSION_ARN))),
    ),
    Case(
        "another session of the role",
        NOTHING,
        ask(by=SESSION),
        Policies(resource=resource_policy(named(SESSION_ARN + "2"))),
    ),
)

_NOT_PRINCIPAL: Final = (
    Case(
        "NotPrincipal: not listed",
        DENIED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(deny(NotPrincipal={"AWS": [BOB_ARN, OURS]}))),
    ),
    Case(
        "NotPrincipal: listed with the account",
        ALLOWED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(deny(NotPrincipal={"AWS": [ALICE_ARN, OURS]}))),
    ),
    Case(
        "NotPrincipal: listed without the account",
        DENIED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(deny(NotPrincipal={"AWS": ALICE_ARN}))),
    ),
    Case(
        "NotPrincipal: the account alone does not spare its users",
        DENIED,
        ask(),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(deny(NotPrincipal={"AWS": ROOT_ARN}))),
    ),
    Case(
        "NotPrincipal: the account spares its root",
        ALLOWED,
        ask(by=ROOT),
        Policies(resource=resource_policy(deny(NotPrincipal={"AWS": ROOT_ARN}))),
    ),
    Case(
        "NotPrincipal: session, role and account",
        ALLOWED,
        ask(by=SESSION),
        Policies(
            identity=(ALLOW_ALL,),
            resource=resource_policy(deny(NotPrincipal={"AWS": [SESSION_ARN, ROLE_ARN, ROOT_ARN]})),
        ),
    ),
    Case(
        "NotPrincipal: role and account do not spare a session",
        DENIED,
        ask(by=SESSION),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(deny(NotPrincipal={"AWS": [ROLE_ARN, ROOT_ARN]}))),
    ),
)

_ACROSS_ACCOUNTS: Final = (
    Case("across accounts the user's own are not enough", NOTHING, ask(of=THEIRS), Policies(identity=(ALLOW_ALL,))),
    Case(
        "across accounts the resource's alone is not enough",
        NOTHING,
        ask(of=THEIRS),
        Policies(resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "across accounts both allow",
        ALLOWED,
        ask(of=THEIRS),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "across accounts the account may be named",
        ALLOWED,
        ask(of=THEIRS),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(OURS))),
    ),
    Case(
        "across accounts everyone may be named",
        ALLOWED,
        ask(of=THEIRS),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named("*"))),
    ),
    Case(
        "across accounts everyone's being named is not enough",
        NOTHING,
        ask(of=THEIRS),
        Policies(resource=resource_policy(named("*"))),
    ),
    Case(
        "across accounts the owner's account is not the caller's",
        NOTHING,
        ask(of=THEIRS),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(THEIRS))),
    ),
    Case(
        "across accounts a boundary holds",
        NOTHING,
        ask(of=THEIRS),
        Policies(identity=(ALLOW_ALL,), boundary=NO_POLICY, resource=resource_policy(named(ALICE_ARN))),
    ),
    Case(
        "across accounts a session's policy holds even a named session",
        NOTHING,
        ask(by=SESSION, of=THEIRS),
        Policies(identity=(ALLOW_ALL,), session=(NO_POLICY,), resource=resource_policy(named(SESSION_ARN))),
    ),
    Case(
        "across accounts a session needs the role's policies",
        NOTHING,
        ask(by=SESSION, of=THEIRS),
        Policies(resource=resource_policy(named(SESSION_ARN))),
    ),
    Case(
        "across accounts the resource's policy denies",
        DENIED,
        ask(of=THEIRS),
        Policies(identity=(ALLOW_ALL,), resource=resource_policy(named(OURS), named(ALICE_ARN, "Deny"))),
    ),
    Case(
        "across accounts the user's own deny",
        DENIED,
        ask(of=THEIRS),
        Policies(identity=(DENY_ALL,), resource=resource_policy(named(ALICE_ARN))),
    ),
    Case("across accounts root needs the resource's policy", NOTHING, ask(by=ROOT, of=THEIRS), Policies()),
    Case(
        "across accounts root with the resource's policy",
        ALLOWED,
        ask(by=ROOT, of=THEIRS),
        Policies(resource=resource_policy(named(ROOT_ARN))),
    ),
    Case(
        "across accounts root where everyone is named",
        ALLOWED,
        ask(by=ROOT, of=THEIRS),
        Policies(resource=resource_policy(named("*"))),
    ),
    Case("what nobody owns is in the caller's account", ALLOWED, ask(of=None), Policies(identity=(ALLOW_ALL,))),
)

_ROOT: Final = (
    Case("root needs no policy", ALLOWED, ask(by=ROOT), Policies()),
    Case(
        "root needs no policy for actions without resources",
        ALLOWED,
        ask("ec2:DescribeSnapshots", "*", by=ROOT, of=None),
        Policies(),
    ),
    Case(
        "root is denied by a resource's policy",
        DENIED,
        ask(by=ROOT),
        Policies(resource=resource_policy(named(ROOT_ARN, "Deny"))),
    ),
    Case("root is one of everyone", DENIED, ask(by=ROOT), Policies(resource=resource_policy(named("*", "Deny")))),
    Case("root is not a user", ALLOWED, ask(by=ROOT), Policies(resource=resource_policy(named(ALICE_ARN, "Deny")))),
)


def of_key(*statements: Json, own: bool = False) -> Policies:
    return Policies(
        identity=(ALLOW_ALL,) if own else (), resource=resource_policy(*statements), resource_must_allow=True
    )


_KEYS: Final = (
    Case(
        "key: the default policy leaves it to identity policies",
        ALLOWED,
        ask("kms:Decrypt", KEY),
        of_key(allow("kms:*", Principal={"AWS": ROOT_ARN}), own=True),
    ),
    Case(
        "key: the default policy without identity policies",
        NOTHING,
        ask("kms:Decrypt", KEY),
        of_key(allow("kms:*", Principal={"AWS": ROOT_ARN})),
    ),
    Case(
        "key: identity policies are nothing without the key's",
        NOTHING,
        ask("kms:Decrypt", KEY),
        of_key(named(BOB_ARN), own=True),
    ),
    Case("key: a policy that names the user", ALLOWED, ask("kms:Decrypt", KEY), of_key(named(ALICE_ARN))),
    Case(
        "key: a policy that names the user for another action",
        NOTHING,
        ask("kms:Decrypt", KEY),
        of_key(allow("kms:Encrypt", Principal={"AWS": ALICE_ARN}), own=True),
    ),
    Case(
        "key: delegation of another action",
        NOTHING,
        ask("kms:Decrypt", KEY),
        of_key(allow("kms:Encrypt", Principal={"AWS": OURS}), own=True),
    ),
    Case("key: root by the default policy", ALLOWED, ask("kms:Decrypt", KEY, by=ROOT), of_key(named(ROOT_ARN))),
    Case(
        "key: root where the policy does not name it",
        NOTHING,
        ask("kms:Decrypt", KEY, by=ROOT),
        of_key(named(ALICE_ARN)),
    ),
    Case(
        "key: root that is denied",
        DENIED,
        ask("kms:Decrypt", KEY, by=ROOT),
        of_key(named(ROOT_ARN), named(ROOT_ARN, "Deny")),
    ),
    Case(
        "key: no policy at all",
        NOTHING,
        ask("kms:Decrypt", KEY),
        Policies(identity=(ALLOW_ALL,), resource_must_allow=True),
    ),
    Case("key: no policy at all, root", NOTHING, ask("kms:Decrypt", KEY, by=ROOT), Policies(resource_must_allow=True)),
    Case("key: a role that is named", ALLOWED, ask("kms:Decrypt", KEY, by=SESSION), of_key(named(ROLE_ARN))),
    Case("key: a role by delegation", ALLOWED, ask("kms:Decrypt", KEY, by=SESSION), of_key(named(OURS), own=True)),
    Case(
        "key: of another account, both allow",
        ALLOWED,
        ask("kms:Decrypt", KEY, of=THEIRS),
        of_key(named(OURS), own=True),
    ),
    Case(
        "key: of another account that names the user only",
        NOTHING,
        ask("kms:Decrypt", KEY, of=THEIRS),
        of_key(named(ALICE_ARN)),
    ),
    Case(
        "key: through a service only, and it is",
        ALLOWED,
        ask("kms:Decrypt", KEY, kms__viaservice="ebs.us-east-1.amazonaws.com"),
        of_key(allow(Principal="*", Condition={"StringEquals": {"kms:ViaService": "ebs.us-east-1.amazonaws.com"}})),
    ),
    Case(
        "key: through a service only, and it is not",
        NOTHING,
        ask("kms:Decrypt", KEY),
        of_key(allow(Principal="*", Condition={"StringEquals": {"kms:ViaService": "ebs.us-east-1.amazonaws.com"}})),
    ),
)

DECISION_CASES: Final[tuple[Case, ...]] = (
    *_ACTIONS,
    *_RESOURCES,
    *_STATEMENTS,
    *_LIMITS,
    *_SAME_ACCOUNT,
    *_NOT_PRINCIPAL,
    *_ACROSS_ACCOUNTS,
    *_ROOT,
    *_KEYS,
)
