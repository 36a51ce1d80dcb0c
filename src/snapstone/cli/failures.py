"""Which exit code each end of the client's work has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from snapstone.cli.outcome import Exit
from snapstone.client import errors

EXITS: Final[Mapping[type[errors.ClientError], Exit]] = {
    errors.UsageError: Exit.USAGE,
    errors.NotFoundError: Exit.NOT_FOUND,
    errors.DeniedError: Exit.DENIED,
    errors.ThrottledOutError: Exit.THROTTLED,
    errors.UnreachableError: Exit.UNFINISHED,
    errors.StalledError: Exit.UNFINISHED,
    errors.NoSpaceError: Exit.UNFINISHED,
    errors.InterruptedTransferError: Exit.INTERRUPTED,
    errors.DamagedError: Exit.DAMAGED,
    errors.SourceChangedError: Exit.SOURCE_CHANGED,
    errors.RemoteError: Exit.FAILED,
}


def exit_of(error: errors.ClientError) -> Exit:
    """The exit code of an error: that of the nearest class in the table; else whether the same command goes on."""
    otherwise = Exit.UNFINISHED if error.resumable else Exit.FAILED
    return next((EXITS[kind] for kind in type(error).__mro__ if kind in EXITS), otherwise)
