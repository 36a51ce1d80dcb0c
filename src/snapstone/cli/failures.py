"""Which exit code each end of the client's work has, also if the same is done to each of several snapshots.

What fails for one snapshot does not keep the others from it.
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
    """The exit code of an error: that of the nearest class in the table, else by whether the command can be resumed."""
    otherwise = Exit.UNFINISHED if error.resumable else Exit.FAILED
    return next((EXITS[kind] for kind in type(error).__mro__ if kind in EXITS), otherwise)


def each(options: argparse.Namespace, snapshot_ids: Iterable[str], act: Callable[[str], None]) -> Exit:
    """Say every failure; the failures' exit code if they agree, else FAILED.

    An endpoint that gives no answer, or has throttled for the whole time budget, would do so for the others too:
    that ends it.
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
