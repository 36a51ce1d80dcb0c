"""`snapstone user`: the users of an account and their managed policies."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from snapstone.cli.identities import Row, account_of, add_command, add_group, date_of, opened, print_rows, root_of
from snapstone.cli.outcome import Exit

if TYPE_CHECKING:
    from snapstone.catalog.contract.identities import Identity

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_POLICY_HELP: Final = "ARN of the policy, or the name of a built-in one, e.g. SnapstoneReadOnly"


def register(subparsers: Subparsers) -> None:
    """Add the commands to the command line."""
    group = add_group(subparsers, "user", "create, list and remove users, and attach policies to them")
    create = add_command(group, "create", "create a user, who may do nothing until a policy is attached", run_create)
    create.add_argument("name", metavar="USER", help="name of the user")
    create.add_argument("--path", metavar="PATH", default="/", help="path of the user (default: /)")
    create.add_argument("--policy", metavar="POLICY", action="append", default=[], help=f"attach: {_POLICY_HELP}")
    add_command(group, "ls", "list users: name, ARN, date", run_list)
    remove = add_command(group, "rm", "remove a user with its keys and policies", run_remove)
    remove.add_argument("name", metavar="USER", help="name of the user")
    policies = add_group(group, "policy", "attach, detach and list a user's managed policies")
    for verb, text, run in (
        ("attach", "attach a policy to a user", run_attach),
        ("detach", "detach a policy from a user", run_detach),
    ):
        command = add_command(policies, verb, text, run)
        command.add_argument("name", metavar="USER", help="name of the user")
        command.add_argument("policy", metavar="POLICY", help=_POLICY_HELP)
    listing = add_command(policies, "ls", "list a user's attached policies", run_list_policies)
    listing.add_argument("name", metavar="USER", help="name of the user")


def run_create(options: argparse.Namespace) -> Exit:
    """Create a user; prints the ARN."""
    with opened(options) as engine:
        from snapstone.catalog.contract.identities import IdentityKind
        from snapstone.service.iam.policies import attach_policy
        from snapstone.service.iam.users import create_user
        from snapstone.service.identities.owners import Owner
        from snapstone.service.identities.policies import require_policy

        account = account_of(engine, options)
        arns = [_arn(policy) for policy in options.policy]
        for arn in arns:
            require_policy(engine, account.account_id, arn)
        create_user(engine, root_of(account), user_name=options.name, path=options.path)
        for arn in arns:
            attach_policy(engine, root_of(account), Owner(IdentityKind.USER, options.name), policy_arn=arn)
        user = engine.catalog.identity(account.account_id, IdentityKind.USER, options.name)
    print_rows(options, [_row(user)] if user is not None else [])
    return Exit.DONE


def run_list(options: argparse.Namespace) -> Exit:
    """List an account's users by name."""
    with opened(options) as engine:
        from snapstone.catalog.contract.identities import IdentityKind

        users = engine.catalog.identities(account_of(engine, options).account_id, IdentityKind.USER)
    print_rows(options, [_row(user) for user in users])
    return Exit.DONE


def run_remove(options: argparse.Namespace) -> Exit:
    """Remove a user with its keys and policies."""
    with opened(options) as engine:
        from snapstone.service.iam.users import remove_user

        remove_user(engine, account_of(engine, options).account_id, options.name)
    return Exit.DONE


def run_attach(options: argparse.Namespace) -> Exit:
    """Attach a policy to a user."""
    with opened(options) as engine:
        from snapstone.catalog.contract.identities import IdentityKind
        from snapstone.service.iam.policies import attach_policy
        from snapstone.service.identities.owners import Owner

        owner = Owner(IdentityKind.USER, options.name)
        attach_policy(engine, root_of(account_of(engine, options)), owner, policy_arn=_arn(options.policy))
    return Exit.DONE


def run_detach(options: argparse.Namespace) -> Exit:
    """Detach a policy from a user."""
    with opened(options) as engine:
        from snapstone.catalog.contract.identities import IdentityKind
        from snapstone.service.iam.policies import detach_policy
        from snapstone.service.identities.owners import Owner

        owner = Owner(IdentityKind.USER, options.name)
        detach_policy(engine, root_of(account_of(engine, options)), owner, policy_arn=_arn(options.policy))
    return Exit.DONE


def run_list_policies(options: argparse.Namespace) -> Exit:
    """List the ARNs of a user's attached policies."""
    with opened(options) as engine:
        from snapstone.catalog.contract.identities import IdentityKind
        from snapstone.service.identities.owners import Owner, find

        user = find(engine, account_of(engine, options).account_id, Owner(IdentityKind.USER, options.name))
    print_rows(options, [{"arn": arn} for arn in user.attached_arns])
    return Exit.DONE


def _arn(policy: str) -> str:
    """The ARN of a policy given by name or ARN."""
    from snapstone.service.identities.arns import BUILT_IN_ARN

    return policy if policy.startswith("arn:") else BUILT_IN_ARN + policy


def _row(user: Identity) -> Row:
    from snapstone.service.identities.arns import identity_arn

    return {"name": user.name, "arn": identity_arn(user), "created": date_of(user.created_at_ms)}
