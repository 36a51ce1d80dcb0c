"""The entry point of the command line: subcommands (one module each), one-line errors, exit codes.

Heavy imports happen only when a subcommand runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, NoReturn

from snapstone import __version__
from snapstone.cli.commands import (
    account,
    cat,
    check,
    clock,
    completion,
    copy,
    diff,
    doctor,
    download,
    env,
    key,
    ls,
    rm,
    serve,
    show,
    tag,
    upload,
    user,
    verify,
    wait,
)
from snapstone.cli.outcome import EXIT_CODES, CommandError, Exit, say

if TYPE_CHECKING:
    from snapstone.client.errors import ClientError

COMMANDS: Final = (
    serve,
    env,
    account,
    user,
    key,
    clock,
    check,
    upload,
    download,
    copy,
    diff,
    verify,
    ls,
    show,
    tag,
    rm,
    wait,
    cat,
    doctor,
    completion,
)
"""Modules with a `register(subparsers)` that sets `run`, a function from parsed options to an Exit."""

COMPLETION_VARIABLE: Final = "_ARGCOMPLETE"
"""Set by the shell when it requests completions."""


class Parser(argparse.ArgumentParser):
    """Reports errors in one line. Abbreviated options are off: adding an option could break them."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """End with the line."""
        self.exit(Exit.USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code. Wrong usage ends in SystemExit(2), as argparse does."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy_standard_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        # A tag may contain characters that the locale lacks: escape them, as standard error does anyway.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    if COMPLETION_VARIABLE in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options=False)
    options = parser.parse_args(arguments)
    try:
        code: Exit = options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        code = say(options, error.message, error.code)
    except KeyboardInterrupt:
        text = "interrupted; run the same command to resume" if _goes_on(options) else "interrupted"
        code = say(options, text, Exit.INTERRUPTED)
    except _client_error() as error:
        from snapstone.cli.failures import exit_of

        code = say(options, str(error), exit_of(error))
    except OSError as error:
        code = _after_failed_call(options, error)
    return int(code)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(
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


def _client_error() -> type[ClientError]:
    """Import the client only if an exception is raised: Python evaluates an `except` expression no earlier."""
    from snapstone.client.errors import ClientError

    return ClientError


def _goes_on(options: argparse.Namespace) -> bool:
    """Return whether running the command again resumes it: no --no-resume, and no stream involved."""
    given = vars(options)
    return not given.get("no_resume", True) and "-" not in (given.get("image"), given.get("target"))


def _after_failed_call(options: argparse.Namespace, error: OSError) -> Exit:
    """Report the error, unless standard output was closed by its reader."""
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        code = Exit.READER_GONE
    else:
        code = say(options, str(error), Exit.FAILED)
    try:
        sys.stdout.flush()
    except OSError:
        # Discard the rest of the buffer, or Python's exit would fail on it again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return code


def _reader_is_gone() -> bool:
    """Return whether the broken pipe is standard output, not some other one."""
    import select

    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _occupy_standard_streams() -> None:
    """Open the null device for closed streams, so that no file opened later becomes standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
