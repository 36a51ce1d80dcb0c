"""What an upload is asked to make of an image: what goes together, how large the volume is, how it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from snapstone.client.api.values import StartRequest
from snapstone.client.errors import UsageError
from snapstone.client.images.contract import Source
from snapstone.client.images.extents import block_count_of
from snapstone.client.transfer.pending import new_client_token
from snapstone.core.blocks import GIB, MAX_VOLUME_SIZE_GIB

SIZE_TAG: Final = "snapstone:size"
"""Tag with the image's size in bytes, where that is no whole number of GiB: a download makes it as large again."""

TIMEOUT_MINUTES: Final = 1_440
"""How long the endpoint keeps an interrupted upload: long enough to come back to it the next morning."""


@dataclass(frozen=True)
class UploadRequest:
    """What is to be made of an image."""

    parent_id: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool | None = None
    kms_key_arn: str | None = None
    volume_size_gib: int | None = None

    def check(self, source: Source, dirty_block_end: int | None) -> None:
        """Raises UsageError for what does not go together. `dirty_block_end` is behind a dirty bitmap's last block."""
        if source.size == 0:
            raise UsageError(f"{source.name} is empty: there is nothing to make a snapshot of")
        if dirty_block_end is not None and self.parent_id is None:
            raise UsageError("a dirty bitmap says what changed since a parent: name the parent too")
        if dirty_block_end is not None and source.sequential:
            raise UsageError("a dirty bitmap needs an image that can be read anywhere, and a stream is not")
        if dirty_block_end is not None and dirty_block_end > block_count_of(source.size):
            raise UsageError(f"the dirty bitmap goes beyond the end of {source.name}: it is of another image")
        if self.parent_id is not None and (self.encrypted is not None or self.kms_key_arn is not None):
            raise UsageError(
                "a snapshot on a parent is encrypted as its parent is: leave out encryption, or the parent"
            )

    def volume_size_for(self, source: Source, parent_size_gib: int) -> int:
        """GiB: as asked for; else what the image needs, and no less than the parent's (0 where there is none)."""
        needed = -(-source.size // GIB)
        least = max(needed, parent_size_gib)
        chosen = self.volume_size_gib or least
        if needed > MAX_VOLUME_SIZE_GIB:
            raise UsageError(f"{source.name} has {source.size} bytes, and a snapshot at most 64 TiB")
        if chosen < needed:
            raise UsageError(f"{source.name} needs {needed} GiB, and a volume of {chosen} GiB was asked for")
        if chosen < least:
            raise UsageError(f"the parent has {least} GiB, and a child of {chosen} GiB cannot be smaller")
        return chosen

    def start(self, source: Source, volume_size_gib: int) -> StartRequest:
        """How the snapshot is started, under a client token of its own."""
        tags = dict(self.tags)
        if source.size % GIB and not source.sequential:
            tags.setdefault(SIZE_TAG, str(source.size))
        return StartRequest(
            volume_size_gib=volume_size_gib,
            client_token=new_client_token(),
            parent_id=self.parent_id,
            description=self.description,
            tags=tags,
            encrypted=self.encrypted,
            kms_key_arn=self.kms_key_arn,
            timeout_minutes=TIMEOUT_MINUTES,
        )
