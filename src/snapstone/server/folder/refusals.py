"""Why a start is refused: one sentence that names the file and what to do, in place of a traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from snapstone.catalog.contract.errors import CatalogUnavailableError
from snapstone.catalog.sqlite.opening import CatalogError, CatalogMissingError, NewerCatalogError
from snapstone.core.errors import DamageError, StoreFullError
from snapstone.server.folder.data_folder import DataFolder, StartRefusedError
from snapstone.storage.index import IndexVersionError
from snapstone.storage.recovery import StoreMissingError


@contextmanager
def start_refusals(folder: DataFolder) -> Iterator[None]:
    """Errors of opening catalog and object store as StartRefusedError."""
    try:
        yield
    except CatalogMissingError as error:
        raise StartRefusedError(
            f"{error}. The folder had one, so no new one is created. If it is permanently lost, start once with "
            "--accept-older-catalog; `snapstone check --repair` then restores snapshots that are not encrypted"
        ) from error
    except NewerCatalogError as error:
        raise StartRefusedError(f"{folder.catalog} is of a newer version: {error}") from error
    except (CatalogError, StoreMissingError, IndexVersionError) as error:
        raise StartRefusedError(str(error)) from error
    except StoreFullError as error:
        raise StartRefusedError(f"the disk of {folder.path} is full ({error.what}); free some space on it") from error
    except DamageError as error:
        raise StartRefusedError(
            f"{folder.path} is damaged: {error.address}: {error.what}. `snapstone check` lists what else is; restore "
            "the damaged file from a backup"
        ) from error
    except UnicodeDecodeError as error:
        # SQLite names what it does not understand, in bytes that are not text any more.
        raise StartRefusedError(
            f"{folder.catalog} is damaged ({error}); restore it from a backup, with its -wal if the backup has one"
        ) from error
    except (sqlite3.Error, CatalogUnavailableError) as error:
        raise StartRefusedError(f"a database in {folder.path} cannot be used: {error}") from error
