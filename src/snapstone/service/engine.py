"""What every operation works with: the catalog, the object store, the clock and the sources of randomness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from snapstone.catalog.contract import Catalog
from snapstone.core.ids import AccountId, Region
from snapstone.core.policy.principal import Principal
from snapstone.core.tokens import TokenSeal
from snapstone.service.damage import DamageReports, LoggedDamage
from snapstone.service.health import Health
from snapstone.service.held_manifests import HeldManifests
from snapstone.service.key_memory import KeyMemory
from snapstone.service.store_gate import StoreGate
from snapstone.service.timekeeper import Timekeeper
from snapstone.storage.contract import ObjectStore
from snapstone.storage.pages import PageStore

if TYPE_CHECKING:
    from snapstone.service.sealing import Sealer

DEFAULT_REGIONS: Final = (
    "af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
    "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ca-central-1", "ca-west-1",
    "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
    "il-central-1", "me-central-1", "me-south-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
)  # fmt: skip
"""Regions that a server answers for unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and for which region: what the signature proved."""

    account_id: AccountId
    region: Region
    access_key_id: str
    principal: Principal
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Condition keys that the request itself answers, in lower case: `aws:sourceip`, `aws:securetransport`,
    `aws:useragent`."""


class RootKey(Protocol):
    """Seals and opens what the catalog must not hold in plain text; made from the installation's root key."""

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """`plaintext` sealed for a purpose such as `material KEY_ID/VERSION`; every call's result is another one."""

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """What was sealed for that purpose. Raises core.envelope.EnvelopeError."""


@dataclass(frozen=True)
class Policy:
    """Settings that change what operations answer; the defaults are AWS's."""

    regions: tuple[str, ...] = DEFAULT_REGIONS
    default_max_results: int = 10_000
    """Blocks on a page of a list where the caller does not say."""
    seal_wait_seconds: float = 5.0
    """How long CompleteSnapshot waits for the seal before it answers `pending`."""
    endpoint: str = "127.0.0.1"
    """What DescribeRegions names as every region's endpoint."""
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
    root_key: RootKey
    timekeeper: Timekeeper
    """What time it is for all that ends by itself: nothing that does is compared with `now_ms`."""
    keys: KeyMemory = field(default_factory=KeyMemory)
    """Keys that this process has unsealed."""
    policy: Policy = field(default_factory=Policy)
    health: Health = field(default_factory=Health)
    """What is wrong at the moment; `/ready` tells it."""
    damage: DamageReports = field(default_factory=LoggedDamage)
    """Where damage is written down."""
    manifests: HeldManifests = field(default_factory=HeldManifests)
    gate: StoreGate = field(default_factory=StoreGate)
    """Passed by whatever changes something, before it begins and before its success is told."""
