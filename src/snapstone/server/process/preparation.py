"""Prepares the catalog when a server starts, before any request is accepted; in one process at a time."""

from __future__ import annotations

import logging
from typing import Final

from snapstone.catalog.contract.catalog import Catalog
from snapstone.core.blocks import Address
from snapstone.server.config import Settings
from snapstone.server.folder.administration import ensure_administrator, open_identities
from snapstone.server.folder.data_folder import DataFolder, StartRefusedError
from snapstone.server.folder.refusals import start_refusals
from snapstone.service.snapshots.inventory import compare
from snapstone.service.timekeeper import begin_run
from snapstone.storage.index import Index, is_index
from snapstone.system.clock import MachineClocks

log = logging.getLogger(__name__)

OPTIONS: Final = {
    "accept_older_catalog": "--accept-older-catalog",
    "accept_lost_segments": "--accept-lost-segments",
}
"""Options that are for one start."""


def prepare_catalog(settings: Settings, folder: DataFolder) -> None:
    """Give the catalog an administrator, resume running time, and free the leases that a server left.

    Raises as `open_identities`, and if the catalog does not know snapshots whose manifests are there.
    """
    _warn_of_options(settings)
    with start_refusals(folder), open_identities(settings) as engine:
        if not settings.accept_older_catalog:
            _require_rows(engine.catalog, folder)
        adopt = settings.accept_older_catalog or folder.first_start.exists()
        ensure_administrator(engine, folder.credentials, adopt=adopt)
        begin_run(engine.catalog, MachineClocks())
        engine.catalog.release_leases()
    folder.end_first_start()


def _require_rows(catalog: Catalog, folder: DataFolder) -> None:
    """Refuse a catalog that has lost snapshots: their manifests are there. Raises StartRefusedError.

    An index that a crash left behind its segments never has too many manifests. A lost one is rebuilt by the
    workers, who compare again, and tell.
    """
    path = folder.objects / "index.db"
    with start_refusals(folder):
        if not is_index(path):
            return
        index = Index(path)
        try:
            lost = [address for address in compare(catalog, index).rowless if _is_readable(index, address)]
        finally:
            index.close()
    if lost:
        raise StartRefusedError(
            f"{folder.catalog} lacks {len(lost)} snapshots whose manifests are in {folder.objects}: it is an older "
            f"copy, or not the catalog of these objects. Restore the right {folder.catalog.name}, with its -wal; or "
            "restore what is possible with `snapstone check --repair`; or start once with --accept-older-catalog"
        )


def _is_readable(index: Index, address: Address) -> bool:
    place = index.find(address)
    return place is not None and not place.damaged


def _warn_of_options(settings: Settings) -> None:
    for name, option in OPTIONS.items():
        if getattr(settings, name):
            log.warning("an option for a single start is set", extra={"fields": {"option": option}})
