"""`snapstone env`: the variables that point AWS tools at a running server, for `eval` in a shell."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING

from snapstone.cli.commands.serve import data_option
from snapstone.cli.outcome import EXIT_CODES, CommandError, Exit
from snapstone.server.config import SettingsError, read_data_folder

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "env",
        help="print environment variables that point AWS tools at a running server",
        description='Print shell commands that point AWS tools at a running server: eval "$(snapstone env)". '
        "AWS_DATA_PATH gives boto3 and the AWS CLI paginators and waiters for the EBS direct APIs.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", help="data folder of the server [SNAPSTONE_DATA]")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Exit:
    """Print the variables; unset AWS_SESSION_TOKEN, because an old one would not match the key."""
    from snapstone.client.overlay import path_with_overlay
    from snapstone.server.folder.credentials import read_credentials
    from snapstone.server.folder.data_folder import DataFolder, DataFolderError
    from snapstone.server.folder.runtime import find_server

    try:
        folder = DataFolder(read_data_folder(options.data))
    except SettingsError as error:
        raise CommandError(error.message, Exit.USAGE) from None
    try:
        server = find_server(folder)
        key = read_credentials(folder.credentials)
    except DataFolderError as error:
        hint = f"start a server with: snapstone serve{data_option(folder.path)}"
        raise CommandError(f"{error.message}: {hint}", Exit.USAGE) from None
    variables = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_DEFAULT_REGION": server.region,
        "AWS_REGION": server.region,
        "AWS_DATA_PATH": path_with_overlay(os.environ.get("AWS_DATA_PATH")),
    }
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    print("unset AWS_SESSION_TOKEN")
    return Exit.DONE
