"""Requests to an endpoint and its answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

ABSENT_ID: Final = "snap-fffffffffffffffff"
"""A well-formed id that nobody will ever mint: IDs are random, with 68 bits. Calls about it reveal permissions."""


@dataclass(frozen=True)
class StartRequest:
    """A snapshot to be started. `client_token` makes a repeat of the call harmless."""

    volume_size_gib: int
    client_token: str
    parent_id: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool | None = None
    kms_key_arn: str | None = None
    timeout_minutes: int = 60
    """Minutes without a put after which the endpoint gives the snapshot up: 10 to 4320."""


@dataclass(frozen=True, slots=True)
class ListedBlock:
    """One entry of ListSnapshotBlocks."""

    block_index: int
    token: str


@dataclass(frozen=True, slots=True)
class ChangedBlock:
    """One entry of ListChangedBlocks; None if the block is absent, and so reads as zeros, on that side."""

    block_index: int
    first_token: str | None
    second_token: str | None


@dataclass(frozen=True, slots=True)
class BlockPage:
    """One page of ListSnapshotBlocks."""

    volume_size_gib: int
    blocks: tuple[ListedBlock, ...]


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One page of ListChangedBlocks."""

    volume_size_gib: int
    """Of the second snapshot."""
    blocks: tuple[ChangedBlock, ...]


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot as EC2 describes it."""

    snapshot_id: str
    state: str
    """`pending`, `completed`, `error`, `recoverable` or `recovering`."""
    volume_size_gib: int
    started_at: datetime
    description: str
    tags: Mapping[str, str]
    encrypted: bool
    owner_id: str
    progress: str
    kms_key_arn: str | None = None
    state_message: str | None = None
    full_size: int | None = None
    """Bytes of all blocks that are present, if the endpoint reports it."""
    storage_tier: str | None = None
