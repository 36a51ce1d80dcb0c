"""PutSnapshotBlock and CompleteSnapshot: how blocks get into a snapshot, and how it is closed."""

from __future__ import annotations

from typing import Final, Protocol

from snapstone.catalog.contract.catalog import NotWritableError
from snapstone.catalog.contract.snapshots import PendingWrite, Snapshot, SnapshotState
from snapstone.core.blocks import (
    BLOCK_SIZE,
    BLOCKS_PER_GIB,
    ZERO_DIGEST,
    Digest,
    checksum_from_digest,
    digest_from_checksum,
    digest_of,
)
from snapstone.core.errors import (
    BlockChecksumMismatchError,
    InvalidBlockError,
    InvalidParameterError,
    SnapshotNotFoundError,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.snapshots.encryption import keys_for_writing, require_enabled_key
from snapstone.service.visibility import not_writable, require_writable, written_by_caller
from snapstone.storage.contract import BlockBuffer

CHECKSUM_ALGORITHM: Final = "SHA256"

UNMATCHABLE: Final = Digest(bytes(32))
"""Stands for a declared checksum that is not a digest at all: no aggregate equals it."""

_STATUS: Final = {
    SnapshotState.PENDING: "pending",
    SnapshotState.SEALING: "pending",
    SnapshotState.COMPLETED: "completed",
    SnapshotState.ERROR: "error",
}


class BlockSource(Protocol):
    """A block's bytes on their way in (wire.http.Body)."""

    @property
    def declared_size(self) -> int | None:
        """Bytes announced, or None if the sender does not say."""

    def read_into(self, view: memoryview) -> int:
        """Fill `view`; fewer bytes than it takes mean that there are no more."""


def put_snapshot_block(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_id: str,
    block_index: int,
    block_data: BlockSource,
    data_length: int,
    checksum: str,
    checksum_algorithm: str,
    progress: int = 0,
) -> dict[str, object]:
    """Write one block to a pending snapshot; durable, with its place, when this returns.

    Whatever the request's head condemns is refused before the block is read. A refused put leaves the index as it was.

    Raises InvalidParameterError (another algorithm, or fewer bytes than a block has), InvalidBlockError (an index past
    the volume, another length, or more bytes), BlockChecksumMismatchError, SnapshotNotFoundError,
    SnapshotAlreadyCompletedError, KeyServiceError and KeyHiddenError (the key), OverloadedError, StoreFullError,
    StoreLostError, and whatever `block_data` raises as it is read. Source: docs/aws-behaviour/ebs-direct.md, EBS-PUT.
    """
    begun_at_ms = engine.timekeeper.due_running_ms()
    if checksum_algorithm != CHECKSUM_ALGORITHM:
        raise InvalidParameterError(
            f"Unsupported Checksum Algorithm '{checksum_algorithm}', supported algorithms are {CHECKSUM_ALGORITHM}"
        )
    snapshot = require_writable(engine, caller, snapshot_id, begun_at_ms)
    _check_place(snapshot, block_index)
    _check_size(block_data.declared_size, data_length)
    keys = keys_for_writing(engine, caller, snapshot)
    buffer = engine.objects.borrow_block_buffer()
    try:
        _receive(block_data, buffer, data_length)
        digest = digest_of(buffer.payload)
        if checksum_from_digest(digest) != checksum:
            raise BlockChecksumMismatchError(computed=checksum_from_digest(digest), expected=checksum)
        address = keys.address_of(digest)
        if digest != ZERO_DIGEST:
            engine.objects.put_block(address, buffer, keys.encryption(digest))
    finally:
        buffer.release()
    write = PendingWrite(block_index, address, digest)
    try:
        engine.catalog.record_write(snapshot.snapshot_id, write, progress, begun_at_ms, engine.timekeeper.running_ms())
    except NotWritableError as error:
        raise not_writable(snapshot_id, error.state) from None
    return {"Checksum": checksum, "ChecksumAlgorithm": CHECKSUM_ALGORITHM}


def complete_snapshot(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_id: str,
    changed_blocks_count: int,
    checksum: str | None = None,
    checksum_algorithm: str | None = None,
    checksum_aggregation_method: str | None = None,
) -> dict[str, object]:
    """Close a snapshot: from here no write is accepted, and what was declared is held against what was written.

    Waits a stated time for the seal; a wrong count or aggregate is the status `error`, as with AWS. Repeating it is
    harmless.

    Raises InvalidParameterError (some of the checksum's members without the others), SnapshotNotFoundError,
    KeyServiceError (the key is disabled) and KeyHiddenError (the key was destroyed).
    Source: docs/aws-behaviour/ebs-direct.md, EBS-COMPLETE.
    """
    _check_combination(checksum, checksum_algorithm, checksum_aggregation_method)
    snapshot = written_by_caller(engine, caller, snapshot_id)
    if snapshot is not None and snapshot.state is SnapshotState.PENDING:
        require_enabled_key(engine, snapshot)
        expected = None if checksum is None else digest_from_checksum(checksum) or UNMATCHABLE
        snapshot = engine.catalog.begin_seal(
            snapshot.snapshot_id,
            changed_blocks_count,
            expected,
            engine.now_ms(),
            engine.timekeeper.due_running_ms(),
        )
    if snapshot is not None and snapshot.state is SnapshotState.SEALING:
        engine.sealer.seal_and_wait(snapshot.snapshot_id, engine.settings.seal_wait_seconds)
        snapshot = engine.catalog.snapshot(snapshot.snapshot_id)
    if snapshot is None or snapshot.state is SnapshotState.DELETING:
        raise SnapshotNotFoundError((snapshot_id,))
    return {"Status": _STATUS[snapshot.state]}


def _check_place(snapshot: Snapshot, block_index: int) -> None:
    if block_index >= snapshot.volume_size_gib * BLOCKS_PER_GIB:
        raise InvalidBlockError(f"Block index {block_index} is beyond the volume size extent")


def _check_size(declared_size: int | None, data_length: int) -> None:
    """Refuse a body whose announced size cannot be a block's."""
    if declared_size is None:
        return
    if declared_size < BLOCK_SIZE:
        raise InvalidParameterError("Failed to read block data")
    if declared_size > BLOCK_SIZE:
        raise InvalidBlockError(f"Block data length {declared_size} is not valid, expected {BLOCK_SIZE}")
    _check_data_length(data_length)


def _check_data_length(data_length: int) -> None:
    if data_length != BLOCK_SIZE:
        raise InvalidBlockError(f"Block data length {data_length} is not valid, expected {BLOCK_SIZE}")


def _receive(block_data: BlockSource, buffer: BlockBuffer, data_length: int) -> None:
    """Read exactly one block into the buffer."""
    if block_data.read_into(buffer.payload) < BLOCK_SIZE:
        raise InvalidParameterError("Failed to read block data")
    if block_data.declared_size is None:
        if block_data.read_into(memoryview(bytearray(1))):
            raise InvalidBlockError(f"Block data is longer than {BLOCK_SIZE} bytes")
        _check_data_length(data_length)


def _check_combination(checksum: str | None, algorithm: str | None, method: str | None) -> None:
    """All three checksum members, or none."""
    if checksum is None and (algorithm is not None or method is not None):
        raise InvalidParameterError("Invalid parameter combination. Snapshot checksum is missing.")
    if checksum is not None and algorithm is None:
        raise InvalidParameterError("Invalid parameter combination. Checksum algorithm is missing.")
    if checksum is not None and method is None:
        raise InvalidParameterError("Invalid parameter combination. Checksum aggregation method is missing.")
