"""A whole installation below the wire: real catalog and segment store, the operations, and a clock that tests move."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.blocks import BLOCK_SIZE, checksum_from_digest
from snapstone.core.clock_trust import ClockReading
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.policy.principals import root_principal
from snapstone.core.tokens import TokenSeal
from snapstone.service.ec2.snapshots import delete_snapshot
from snapstone.service.engine import Caller, Engine, ServiceSettings
from snapstone.service.health import Health, LoggedDamage, StoreGate
from snapstone.service.key_ring import HeldRootKey, KeyRing
from snapstone.service.manifests import seal_guard
from snapstone.service.sealing import Sealer
from snapstone.service.snapshots.read import get_snapshot_block, list_changed_blocks, list_snapshot_blocks
from snapstone.service.snapshots.start import start_snapshot
from snapstone.service.snapshots.write import complete_snapshot, put_snapshot_block
from snapstone.service.timekeeper import Timekeeper, begin_run
from snapstone.service.upkeep import Upkeep
from snapstone.storage.contract import ObjectStore
from snapstone.storage.pages import PageStore
from snapstone.storage.segment_store import SegmentStore

START_MS: Final = 1_790_337_440_328
"""What the clock says first."""

MINUTE_MS: Final = 60_000

ACCOUNT: Final = AccountId("111122223333")

CALLER: Final = Caller(ACCOUNT, Region("eu-central-1"), "AKIAEXAMPLE", root_principal(ACCOUNT))

SEGMENT_SIZE: Final = 16 << 20

ZERO: Final = bytes(BLOCK_SIZE)

Answer = dict[str, Any]
Blocks = Mapping[int, bytes]
"""Block index to its 524,288 bytes."""


def block(name: str) -> bytes:
    """A block of its own for each name: the line that the vectors of EBS-COMPLETE repeat, cut to a block's size."""
    line = f"stackd-ebs-synthetic-{name}\n".encode()
    return (line * (BLOCK_SIZE // len(line) + 1))[:BLOCK_SIZE]


def checksum(content: bytes) -> str:
    """Base64 of the SHA-256 of some bytes."""
    return checksum_from_digest(sha256(content).digest())


def aggregate(blocks: Blocks) -> str:
    """The linear checksum: SHA-256 of the raw digests, in ascending order of block index."""
    return checksum(b"".join(sha256(blocks[index]).digest() for index in sorted(blocks)))


@dataclass
class Clock:
    """All clocks of a machine, standing still until a test moves them; called, the wall clock."""

    now_ms: int = START_MS
    """Milliseconds since the epoch."""
    set_by_ms: int = 0
    """By how much the wall clock alone has been set."""
    boot_id: str = "boot"

    def __call__(self) -> int:
        return self.now_ms

    def read(self) -> ClockReading:
        return ClockReading(self.now_ms, self.monotonic_ms(), self.boot_id)

    def lead_ms(self) -> int:
        return self.set_by_ms

    def monotonic_ms(self) -> int:
        return self.now_ms - self.set_by_ms

    def set_by(self, ms: int) -> None:
        """Set the wall clock, which the others do not notice."""
        self.now_ms += ms
        self.set_by_ms += ms

    def advance_minutes(self, minutes: float) -> None:
        self.now_ms += int(minutes * MINUTE_MS)


@dataclass
class SentBlock:
    """A block's bytes as the wire hands them over; `declared_size` is None if the sender announces none."""

    content: bytes
    declared_size: int | None
    before_read: Callable[[], None] | None = None
    """What happens between the request's head and its body."""

    def read_into(self, view: memoryview) -> int:
        if self.before_read is not None:
            self.before_read()
        part, self.content = self.content[: len(view)], self.content[len(view) :]
        view[: len(part)] = part
        return len(part)


SETTINGS: Final = ServiceSettings(default_max_results=10_000, seal_wait_seconds=5.0)


@dataclass
class Installation:
    """An engine on a folder, opened when made; `reopen` is what a restart does, and takes no time."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    settings: ServiceSettings = SETTINGS
    caller: Caller = CALLER
    wrap_catalog: Callable[[Catalog], Catalog] = lambda catalog: catalog
    wrap_objects: Callable[[ObjectStore], ObjectStore] = lambda objects: objects
    token_key: bytes = b"k" * 32
    accept_lost_segments: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.catalog = self.wrap_catalog(SqliteCatalog(self.folder / "catalog.db"))
        health, damage = Health(), LoggedDamage()
        root_key = HeldRootKey(b"r" * 32, os.urandom)
        keys = KeyRing(self.catalog, root_key, self.clock, os.urandom, health=health, damage=damage)
        self.store = SegmentStore(
            self.folder,
            now_ms=self.clock,
            block_buffers=64,
            segment_size=SEGMENT_SIZE,
            find_data_key=keys.data_key,
            accept_lost_segments=self.accept_lost_segments,
        )
        objects = self.wrap_objects(self.store)
        pages = PageStore(objects, cache_bytes=64 << 20)
        begin_run(self.catalog, self.clock)
        self.catalog.release_leases()
        self.timekeeper = Timekeeper(self.catalog, self.clock)
        gate = StoreGate()
        self.sealer = Sealer(
            self.catalog,
            objects,
            pages,
            self.timekeeper,
            self.clock,
            keys.data_key,
            self._guard,
            gate.require_open,
        )
        tokens = TokenSeal(self.token_key)
        self.engine = Engine(
            self.catalog,
            objects,
            pages,
            tokens,
            self.sealer,
            self.clock,
            os.urandom,
            keys,
            self.timekeeper,
            settings=self.settings,
            health=health,
            damage=damage,
            gate=gate,
        )
        self.upkeep = Upkeep(self.engine)

    def _guard(self, snapshot: Snapshot) -> AbstractContextManager[None]:
        return seal_guard(self.engine, snapshot)

    def close(self) -> None:
        """End as a server does when it is stopped."""
        assert self.upkeep.stop(30)
        self.end_at_once()

    def end_at_once(self) -> None:
        """End without a last note of the time, as by a kill."""
        assert self.upkeep.copier.stop(30)
        assert self.sealer.wait_until_idle(30)
        self.store.close()
        self.catalog.close()

    def reopen(self) -> None:
        self.close()
        self.__post_init__()

    def tick(self) -> None:
        """One tick of upkeep, and the end of the copies and seals that it began."""
        self.upkeep.tick()
        assert self.upkeep.copier.wait_until_idle(30)
        assert self.sealer.wait_until_idle(30)

    # -- the operations, with the members that most tests mean --

    def start(self, **members: Any) -> SnapshotId:
        answer = start_snapshot(self.engine, self.caller, **({"volume_size": 1} | members))
        return SnapshotId(str(answer["SnapshotId"]))

    def put(self, snapshot_id: str, block_index: int, content: bytes, **members: Any) -> Answer:
        sent: Answer = {
            "block_data": SentBlock(content, len(content)),
            "data_length": len(content),
            "checksum": checksum(content),
            "checksum_algorithm": "SHA256",
        }
        return put_snapshot_block(
            self.engine, self.caller, snapshot_id=snapshot_id, block_index=block_index, **(sent | members)
        )

    def complete(self, snapshot_id: str, changed_blocks_count: int, declared_checksum: str | None = None) -> str:
        """The status answered."""
        declared: dict[str, Any] = {}
        if declared_checksum is not None:
            declared = {
                "checksum": declared_checksum,
                "checksum_algorithm": "SHA256",
                "checksum_aggregation_method": "LINEAR",
            }
        answer = complete_snapshot(
            self.engine, self.caller, snapshot_id=snapshot_id, changed_blocks_count=changed_blocks_count, **declared
        )
        return str(answer["Status"])

    def sealed(self, blocks: Blocks, **members: Any) -> SnapshotId:
        """A completed snapshot with these writes."""
        snapshot_id = self.start(**members)
        for block_index, content in blocks.items():
            self.put(snapshot_id, block_index, content)
        assert self.complete(snapshot_id, len(blocks), aggregate(blocks)) == "completed"
        return snapshot_id

    def delete(self, snapshot_id: str) -> None:
        delete_snapshot(self.engine, self.caller, snapshot_id=snapshot_id)

    def row(self, snapshot_id: SnapshotId) -> Snapshot:
        row = self.catalog.snapshot(snapshot_id)
        assert row is not None
        return row

    def get(self, snapshot_id: str, block_index: int, block_token: str) -> bytes:
        answer: Answer = get_snapshot_block(
            self.engine, self.caller, snapshot_id=snapshot_id, block_index=block_index, block_token=block_token
        )
        try:
            content = bytes(answer["BlockData"].payload)
        finally:
            answer["BlockData"].release()
        assert answer["Checksum"] == checksum(content)
        return content

    def list_page(self, snapshot_id: str, **members: Any) -> Answer:
        return list_snapshot_blocks(self.engine, self.caller, snapshot_id=snapshot_id, **members)

    def list_all(self, snapshot_id: str, **members: Any) -> list[Answer]:
        """Every entry from all pages."""
        return _every_page(lambda **more: self.list_page(snapshot_id, **more), "Blocks", members)

    def changes_page(self, first_id: str, second_id: str, **members: Any) -> Answer:
        return list_changed_blocks(
            self.engine, self.caller, first_snapshot_id=first_id, second_snapshot_id=second_id, **members
        )

    def changes(self, first_id: str, second_id: str, **members: Any) -> list[Answer]:
        """Every entry from all pages."""
        return _every_page(lambda **more: self.changes_page(first_id, second_id, **more), "ChangedBlocks", members)

    def content(self, snapshot_id: str) -> dict[int, bytes]:
        """Every block of a completed snapshot, read through its listing."""
        return {
            entry["BlockIndex"]: self.get(snapshot_id, entry["BlockIndex"], entry["BlockToken"])
            for entry in self.list_all(snapshot_id)
        }


def _every_page(page: Callable[..., Answer], member: str, members: Answer) -> list[Answer]:
    entries: list[Answer] = []
    answer = page(**members)
    while True:
        found: Sequence[Answer] = answer[member]
        entries.extend(found)
        if answer["NextToken"] is None:
            return entries
        answer = page(**(members | {"next_token": answer["NextToken"]}))
