"""Shared by the account, user and key commands: options, the open catalog, and output."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from snapstone.cli.outcome import EXIT_CODES, CommandError, Exit
from snapstone.server.config import SettingsError, read_settings

if TYPE_CHECKING:
    from snapstone.catalog.contract.identities import Account
    from snapstone.service.engine import Caller
    from snapstone.service.identities.engine import IdentityEngine

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

Row = Mapping[str, str | bool]

_NOT_A_REQUEST: Final = "cli"


def add_group(subparsers: Subparsers, name: str, text: str) -> Subparsers:
    """A command with commands of its own."""
    parser = subparsers.add_parser(
        name, help=text, description=text, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_command(
    group: Subparsers, name: str, text: str, run: Callable[[argparse.Namespace], Exit], of_account: bool = True
) -> argparse.ArgumentParser:
    """A command on a data folder's catalog; `of_account` gives it an option for the account that it is about."""
    parser = group.add_parser(
        name, help=text, description=text, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="data folder of the server [SNAPSTONE_DATA]")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    if of_account:
        parser.add_argument("--account", metavar="ACCOUNT", help="ID or name of the account (default: the first one)")
    parser.set_defaults(run=run)
    return parser


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[IdentityEngine]:
    """The data folder's identities; errors become CommandError."""
    from snapstone.core import errors
    from snapstone.server.folder.administration import open_identities
    from snapstone.server.folder.data_folder import DataFolderError

    wrong_input = (
        errors.IdentityValidationError,
        errors.InvalidIdentityInputError,
        errors.NoSuchEntityError,
    )
    conflicts = (
        errors.EntityAlreadyExistsError,
        errors.DeleteConflictError,
        errors.IdentityLimitError,
    )
    try:
        with open_identities(read_settings({"data": options.data})) as engine:
            yield engine
    except (SettingsError, DataFolderError, *wrong_input) as error:
        raise CommandError(error.message, Exit.USAGE) from None
    except conflicts as error:
        raise CommandError(error.message, Exit.FAILED) from None


def account_of(engine: IdentityEngine, options: argparse.Namespace) -> Account:
    """The account that the options name."""
    from snapstone.service.iam.access_keys import find_account

    return find_account(engine, options.account)


def root_of(account: Account) -> Caller:
    """The account's root, in whose name a command acts."""
    from snapstone.core.ids import Region
    from snapstone.core.policy.principals import root_principal
    from snapstone.service.engine import Caller

    return Caller(account.account_id, Region(_NOT_A_REQUEST), "", root_principal(account.account_id))


def print_key(options: argparse.Namespace, account_id: str, profile: str, access_key_id: str, secret: str) -> None:
    """A new key with its secret, shown only once: as JSON, or as a section of an AWS credentials file."""
    if options.json:
        print_json({"AccountId": account_id, "AccessKeyId": access_key_id, "SecretAccessKey": secret})
        return
    print(f"# account {account_id}\n[{profile}]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}")


def print_rows(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    """One tab-separated line for each row, or a JSON list."""
    if options.json:
        print_json(rows)
        return
    for row in rows:
        print("\t".join(str(value) or "-" for value in row.values()))


def print_row(options: argparse.Namespace, row: Row) -> None:
    """One line for each value, after its name; or a JSON object."""
    if options.json:
        print_json(row)
        return
    for name, value in row.items():
        print(f"{name}\t{value or '-'}")


def print_json(result: object) -> None:
    print(json.dumps(result, indent=2, ensure_ascii=False))


def date_of(milliseconds: int) -> str:
    """A time in UTC, by ISO 8601; `-` if an earlier version did not record it."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if milliseconds else "-"
