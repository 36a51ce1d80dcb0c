"""ListSnapshotBlocks, ListChangedBlocks and GetSnapshotBlock: how blocks are found, compared and read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.block_map import BlockDifference, BlockEntry, list_blocks, list_differences
from snapstone.core.blocks import BLOCK_SIZE, checksum_from_digest
from snapstone.core.errors import FirstSnapshotMissingError, SnapshotNotFoundError, UnrelatedSnapshotsError
from snapstone.core.tokens import BLOCK_TOKEN_LIFE_SECONDS, PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import Caller, Engine
from snapstone.service.manifests import hold_against_manifest
from snapstone.service.snapshots.encryption import keys_for_reading, require_listable
from snapstone.service.snapshots.write import CHECKSUM_ALGORITHM
from snapstone.service.visibility import readable, require_readable
from snapstone.storage.contract import BlockBuffer
from snapstone.storage.record import ZERO_BLOCK

Answer = dict[str, object]
Entry = TypeVar("Entry", BlockEntry, BlockDifference)


def list_snapshot_blocks(
    engine: Engine,
    caller: Caller,
    *,
    snapshot_id: str,
    next_token: str | None = None,
    max_results: int | None = None,
    starting_block_index: int = 0,
) -> Answer:
    """The blocks present in a snapshot, written there or inherited, with a token for each.

    Raises SnapshotNotFoundError, PublicSnapshotError, SnapshotArchivedError, InvalidPageTokenError, KeyServiceError and
    KeyHiddenError (the key of an encrypted one), and DamageError. Source: docs/aws-behaviour/ebs-direct.md, EBS-LIST.
    """
    snapshot = require_readable(engine, caller, snapshot_id)
    require_listable(engine, caller, snapshot)
    hold_against_manifest(engine, snapshot)
    listing = _Listing(engine, ("ListSnapshotBlocks", caller.account_id, snapshot_id), max_results)
    start = listing.start(next_token, starting_block_index)
    with engine.keys.under(snapshot.kms_key_arn):
        page, next_index = listing.page(list_blocks(engine.pages, snapshot.root, start))
    token = engine.tokens.block_token_maker(snapshot.snapshot_id, listing.expires_at_seconds)
    blocks: list[Answer] = [{"BlockIndex": index, "BlockToken": token(index, address)} for index, address in page]
    return listing.answer("Blocks", blocks, next_index, snapshot)


def list_changed_blocks(
    engine: Engine,
    caller: Caller,
    *,
    second_snapshot_id: str,
    first_snapshot_id: str | None = None,
    next_token: str | None = None,
    max_results: int | None = None,
    starting_block_index: int = 0,
) -> Answer:
    """The blocks whose content differs between two snapshots of one lineage.

    A block present in one of them only has that one's token alone. Full pages are returned while there is more.
    Raises FirstSnapshotMissingError, UnrelatedSnapshotsError, and what `list_snapshot_blocks` raises, for either one.
    Source: docs/aws-behaviour/ebs-direct.md, EBS-DIFF.
    """
    if not first_snapshot_id:
        raise FirstSnapshotMissingError
    first = readable(engine, caller, first_snapshot_id)
    second = readable(engine, caller, second_snapshot_id)
    if first is None or second is None:
        raise SnapshotNotFoundError((first_snapshot_id, second_snapshot_id))
    if first.lineage_id != second.lineage_id:
        raise UnrelatedSnapshotsError(first_snapshot_id, second_snapshot_id)
    for snapshot in (first, second):
        require_listable(engine, caller, snapshot)
        hold_against_manifest(engine, snapshot)
    call = ("ListChangedBlocks", caller.account_id, first_snapshot_id, second_snapshot_id)
    listing = _Listing(engine, call, max_results)
    start = listing.start(next_token, starting_block_index)
    with engine.keys.under(second.kms_key_arn):
        page, next_index = listing.page(list_differences(engine.pages, first.root, second.root, start))
    first_token = engine.tokens.block_token_maker(first.snapshot_id, listing.expires_at_seconds)
    second_token = engine.tokens.block_token_maker(second.snapshot_id, listing.expires_at_seconds)
    blocks: list[Answer] = [
        {
            "BlockIndex": index,
            "FirstBlockToken": None if first_address is None else first_token(index, first_address),
            "SecondBlockToken": None if second_address is None else second_token(index, second_address),
        }
        for index, first_address, second_address in page
    ]
    return listing.answer("ChangedBlocks", blocks, next_index, second)


def get_snapshot_block(
    engine: Engine, caller: Caller, *, snapshot_id: str, block_index: int, block_token: str
) -> Answer:
    """One block's bytes, checked against what was written; the caller releases `BlockData`.

    Raises SnapshotNotFoundError, PublicSnapshotError, SnapshotArchivedError, InvalidBlockTokenError, KeyServiceError
    and KeyHiddenError (the key of an encrypted one), and DamageError.
    Source: docs/aws-behaviour/ebs-direct.md, EBS-GET.
    """
    snapshot = require_readable(engine, caller, snapshot_id)
    keys = keys_for_reading(engine, caller, snapshot)
    address = engine.tokens.open_block_token(block_token, snapshot.snapshot_id, block_index, engine.now_ms() / 1000)
    if address == keys.zero_address:
        block: BlockBuffer = ZERO_BLOCK
    else:
        with engine.keys.under(snapshot.kms_key_arn):
            block = engine.objects.get_block(address)
    return {
        "BlockData": block,
        "Checksum": checksum_from_digest(block.digest),
        "ChecksumAlgorithm": CHECKSUM_ALGORITHM,
        "DataLength": BLOCK_SIZE,
    }


class _Listing:
    """The common part of the two lists: where a page starts and ends, and the members around its entries."""

    def __init__(self, engine: Engine, call: tuple[str, ...], max_results: int | None) -> None:
        self._engine = engine
        self._call = call
        self._max_results = engine.settings.default_max_results if max_results is None else max_results
        self._now_seconds = engine.now_ms() // 1000
        self.expires_at_seconds = self._now_seconds + BLOCK_TOKEN_LIFE_SECONDS

    def start(self, next_token: str | None, starting_block_index: int) -> int:
        """The block index to resume from: the token's, if there is one."""
        if next_token is None:
            return starting_block_index
        return self._engine.tokens.open_page_token(next_token, self._call, self._now_seconds)

    def page(self, entries: Iterable[Entry]) -> tuple[list[Entry], int | None]:
        """As many entries as the caller requested, and the block index of the next one, if any."""
        taken = list(islice(entries, self._max_results + 1))
        next_index = taken.pop()[0] if len(taken) > self._max_results else None
        return taken, next_index

    def answer(self, member: str, blocks: list[Answer], next_index: int | None, snapshot: Snapshot) -> Answer:
        """The members of both answers, in alphabetical order."""
        next_token = None
        if next_index is not None:
            expires_at_seconds = self._now_seconds + PAGE_TOKEN_LIFE_SECONDS
            next_token = self._engine.tokens.page_token(self._call, next_index, expires_at_seconds)
        return {
            "BlockSize": BLOCK_SIZE,
            member: blocks,
            "ExpiryTime": self.expires_at_seconds * 1000,
            "NextToken": next_token,
            "VolumeSize": snapshot.volume_size_gib,
        }
