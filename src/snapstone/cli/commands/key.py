"""`snapstone key`: access keys of users and of an account's root."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snapstone.cli.identities import Row, account_of, add_command, add_group, date_of, opened, print_key, print_rows
from snapstone.cli.outcome import Exit

if TYPE_CHECKING:
    from snapstone.catalog.contract.identities import SealedAccessKey
    from snapstone.service.identities.owners import Owner

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the commands to the command line."""
    group = add_group(subparsers, "key", "create, list, enable, disable and rotate access keys")
    create = add_command(group, "create", "create a key; its secret is printed only now", run_create)
    listing = add_command(group, "ls", "list keys: ID, state, date", run_list)
    for command in (create, listing):
        _add_user(command)
    for verb, text, run in (
        ("disable", "refuse requests signed with a key", run_disable),
        ("enable", "accept requests signed with a disabled key again", run_enable),
        ("rm", "remove a key", run_remove),
        ("rotate", "create a key to replace one, which is disabled; print the new one", run_rotate),
    ):
        command = add_command(group, verb, text, run)
        command.add_argument("key", metavar="KEY", help="ID of the key")
        _add_user(command)


def _add_user(command: argparse.ArgumentParser) -> None:
    command.add_argument("--user", metavar="USER", help="user that owns the key (default: the account's root)")


def run_create(options: argparse.Namespace) -> Exit:
    """Create a key for a user, or for root."""
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import mint_access_key

        account = account_of(engine, options)
        key, secret = mint_access_key(engine, account.account_id, _owner(options))
    print_key(options, account.account_id, options.user or account.name or "default", key.access_key_id, secret)
    return Exit.DONE


def run_list(options: argparse.Namespace) -> Exit:
    """List the keys of a user, or of root."""
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import keys_of

        keys = keys_of(engine, account_of(engine, options).account_id, _owner(options))
    print_rows(options, [_row(key) for key in keys])
    return Exit.DONE


def run_disable(options: argparse.Namespace) -> Exit:
    """Disable a key, effective with the next request."""
    return _switch(options, active=False)


def run_enable(options: argparse.Namespace) -> Exit:
    """Enable a key again."""
    return _switch(options, active=True)


def _switch(options: argparse.Namespace, active: bool) -> Exit:
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import find_key

        key = find_key(engine, account_of(engine, options).account_id, _owner(options), options.key)
        engine.catalog.set_access_key_active(key, active)
    return Exit.DONE


def run_remove(options: argparse.Namespace) -> Exit:
    """Remove a key."""
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import find_key

        key = find_key(engine, account_of(engine, options).account_id, _owner(options), options.key)
        engine.catalog.delete_access_key(key)
    return Exit.DONE


def run_rotate(options: argparse.Namespace) -> Exit:
    """Create a key for the same owner and disable the old one, which `enable` can restore until it is removed."""
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import find_key, mint_access_key

        account = account_of(engine, options)
        owner = _owner(options)
        old = find_key(engine, account.account_id, owner, options.key)
        key, secret = mint_access_key(engine, account.account_id, owner)
        engine.catalog.set_access_key_active(old, active=False)
    print_key(options, account.account_id, options.user or account.name or "default", key.access_key_id, secret)
    return Exit.DONE


def _owner(options: argparse.Namespace) -> Owner | None:
    from snapstone.catalog.contract.identities import IdentityKind
    from snapstone.service.identities.owners import Owner

    return None if options.user is None else Owner(IdentityKind.USER, options.user)


def _row(key: SealedAccessKey) -> Row:
    state = "active" if key.active else "disabled"
    return {"id": key.access_key_id, "state": state, "created": date_of(key.created_at_ms)}
