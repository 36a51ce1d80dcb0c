"""The context of every operation: the catalog, the object store, the clock, randomness, and caches.

What is known about manifests is cached, within bounds. Whether an entry still counts is for the caller to find out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.snapshots import Snapshot
from snapstone.core.ids import AccountId, Region, SnapshotId
from snapstone.core.manifest import Manifest
from snapstone.core.policy.principals import Principal
from snapstone.core.tokens import TokenSeal
from snapstone.service.health import DamageReports, Health, LoggedDamage, StoreGate
from snapstone.service.key_ring import KeyRing
from snapstone.service.timekeeper import Timekeeper
from snapstone.storage.contract import ObjectStore
from snapstone.storage.pages import PageStore

if TYPE_CHECKING:
    from snapstone.service.sealing import Sealer

HELD_LIMIT: Final = 4_096
"""Snapshots that one process remembers to have compared with their manifests; least recently used out first."""

MISSING_LIMIT: Final = 10_000
"""Snapshots without a readable manifest that one process remembers."""

FACTS: Final = (
    "snapshot_id", "account_id", "region", "volume_size_gib", "parent_id", "lineage_id", "root", "block_count",
    "kms_key_arn", "data_key_id",
)  # fmt: skip
"""Fields that a row shares with its manifest and that never change: all but the description, the tags and times."""

Facts = tuple[object, ...]


class ManifestCache:
    """What one process knows about manifests. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: OrderedDict[SnapshotId, Facts] = OrderedDict()
        self._missing: dict[SnapshotId, None] = {}

    def is_held(self, snapshot: Snapshot) -> bool:
        """Whether this very row has been compared with its manifest."""
        return self._held.get(snapshot.snapshot_id) == facts_of(snapshot)

    def keep(self, snapshot: Snapshot) -> None:
        """Note that the row has been compared with its manifest, or has none."""
        with self._lock:
            self._held[snapshot.snapshot_id] = facts_of(snapshot)
            if len(self._held) > HELD_LIMIT:
                self._held.popitem(last=False)

    def add_missing(self, snapshot_ids: Iterable[SnapshotId]) -> None:
        """Completed snapshots whose manifests cannot be read."""
        with self._lock:
            for snapshot_id in snapshot_ids:
                if len(self._missing) < MISSING_LIMIT:
                    self._missing[snapshot_id] = None

    def drop_missing(self, is_over: Callable[[SnapshotId], bool]) -> None:
        """Forget those of which that is not true any more."""
        over = [snapshot_id for snapshot_id in self.missing if is_over(snapshot_id)]
        with self._lock:
            for snapshot_id in over:
                self._missing.pop(snapshot_id, None)

    @property
    def missing(self) -> list[SnapshotId]:
        """Completed snapshots whose manifests cannot be read, as far as this process knows."""
        with self._lock:
            return list(self._missing)


def facts_of(thing: Snapshot | Manifest) -> Facts:
    """The fields of a row or manifest that must equal those of the other."""
    return tuple(getattr(thing, name) for name in FACTS)


DEFAULT_REGIONS: Final = (
    "af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
    "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ca-central-1", "ca-west-1",
    "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
    "il-central-1", "me-central-1", "me-south-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
)  # fmt: skip
"""Regions that a server answers for unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller and its region, as proved by the signature."""

    account_id: AccountId
    region: Region
    access_key_id: str
    principal: Principal
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Condition keys that the request itself answers, in lower case: `aws:sourceip`, `aws:securetransport`,
    `aws:useragent`."""


@dataclass(frozen=True)
class ServiceSettings:
    """Settings that change what operations answer."""

    default_max_results: int
    """Blocks on a page of a list unless the caller gives a number."""
    seal_wait_seconds: float
    """How long CompleteSnapshot waits for the seal before it answers `pending`."""
    regions: tuple[str, ...] = DEFAULT_REGIONS
    endpoint: str = "127.0.0.1"
    """Every region's endpoint in DescribeRegions."""
    pending_snapshots: int | None = None
    """How many pending snapshots an account may have in a region; None for any number."""


@dataclass(frozen=True)
class Engine:
    """Everything an operation needs, passed in: no operation reads a clock or a random source of its own."""

    catalog: Catalog
    objects: ObjectStore
    pages: PageStore
    tokens: TokenSeal
    sealer: Sealer
    now_ms: Callable[[], int]
    """Milliseconds since the epoch, as the wall clock says."""
    random_bytes: Callable[[int], bytes]
    keys: KeyRing
    timekeeper: Timekeeper
    """The time for everything that expires, which is never compared with `now_ms`."""
    settings: ServiceSettings
    health: Health = field(default_factory=Health)
    """Current problems, reported by `/ready`."""
    damage: DamageReports = field(default_factory=LoggedDamage)
    """Where damage is written down."""
    manifests: ManifestCache = field(default_factory=ManifestCache)
    gate: StoreGate = field(default_factory=StoreGate)
    """Checked by every change, before it begins and before its success is answered."""
