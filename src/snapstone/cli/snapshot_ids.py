"""Snapshot ids on the command line: held against their form before anything is asked, and completed by the shell."""

from __future__ import annotations

import argparse

from snapstone.core.ids import is_minted_snapshot_id


def snapshot_argument(parser: argparse.ArgumentParser, name: str, text: str, *, many: bool = False) -> None:
    """An argument (`snapshot`), or an option (`--parent`), that names a snapshot; or one or more of them."""
    if many:
        action = parser.add_argument(name, metavar="SNAP", type=snapshot_id, help=text, nargs="+")
    else:
        action = parser.add_argument(name, metavar="SNAP", type=snapshot_id, help=text)
    vars(action)["completer"] = complete


def snapshot_id(text: str) -> str:
    """The id; a `type` of argparse."""
    if not is_minted_snapshot_id(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no snapshot id, such as snap-0123456789abcdef0")
    return text


def complete(prefix: str, parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """What argcomplete asks for: ids that begin with `prefix` and are not given yet, each with a few words about it."""
    from snapstone.cli.known_snapshots import known_snapshots

    given = vars(parsed_args).get("snapshots") or ()
    known = known_snapshots(parsed_args)
    return {found: words for found, words in known.items() if found.startswith(prefix) and found not in given}
