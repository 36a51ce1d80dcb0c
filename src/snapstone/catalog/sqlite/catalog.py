"""The catalog on one SQLite file: the default, for any number of processes on one machine."""

from __future__ import annotations

from pathlib import Path

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.sqlite.clock import ClockStatements
from snapstone.catalog.sqlite.connections import Connections, DamageReport
from snapstone.catalog.sqlite.identities import AccountStatements, IdentityStatements
from snapstone.catalog.sqlite.integrity import IntegrityStatements, InventoryStatements
from snapstone.catalog.sqlite.keys import DataKeyStatements, KeyStatements
from snapstone.catalog.sqlite.protection import ProtectionStatements, RemovalStatements
from snapstone.catalog.sqlite.sharing import SharingStatements
from snapstone.catalog.sqlite.snapshots import SnapshotStatements
from snapstone.catalog.sqlite.writes import FailureStatements, SealStatements


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
