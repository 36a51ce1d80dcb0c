"""Exit codes, and the error that ends a command with one line."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNFINISHED = 3
    DENIED = 4
    THROTTLED = 5
    DAMAGED = 6
    NOT_FOUND = 7
    SOURCE_CHANGED = 8
    DIFFERENT = 9
    INTERRUPTED = 130
    READER_GONE = 141


EXIT_CODES: Final = """\
exit codes:
  0    done
  1    failed while running
  2    wrong usage: an option, or a missing data folder or server
  3    incomplete (unreachable, stalled or out of space); run the same command to resume
  4    permission denied by the endpoint or the operating system
  5    throttled for longer than --retry-time; run the same command to resume
  6    damaged: bytes do not match their checksum
  7    not found: a snapshot, or a file
  8    the source changed while it was read
  9    what was compared differs
  130  interrupted (Ctrl-C, SIGTERM); run the same command to resume
  141  standard output was closed (broken pipe)
"""


@dataclass(eq=False)
class CommandError(Exception):
    """Ends a command with `code`; `message` states what happened, which value, and what to do."""

    message: str
    code: Exit


def say(options: argparse.Namespace, message: str, code: Exit) -> Exit:
    """Report an error: one line on standard error, or an event if the command emits JSON events."""
    if getattr(options, "json_errors", False) and options.json:
        from snapstone.cli.progress import write_event

        write_event("error", {"message": message, "exit_code": int(code)})
    else:
        from snapstone.cli.tables import one_line

        print(f"snapstone: {one_line(message)}", file=sys.stderr)
    return code
