"""Where a download goes: the image, its journal, and what an earlier run may have left of either."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.durable import sync_folder
from snapstone.client.errors import UsageError
from snapstone.client.images.contract import Target
from snapstone.client.images.part_file import part_path
from snapstone.client.images.refusals import refusal
from snapstone.client.images.sources import RAW, open_source
from snapstone.client.images.targets import open_target
from snapstone.client.transfer.journal import Journal, JournalStore
from snapstone.client.transfer.probes import probes
from snapstone.core.blocks import BLOCK_SIZE, digest_of

COMMITTING: Final = "committing"
"""Stage of a journal: every block is written, and the image is synced and gets its name. Where a run finds both this
stage and an unfinished image, that sync may have failed: what is read of the image may be in memory alone."""


@dataclass(frozen=True)
class Place:
    """An image of `size` bytes that is to hold a snapshot; with `from_id`, one that holds that already."""

    service: Service
    path: str
    snapshot_id: str
    from_id: str | None
    size: int
    format: str | None
    force: bool

    @property
    def key(self) -> Mapping[str, object]:
        """What makes two runs the same download."""
        return {
            "kind": "download",
            "endpoint": self.service.endpoint.url,
            "region": self.service.endpoint.region,
            "snapshot_id": self.snapshot_id,
            "from_snapshot_id": self.from_id,
            "target": os.path.abspath(self.path),
            "size": self.size,
            "format": self.format,
        }

    @property
    def _part_name(self) -> str:
        return self.snapshot_id if self.from_id is None else f"{self.from_id}.{self.snapshot_id}"

    def open(self, journal: Journal, *, resume: bool) -> Target:
        """The target; what an earlier run left of it is thrown away without `resume`, and where a sync of it may have
        failed that cannot be made good by writing the blocks again."""
        target = self._opened()
        sound = target.fixed_places or journal.facts.get("stage") != COMMITTING
        if target.resumed and not (resume and sound):
            target.discard()
            target = self._opened()
        return target

    def _opened(self) -> Target:
        return open_target(
            self.path,
            self.size,
            part_name=self._part_name,
            force=self.force,
            format=self.format,
            existing=self.from_id is not None,
        )

    def published_count(self, journal: Journal) -> int | None:
        """Blocks of an image that got its name just before an earlier run was killed; None where it did not.

        It was synced before it got its name, so what is read of it is on the disk; its name may not be.
        """
        place = Path(os.path.abspath(self.path))
        parts = [part_path(place, name) for name in (self._part_name, f"{self._part_name}.{self.format}")]
        if journal.facts.get("stage") != COMMITTING or not place.is_file() or any(map(os.path.lexists, parts)):
            return None
        buffer, count = memoryview(bytearray(BLOCK_SIZE)), 0
        with closing(open_source(place, format=self.format or RAW)) as image:
            for block_index, digest in journal.table.items():
                if block_index * BLOCK_SIZE < image.size:
                    image.read(block_index, buffer)
                    if digest_of(buffer) != digest:
                        return None
                count += 1
        try:
            sync_folder(place.parent)
        except OSError as error:
            raise refusal(error, str(place), "keep its name") from error
        return count

    def check_not_half_way(self, store: JournalStore) -> None:
        """A device that is half way to another snapshot holds a mixture: changes applied to it would make another."""
        if self.from_id is None or not os.path.exists(self.path) or not stat.S_ISBLK(os.stat(self.path).st_mode):
            return
        for kept in store.list():
            other = kept.facts.get("key")
            if isinstance(other, Mapping) and other.get("target") == self.key["target"] and dict(other) != self.key:
                raise UsageError(
                    f"{self.path} is half way to {other.get('snapshot_id')}: finish that download, or download the "
                    "whole without --from"
                )

    def check_holds(self, target: Target, volume_size: int) -> None:
        """Look at a few blocks of `from_id`, here and there: a wrong image would become a mixture of two."""
        if self.from_id is None:
            return
        wanted, found = memoryview(bytearray(BLOCK_SIZE)), memoryview(bytearray(BLOCK_SIZE))
        for _, block in probes(self.service, self.from_id, volume_size // BLOCK_SIZE):
            if block is None:
                continue
            digest = self.service.get_block(self.from_id, block.block_index, block.token, wanted)
            target.read(block.block_index, found)
            if digest_of(found) != digest:
                raise UsageError(
                    f"{self.path} does not hold {self.from_id}: block {block.block_index} is another. Name the "
                    "snapshot that it holds, or download the whole without --from"
                )
