"""The overlay: botocore data that gives boto3's `ebs` client the paginators and waiters that AWS does not ship.

botocore looks for its data in the folders of AWS_DATA_PATH first, then in ~/.aws/models, then in its own package. The
overlay's folder has no service model, so botocore's own one is used, whichever release it is. The paginators come as
`sdk-extras`, which botocore merges into what it has: what it may learn itself one day is not hidden.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).with_name("botocore_data")
"""The folder for AWS_DATA_PATH."""

Session = Any
"""A session of boto3 or of botocore: neither is typed, and boto3 need not be installed."""


def path_with_overlay(path: str | None) -> str:
    """The value of AWS_DATA_PATH that has the overlay behind whatever `path`, its present value, has."""
    folders = path.split(os.pathsep) if path else []
    return os.pathsep.join(folders if str(FOLDER) in folders else [*folders, str(FOLDER)])


def register(session: Session) -> None:
    """Give the overlay to one session, of boto3 or botocore, for all clients that it makes from now on.

    The session gets a new loader, because its present one may remember that `ebs` has no waiters.
    """
    from botocore.loaders import Loader

    core = session if hasattr(session, "get_component") else session._session
    folders: list[str] = list(core.get_component("data_loader").search_paths)
    if str(FOLDER) in folders:
        return
    place = folders.index(Loader.BUILTIN_DATA_PATH) if Loader.BUILTIN_DATA_PATH in folders else len(folders)
    folders.insert(place, str(FOLDER))
    core.register_component("data_loader", Loader(extra_search_paths=folders, include_default_search_paths=False))
