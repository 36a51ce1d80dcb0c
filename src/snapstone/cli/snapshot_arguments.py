"""Snapshot ids, tags and filters on the command line: validated before any request; the shell completes ids.

Completion lists the endpoint's snapshots, but gives up after a short time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snapstone.cli.remote import open_service
from snapstone.cli.tables import printable
from snapstone.core.ids import is_minted_snapshot_id
from snapstone.core.tags import MAX_KEY_LENGTH, MAX_VALUE_LENGTH, is_removable, is_reserved

if TYPE_CHECKING:
    from snapstone.client.api.values import SnapshotInfo

ANSWER_SECONDS: Final = 2.0
"""How long a completion waits for the endpoint."""
CACHE_SECONDS: Final = 10.0
MAX_KNOWN_COUNT: Final = 1_000
MAX_WORDS_LENGTH: Final = 40

_MEANT_BY: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)


def known_snapshots(options: argparse.Namespace) -> dict[str, str]:
    """Ids and a few words about each, newest first; none if the endpoint does not answer in time."""
    cache = _cache_path(options)
    cached = _read(cache)
    if cached is not None:
        return cached
    found = _ask(options)
    if found is None:
        return {}
    _write(cache, found)
    return found


def words_about(snapshot: SnapshotInfo) -> str:
    """Name or description, else size and date."""
    text = snapshot.tags.get("Name") or snapshot.description
    return printable(text[:MAX_WORDS_LENGTH]) or f"{snapshot.volume_size_gib} GiB of {snapshot.started_at:%Y-%m-%d}"


def _ask(options: argparse.Namespace) -> dict[str, str] | None:
    """Query the endpoint in a thread that may be abandoned: the process ends soon."""
    answers: list[dict[str, str]] = []

    def ask() -> None:
        from snapstone.client.errors import ClientError
        from snapstone.client.events import NullObserver

        quick = argparse.Namespace(**{**vars(options), "retry_time": 0.0})
        try:
            with open_service(quick, NullObserver()) as service:
                snapshots = service.describe()
        except ClientError:
            return
        snapshots.sort(key=lambda snapshot: snapshot.started_at, reverse=True)
        answers.append({found.snapshot_id: words_about(found) for found in snapshots[:MAX_KNOWN_COUNT]})

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answers[0] if answers else None


def _cache_path(options: argparse.Namespace) -> Path:
    """The cache file: one for each combination of endpoint and identity settings."""
    meant = [getattr(options, name, None) for name in ("profile", "endpoint_url", "region")]
    meant += [os.environ.get(name) for name in _MEANT_BY]
    name = hashlib.sha256(json.dumps(meant).encode()).hexdigest()[:32]
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return folder / "snapstone" / "completion" / f"{name}.json"


def _read(path: Path) -> dict[str, str] | None:
    try:
        if time.time() - path.stat().st_mtime > CACHE_SECONDS:
            return None
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def _write(path: Path, known: dict[str, str]) -> None:
    """Whole or not at all; if it cannot be written, the next completion asks again."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps(known))
        part.replace(path)
    except OSError:
        return


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
        raise argparse.ArgumentTypeError(f"{text!r} is not a snapshot ID (expected e.g. snap-0123456789abcdef0)")
    return text


def complete(prefix: str, parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """The completer for argcomplete: unused ids that begin with `prefix`, each with a short description."""
    from snapstone.cli.snapshot_arguments import known_snapshots

    given = vars(parsed_args).get("snapshots") or ()
    known = known_snapshots(parsed_args)
    return {found: words for found, words in known.items() if found.startswith(prefix) and found not in given}


def tag(text: str) -> tuple[str, str]:
    """`KEY=VALUE`; the value may be empty and may hold `=`. A `type` of argparse."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not a tag (expected KEY=VALUE)")
    return _key(name, allowed=not is_reserved(name)), _bounded(value, MAX_VALUE_LENGTH, "a tag's value")


def tag_key(text: str) -> str:
    """The key of a tag to remove; a `type` of argparse."""
    return _key(text, allowed=is_removable(text))


def _key(text: str, *, allowed: bool) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the tag key is empty")
    if not allowed:
        raise argparse.ArgumentTypeError(f"{text!r} is reserved: keys that begin with aws: belong to AWS")
    return _bounded(text, MAX_KEY_LENGTH, "a tag's key")


def filter_values(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=VALUE,VALUE`: a filter as EC2's DescribeSnapshots takes it. A `type` of argparse."""
    name, equals, values = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a filter (expected NAME=VALUE,VALUE, such as status=completed)"
        )
    return name, tuple(values.split(","))


def _bounded(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise argparse.ArgumentTypeError(f"{what} is too long: {len(text)} characters, at most {most}")
    return text
