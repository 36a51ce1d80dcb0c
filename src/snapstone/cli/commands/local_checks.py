"""The doctor's checks of this machine: versions, tools, and the folder of journals and digest indexes."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snapstone import __version__
from snapstone.cli.quantities import binary, elapsed
from snapstone.client.errors import ClientError
from snapstone.client.transfer.folders import STATE_VARIABLE, Folders
from snapstone.client.transfer.journal import JournalStore

if TYPE_CHECKING:
    from snapstone.client.transfer.journal import KeptJournal


class CheckStatus(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    """Some commands will not work, or not well."""
    FAIL = "fail"
    """Nothing will work."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the doctor's report."""

    health: CheckStatus
    check: str
    """One or two words."""
    words: str
    advice: str = ""
    """How to fix it; empty if nothing needs to be done."""


def ok(check: str, words: str) -> CheckResult:
    """All is well."""
    return CheckResult(CheckStatus.OK, check, words)


def warn(check: str, words: str, advice: str) -> CheckResult:
    """Some commands will not work, or not well."""
    return CheckResult(CheckStatus.WARN, check, words, advice)


def fail(check: str, words: str, advice: str) -> CheckResult:
    """Nothing will work."""
    return CheckResult(CheckStatus.FAIL, check, words, advice)


ENOUGH_SPACE_BYTES: Final = 4 * 1024**3
"""The largest table of digests: 32 bytes for each block of 64 TiB."""

TOOLS: Final = ("qemu-nbd", "qemu-img")
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def versions() -> Iterator[CheckResult]:
    """Versions of Snapstone and its platform."""
    python = platform.python_version()
    yield ok(
        "versions", f"snapstone {__version__}, Python {python}, botocore {version('botocore')}, {platform.platform()}"
    )


def tools() -> Iterator[CheckResult]:
    """Programs needed for images in QEMU's formats."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        yield warn(
            "tools",
            f"{' and '.join(missing)} not found: only raw images are supported",
            "install QEMU's tools (Debian: apt install qemu-utils) for qcow2, vmdk and others",
        )
    else:
        yield ok("tools", ", ".join(f"{tool} is {shutil.which(tool)}" for tool in TOOLS))


def state_folder(now: float | None = None) -> Iterator[CheckResult]:
    """Check whether journals can be kept, so that transfers can resume, and list those that exist."""
    try:
        folders = Folders.standard()
    except ClientError as error:
        yield fail("state folder", str(error), f"set {STATE_VARIABLE} to a directory of your own")
        return
    yield from _permissions(folders.root)
    yield _space(_nearest(folders.root))
    if folders.journals.is_dir():
        for kept in JournalStore(folders.journals).list():
            yield _journal(kept, time.time() if now is None else now)


def _permissions(root: Path) -> Iterator[CheckResult]:
    existing = _nearest(root)
    if not existing.is_dir():
        yield fail(
            "state folder", f"{existing} is not a directory", f"remove it, or set {STATE_VARIABLE} to another one"
        )
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield fail("state folder", f"{existing} cannot be written", f"set {STATE_VARIABLE} to a directory of your own")
    elif existing != root:
        yield ok("state folder", f"{root} will be created when it is needed")
    elif root.stat().st_mode & _OTHERS_MAY_WRITE:
        yield fail("state folder", f"other users can write to {root}", f"chmod 700 {root}")
    elif os.geteuid() not in (root.stat().st_uid, 0):
        yield fail(
            "state folder", f"{root} belongs to another user", f"set {STATE_VARIABLE} to a directory of your own"
        )
    else:
        yield ok("state folder", f"{root}")


def _nearest(path: Path) -> Path:
    """The path, or the nearest above it that exists."""
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))


def _space(place: Path) -> CheckResult:
    free = shutil.disk_usage(place).free
    if free < ENOUGH_SPACE_BYTES:
        advice = f"free some space there, or set {STATE_VARIABLE} to another directory"
        return warn("space", f"{binary(free)} free in {place}: journals of large volumes may not fit", advice)
    return ok("space", f"{binary(free)} free in {place}")


def _journal(kept: KeptJournal, now: float) -> CheckResult:
    age = elapsed(max(now - kept.written_at, 0.0))
    if kept.fault is not None:
        return warn("journal", kept.fault, f"remove {kept.path}")
    if kept.holder is not None:
        return ok("journal", f"{kept.path} is in use: {kept.holder}")
    key = kept.facts.get("key")
    of = ", ".join(f"{name} {value}" for name, value in key.items() if value) if isinstance(key, dict) else "?"
    return warn(
        "journal",
        f"an unfinished transfer ({of}), last written {age} ago",
        f"run the same command to resume, or remove {kept.path}",
    )
