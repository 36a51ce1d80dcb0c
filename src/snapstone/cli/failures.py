"""Exit codes for client errors, and commands that act on several snapshots.

A failure for one snapshot does not stop the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from snapstone.cli.outcome import Exit, say
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
    """The exit code of an error: that of the nearest class in the table, else by whether it is resumable."""
    otherwise = Exit.UNFINISHED if error.resumable else Exit.FAILED
    return next((EXITS[kind] for kind in type(error).__mro__ if kind in EXITS), otherwise)


def each(options: argparse.Namespace, snapshot_ids: Iterable[str], act: Callable[[str], None]) -> Exit:
    """Act on each snapshot and report every failure; return the common exit code of the failures, else FAILED.

    Resumable errors, such as an unreachable or throttling endpoint, would hit the other snapshots too, so they
    propagate.
    """
    from snapstone.cli.failures import exit_of
    from snapstone.client.errors import ClientError

    codes: set[Exit] = set()
    for snapshot_id in dict.fromkeys(snapshot_ids):
        try:
            act(snapshot_id)
        except ClientError as error:
            if error.resumable:
                raise
            codes.add(say(options, str(error), exit_of(error)))
    if not codes:
        return Exit.DONE
    return codes.pop() if len(codes) == 1 else Exit.FAILED
