"""The client: moves disks into and out of snapshots, by the EBS direct APIs alone, against Snapstone and AWS alike.

`from snapstone.client import connect` is the way in; importing this package, or its errors, loads nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snapstone.client.session import Client, connect

__all__ = ["Client", "connect"]


def __getattr__(name: str) -> object:
    """The names of `session`, loaded when first used."""
    if name in __all__:
        from snapstone.client import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
