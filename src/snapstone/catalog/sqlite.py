"""The catalog on one SQLite file: the default, for any number of processes on one machine."""

from __future__ import annotations

from pathlib import Path

from snapstone.catalog.accounts import AccountStatements
from snapstone.catalog.clock import ClockStatements
from snapstone.catalog.connections import Connections
from snapstone.catalog.contract import Catalog
from snapstone.catalog.data_keys import DataKeyStatements
from snapstone.catalog.failures import FailureStatements
from snapstone.catalog.identities import IdentityStatements
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
    Catalog,
):
    """`contract.Catalog` on SQLite in WAL mode, synced at every commit; its statements are grouped by subject.

    Beside the file `path` lie SQLite's own `-wal` and `-shm` and the lock for writers, `-lock`; all are readable only
    by their owner. The folder must exist. Raises NewerCatalogError where a newer version has written the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(Connections(path))

    def check(self) -> None:
        with self._connections.reading() as connection:
            connection.execute("SELECT max(number) FROM schema_migration").fetchall()

    def close(self) -> None:
        self._connections.close()
