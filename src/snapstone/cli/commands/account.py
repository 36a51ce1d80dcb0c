"""`snapstone account`: accounts, each a separate namespace with an all-powerful root."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snapstone.cli.identities import Row, add_command, add_group, date_of, opened, print_key, print_row, print_rows
from snapstone.cli.outcome import Exit

if TYPE_CHECKING:
    from snapstone.catalog.contract.identities import Account

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the commands to the command line."""
    group = add_group(subparsers, "account", "create, list and rename accounts")
    create = add_command(group, "create", "create an account; print its root access key", run_create, of_account=False)
    create.add_argument("name", metavar="NAME", help="name of the account")
    add_command(group, "ls", "list accounts: ID, name, date", run_list, of_account=False)
    rename = add_command(group, "rename", "rename an account", run_rename, of_account=False)
    rename.add_argument("account", metavar="ACCOUNT", help="ID or name of the account")
    rename.add_argument("name", metavar="NAME", help="its new name")
    show = add_command(group, "show", "show an account", run_show, of_account=False)
    show.add_argument("account", metavar="ACCOUNT", help="ID or name of the account")


def run_create(options: argparse.Namespace) -> Exit:
    """Create an account."""
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import create_account

        account, access_key_id, secret = create_account(engine, options.name)
    print_key(options, account.account_id, account.name, access_key_id, secret)
    return Exit.DONE


def run_list(options: argparse.Namespace) -> Exit:
    """List accounts, the oldest first."""
    with opened(options) as engine:
        accounts = engine.catalog.accounts()
    print_rows(options, [_row(account) for account in accounts])
    return Exit.DONE


def run_rename(options: argparse.Namespace) -> Exit:
    """Rename an account; its ID stays the same."""
    with opened(options) as engine:
        from snapstone.service.iam.access_keys import find_account, rename_account

        rename_account(engine, find_account(engine, options.account), options.name)
    return Exit.DONE


def run_show(options: argparse.Namespace) -> Exit:
    """Show one account and what it contains."""
    with opened(options) as engine:
        from snapstone.catalog.contract.identities import IdentityKind
        from snapstone.service.iam.access_keys import find_account

        account = find_account(engine, options.account)
        counts: Row = {
            f"{kind}s": str(len(engine.catalog.identities(account.account_id, kind))) for kind in IdentityKind
        }
    print_row(options, {**_row(account), **counts})
    return Exit.DONE


def _row(account: Account) -> Row:
    return {"id": account.account_id, "name": account.name, "created": date_of(account.created_at_ms)}
