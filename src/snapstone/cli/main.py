"""The command line's entry: global options, one module for each subcommand, errors as one line, exit codes.

Nothing heavy is imported here or when a subcommand is registered: only when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from snapstone import __version__
from snapstone.cli import account, env, key, serve, user
from snapstone.cli.outcome import EXIT_CODES, CommandError, Exit

COMMANDS: Final = (serve, env, account, user, key)
"""Modules with a `register(subparsers)` that sets `run`, a function from parsed options to an Exit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code. Wrong usage ends in SystemExit(2), as argparse does."""
    options = build_parser().parse_args(arguments)
    try:
        code: Exit = options.run(options)
    except CommandError as error:
        print(f"snapstone: {error.message}", file=sys.stderr)
        code = error.code
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    return int(code)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="snapstone",
        description="Self-hosted Amazon EBS direct APIs: block snapshots on your own machines.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"snapstone {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(subparsers)
    return parser
