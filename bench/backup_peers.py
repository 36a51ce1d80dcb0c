"""The client's peers: `cp` and `sync`, restic and borg, each moving one image to where nothing is yet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.snapstone_client import timed

PROGRAMS: Final = ("restic", "borg")


def missing() -> list[str]:
    """Programs of the peers that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def copy_seconds(image: Path, folder: Path) -> float:
    """`cp`, then `sync` of the copy."""
    copy = folder / "copy"
    begun = timed(["cp", "--reflink=never", str(image), str(copy)], os.environ)[0]
    synced = timed(["sync", str(copy)], os.environ)[0]
    copy.unlink()
    return begun + synced


def restic_seconds(image: Path, folder: Path) -> float:
    """`restic backup` into a new repository, with a new cache; it syncs each of its files."""
    home = folder / "restic"
    environment = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(home / "repository")}
    environment["RESTIC_CACHE_DIR"] = str(home / "cache")
    home.mkdir()
    timed(["restic", "--quiet", "init"], environment)
    seconds = timed(["restic", "--quiet", "backup", str(image)], environment)[0]
    shutil.rmtree(home)
    return seconds


def borg_seconds(image: Path, folder: Path) -> float:
    """`borg create`, neither compressed nor encrypted, into a new repository; it syncs each of its segments."""
    home = folder / "borg"
    home.mkdir()
    environment = _borg_environment(home)
    repository = str(home / "repository")
    timed(["borg", "init", "--encryption", "none", repository], environment)
    seconds = timed(["borg", "create", "--compression", "none", f"{repository}::image", str(image)], environment)[0]
    shutil.rmtree(home)
    return seconds


def _borg_environment(home: Path) -> Mapping[str, str]:
    return {**os.environ, "BORG_BASE_DIR": str(home), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
