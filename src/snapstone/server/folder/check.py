"""A data folder checked completely: its files, its root key and credentials, and all that catalog and store hold.

Beside a running server it is one more process on the same catalog and store; without one it opens them as a start does,
so records that a crash left out of the index are found first. Nothing is changed unless a repair is requested.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.blocks import Address
from snapstone.core.errors import DamageError
from snapstone.core.tokens import TOKEN_KEY_SIZE, TokenSeal
from snapstone.server.config import Settings, SettingsError
from snapstone.server.folder.administration import require_same
from snapstone.server.folder.credentials import read_credentials
from snapstone.server.folder.data_folder import DataFolder, DataFolderError, StartRefusedError, check_format
from snapstone.server.folder.refusals import start_refusals
from snapstone.server.folder.root_key import read_root_key
from snapstone.service.check.keys import opens_anything
from snapstone.service.check.problems import CheckProblem, Counts, Progress
from snapstone.service.check.whole import check_all
from snapstone.service.engine import Engine, ServiceSettings
from snapstone.service.health import Health
from snapstone.service.key_ring import HeldRootKey, KeyRing
from snapstone.service.manifests import seal_guard
from snapstone.service.sealing import Sealer
from snapstone.service.timekeeper import Timekeeper
from snapstone.storage.pages import PageStore
from snapstone.storage.segment_store import SegmentStore
from snapstone.system.clock import MachineClocks, now_ms

NOT_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Options of a check."""

    repair: bool = False
    read_data: bool = False


class _Silent:
    """Damage reports of a check, which reports its own findings."""

    def report(self, address: Address, place: str, what: str) -> DamageError:
        return DamageError(address.hex(), f"{place}: {what}")


def check_folder(
    settings: Settings, wanted: CheckOptions, counts: Counts, progress: Progress
) -> Iterator[CheckProblem]:
    """Everything that is wrong with a data folder, as it is found; what keeps it from being opened is the last.

    Raises DataFolderError if there is no data folder.
    """
    folder = DataFolder(settings.data)
    if not folder.format.exists():
        raise DataFolderError(f"there is no data folder {folder.path}, or no server has run on it yet")
    yield from _check_files(folder)
    with ExitStack() as opened:
        try:
            engine = _open(settings, folder, opened)
        except (SettingsError, StartRefusedError, DataFolderError) as error:
            yield CheckProblem(str(folder.path), error.message, "then check again: the check stopped here")
            return
        if opens_anything(engine) is False:
            what = "the root key does not open anything in the catalog"
            yield CheckProblem(
                "root key", what, "give the right one with --root-key-file, --root-key-command or their variables"
            )
            return
        yield from _check_credentials(engine, folder)
        yield from check_all(engine, counts, progress, repair=wanted.repair, read_data=wanted.read_data)


def _check_files(folder: DataFolder) -> Iterator[CheckProblem]:
    """FORMAT, and who may read what is secret."""
    try:
        check_format(folder)
    except DataFolderError as error:
        yield CheckProblem(str(folder.format), error.message, "restore it from a backup, or run the newer Snapstone")
    for path in (folder.root_key, folder.credentials, folder.catalog):
        if _is_open_to_others(path):
            yield CheckProblem(str(path), "users other than its owner can access it", f"chmod 600 {path}")
    if _is_open_to_others(folder.path):
        yield CheckProblem(str(folder.path), "users other than its owner can access it", f"chmod 700 {folder.path}")


def _is_open_to_others(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & NOT_FOR_OTHERS)


def _check_credentials(engine: Engine, folder: DataFolder) -> Iterator[CheckProblem]:
    if not folder.credentials.exists():
        return  # the next start makes another pair
    try:
        pair = read_credentials(folder.credentials)
        require_same(engine, folder.credentials, pair, engine.catalog.sealed_access_key(pair.access_key_id))
    except DataFolderError as error:
        yield CheckProblem(str(folder.credentials), error.message, "remove it: the next start creates a new key")


def _open(settings: Settings, folder: DataFolder, opened: ExitStack) -> Engine:
    """An engine on the folder, closed with `opened`. Raises SettingsError, DataFolderError."""
    root_key = HeldRootKey(read_root_key(settings, folder), os.urandom)
    health, damage = Health(), _Silent()
    with start_refusals(folder):
        catalog = opened.enter_context(closing(SqliteCatalog(folder.catalog, create=False)))
        keys = KeyRing(catalog, root_key, now_ms, os.urandom, health=health, damage=damage)
        objects = opened.enter_context(
            closing(
                SegmentStore(
                    folder.objects, now_ms=now_ms, block_buffers=settings.block_buffers, find_data_key=keys.data_key
                )
            )
        )
    pages = PageStore(objects, cache_bytes=settings.page_cache_bytes)
    timekeeper = Timekeeper(catalog, MachineClocks())
    engine = Engine(
        catalog=catalog,
        objects=objects,
        pages=pages,
        tokens=TokenSeal(os.urandom(TOKEN_KEY_SIZE)),  # no token is made or opened here
        sealer=Sealer(
            catalog,
            objects,
            pages,
            timekeeper,
            now_ms,
            keys.data_key,
            lambda snapshot: seal_guard(engine, snapshot),
        ),
        now_ms=now_ms,
        random_bytes=os.urandom,
        keys=keys,
        health=health,
        timekeeper=timekeeper,
        settings=ServiceSettings(settings.default_max_results, settings.seal_wait_seconds),
        damage=damage,
    )
    return engine
