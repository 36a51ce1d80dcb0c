"""The same done to each of several snapshots: what fails for one does not keep the others from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from snapstone.cli.outcome import Exit, say


def each(options: argparse.Namespace, snapshot_ids: Iterable[str], act: Callable[[str], None]) -> Exit:
    """Say every failure; the failures' exit code where they agree, else FAILED.

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
