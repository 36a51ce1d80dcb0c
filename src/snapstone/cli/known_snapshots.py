"""Snapshots that an endpoint knows, for the shell's completion: quickly, or not at all."""

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

if TYPE_CHECKING:
    from snapstone.client.api.values import SnapshotInfo

ANSWER_SECONDS: Final = 2.0
"""Longer nobody waits for a completion."""
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
    """Ids and a few words about each, newest first; none where the endpoint does not answer in time."""
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
    """Ask in a thread that may be left behind: the process ends soon."""
    answers: list[dict[str, str]] = []

    def ask() -> None:
        from snapstone.client.errors import ClientError
        from snapstone.client.events import Silence

        quick = argparse.Namespace(**{**vars(options), "retry_time": 0.0})
        try:
            with open_service(quick, Silence()) as service:
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
    """One file for each endpoint and identity that could be meant."""
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
    """Whole or not at all; where it cannot be written, the next completion asks again."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps(known))
        part.replace(path)
    except OSError:
        return
