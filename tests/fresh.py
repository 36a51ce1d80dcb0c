"""New catalogs and indexes, copied from a pair made once: creating their tables takes longer than most tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.storage.index import Index


def copy_databases(folder: Path) -> None:
    """Give a new folder the empty catalog and index that an installation would create in it."""
    for path in _made_once().iterdir():
        shutil.copy(path, folder / path.name)


def catalog_opener(path: Path) -> Callable[[], SqliteCatalog]:
    """A function that opens a new catalog named `catalog.db`, and opens it again."""
    for made in _made_once().glob("catalog.db*"):
        shutil.copy(made, path.with_name(made.name))
    return partial(SqliteCatalog, path)


@cache
def _made_once() -> Path:
    """A folder with both, closed, of this process."""
    folder = Path(tempfile.mkdtemp(prefix="snapstone-fresh-"))
    atexit.register(_remove, folder, os.getpid())
    SqliteCatalog(folder / "catalog.db").close()
    Index(folder / "index.db").close()
    return folder


def _remove(folder: Path, maker: int) -> None:
    """Remove it at the end of the process that made it, not of its children."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
