"""Identifiers: which texts are snapshot ids, account ids and regions, and how new ones look."""

from __future__ import annotations

import re
from typing import Final, NewType

SnapshotId = NewType("SnapshotId", str)
"""`snap-` and lower-case hexadecimal digits; 17 of them when Snapstone mints it."""

AccountId = NewType("AccountId", str)
"""Twelve decimal digits."""

Region = NewType("Region", str)
"""A region's name, such as `eu-central-1`: a namespace inside one store."""

SNAPSHOT_ID_RANDOM_SIZE: Final = 9
"""Random bytes that `mint_snapshot_id` takes (17 of their 18 hexadecimal digits are used)."""

_SNAPSHOT_ID = re.compile(r"snap-(?!0+$)(?:[0-9a-f]{8}|[0-9a-f]{17})")


def mint_snapshot_id(random: bytes) -> SnapshotId:
    """A new id from `SNAPSHOT_ID_RANDOM_SIZE` random bytes, in the form AWS mints: `snap-` and 17 hex digits."""
    return SnapshotId("snap-" + random.hex()[:17])


def is_minted_snapshot_id(text: str) -> bool:
    """Whether `text` has a form that AWS has minted: 17 hex digits, or 8 in the oldest ids; never all zeros."""
    return _SNAPSHOT_ID.fullmatch(text) is not None


DIRECT_VOLUME_ID: Final = "vol-ffffffff"
"""The volume ID that AWS shows for a snapshot made by the EBS direct APIs, and for a copy."""
