"""`snapstone doctor`: whether everything is in place for the client to work, and what to do if it is not."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from snapstone.cli.outcome import Exit
from snapstone.cli.remote import add_command, endpoint_options
from snapstone.cli.tables import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snapstone.cli.commands.local_checks import CheckResult

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_DESCRIPTION: Final = """\
Check versions, tools, the state folder, the endpoint, clocks, credentials and permissions, and suggest a fix for each
problem. Changes nothing, locally or at the endpoint. Exits with code 1 if a check fails.
"""

_COLORS: Final = {"ok": "\033[32m", "warn": "\033[33m", "fail": "\033[31m"}
_RESET: Final = "\033[0m"


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers, "doctor", "check the local setup, the endpoint and the credentials", run, _DESCRIPTION
    )
    endpoint_options(parser)
    parser.add_argument("--json", action="store_true", help="print results as JSON, one object per line")


def run(options: argparse.Namespace) -> Exit:
    """Run all checks; print each finding at once."""
    from snapstone.cli.commands.local_checks import CheckStatus

    worst_is_fail = False
    for finding in _findings(options):
        print(_json(finding) if options.json else _line(finding), flush=True)
        worst_is_fail |= finding.health is CheckStatus.FAIL
    return Exit.FAILED if worst_is_fail else Exit.DONE


def _findings(options: argparse.Namespace) -> Iterator[CheckResult]:
    from snapstone.cli.commands import local_checks as local_checks

    yield from local_checks.versions()
    yield from local_checks.tools()
    yield from local_checks.state_folder()
    yield from _of_endpoint(options)


def _of_endpoint(options: argparse.Namespace) -> Iterator[CheckResult]:
    from snapstone.cli.commands.endpoint_checks import endpoint_checks
    from snapstone.cli.commands.local_checks import fail
    from snapstone.client.api.endpoint import resolve
    from snapstone.client.errors import ClientError

    try:
        endpoint = resolve(options.profile, options.endpoint_url, options.region)
    except ClientError as error:
        yield fail("configuration", str(error), 'for a local server: eval "$(snapstone env)"')
        return
    yield from endpoint_checks(endpoint)


def _line(finding: CheckResult) -> str:
    health = f"{finding.health:<4}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        health = f"{_COLORS[finding.health]}{health}{_RESET}"
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{health}  {finding.check:<12}  {one_line(finding.words + advice)}"


def _json(finding: CheckResult) -> str:
    return json.dumps(
        {
            "health": str(finding.health),
            "check": finding.check,
            "message": finding.words,
            "advice": finding.advice or None,
        }
    )
