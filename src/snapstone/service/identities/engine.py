"""The part of an engine that identities need: all that the command line has, without an object store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from snapstone.catalog.contract.catalog import Catalog
from snapstone.service.health import DamageReports, Health
from snapstone.service.key_ring import KeyRing


class IdentityEngine(Protocol):
    """The part of `service.engine.Engine` that knows who is who."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def keys(self) -> KeyRing: ...

    @property
    def now_ms(self) -> Callable[[], int]:
        """Milliseconds since the epoch."""

    @property
    def random_bytes(self) -> Callable[[int], bytes]: ...

    @property
    def damage(self) -> DamageReports: ...

    @property
    def health(self) -> Health: ...
