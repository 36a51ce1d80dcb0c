"""The catalog on one SQLite file: the default, for any number of processes on one machine."""

from __future__ import annotations

from pathlib import Path

from snapstone.catalog.accounts import AccountStatements
from snapstone.catalog.clock import ClockStatements
from snapstone.catalog.connections import Connections, DamageReport
from snapstone.catalog.contract import Catalog
from snapstone.catalog.data_keys import DataKeyStatements
from snapstone.catalog.failures import FailureStatements
from snapstone.catalog.identities import IdentityStatements
from snapstone.catalog.integrity import IntegrityStatements
from snapstone.catalog.inventory import InventoryStatements
from snapstone.catalog.keys import KeyStatements
from snapstone.catalog.protection import ProtectionStatements
from snapstone.catalog.removal import RemovalStatements
from snapstone.catalog.sealing import SealStatements
from snapstone.catalog.sharing import SharingStatements
from snapstone.catalog.snapshots import SnapshotStatements


class SqliteCatalog(
    AccountStatements,
    ClockStatements,
    FailureStatements,
    IdentityStatements,
    DataKeyStatements,
    KeyStatements,
    SnapshotStatements,
    SharingStatements,
    ProtectionStatements,
    SealStatements,
    RemovalStatements,
    IntegrityStatements,
    InventoryStatements,
    Catalog,
):
    """`contract.Catalog` on SQLite in WAL mode, synced at every commit; its statements are grouped by subject.

    Beside the file `path` lie SQLite's own `-wal` and `-shm`, the lock for writers, `-lock`, and `-changes`, which says
    what the catalog must at least hold; all are readable only by their owner. The folder must exist.

    Raises CatalogError, one sentence with the remedy, for a catalog that is missing (unless it may `create` one), older
    than what was acknowledged (unless `accept_older`), of a newer version, damaged, or not to be written.
    """

    def __init__(self, path: Path, *, create: bool = True, accept_older: bool = False) -> None:
        super().__init__(Connections(path, create=create, accept_older=accept_older))

    def watch_damage(self, report: DamageReport) -> None:
        """Have `report` called, from any thread, for each place of the catalog that was found damaged, and will be."""
        self._connections.watch_damage(report)

    def check(self) -> None:
        with self._connections.reading() as connection:
            connection.execute("SELECT max(number) FROM schema_migration").fetchall()

    def is_in_place(self) -> bool:
        return self._connections.is_in_place()

    @property
    def turn(self) -> int | None:
        """As `Connections.turn`."""
        return self._connections.turn

    @property
    def awaits_turn(self) -> bool:
        """As `Connections.awaits_turn`."""
        return self._connections.awaits_turn

    def close(self) -> None:
        self._connections.close()
