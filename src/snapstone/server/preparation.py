"""What a starting server does to the catalog before any request is taken; for one process at a time."""

from __future__ import annotations

from snapstone.server.administrator import ensure_administrator
from snapstone.server.clock import MachineClocks
from snapstone.server.config import Settings
from snapstone.server.data_folder import DataFolder
from snapstone.server.identities import open_identities
from snapstone.service.timekeeper import begin_run


def prepare_catalog(settings: Settings, folder: DataFolder) -> None:
    """Give the catalog an administrator, let running time go on, and free the leases that a server left.

    Raises as `open_identities`.
    """
    with open_identities(settings) as engine:
        ensure_administrator(engine, folder.credentials)
        begin_run(engine.catalog, MachineClocks())
        engine.catalog.release_seals()
        engine.catalog.release_copies()
