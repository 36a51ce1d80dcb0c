"""A few blocks of a snapshot, spread over the volume, by which something that is said to be equal to it is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from snapstone.client.api.control_calls import SHORTEST_PAGE
from snapstone.client.api.service import Service
from snapstone.client.api.values import ListedBlock

PROBE_COUNT: Final = 4
"""Places that are looked at, the volume's beginning among them."""


def probes(service: Service, snapshot_id: str, block_count: int) -> Iterator[tuple[int, ListedBlock | None]]:
    """Places of a volume of so many blocks, and the first block that is present there or behind, if there is one."""
    for start in range(0, block_count, -(-block_count // PROBE_COUNT)):
        pages = service.block_pages(snapshot_id, start, SHORTEST_PAGE)
        yield start, next((block for page in pages for block in page.blocks), None)
