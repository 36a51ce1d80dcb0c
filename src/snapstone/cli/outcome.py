"""How a command ends: its exit codes, and the error that ends it with one line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


EXIT_CODES: Final = """\
exit codes:
  0    done
  1    failed while running
  2    wrong usage: an option, or a data folder or server that is not there
  130  interrupted
"""


@dataclass(eq=False)
class CommandError(Exception):
    """Ends a command with `code`; `message` says what was wrong, with which value, and what to do."""

    message: str
    code: Exit
