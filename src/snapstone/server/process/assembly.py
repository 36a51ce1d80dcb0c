"""Puts a server together: settings and a data folder in, an application and its background work out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from snapstone.catalog.sqlite.catalog import SqliteCatalog
from snapstone.core.ids import Region
from snapstone.core.tokens import TOKEN_KEY_SIZE, TokenSeal
from snapstone.server.audit_log import Audit, AuditFile
from snapstone.server.config import Settings, read_quotas
from snapstone.server.fault_injection import FaultInjection
from snapstone.server.folder.data_folder import DataFolder
from snapstone.server.folder.refusals import start_refusals
from snapstone.server.folder.root_key import read_root_key
from snapstone.server.folder.watch import open_space_guard, tend_space
from snapstone.server.http.connection import new_request_id
from snapstone.server.throttling import SharedBuckets, Throttle
from snapstone.service.engine import DEFAULT_REGIONS, Engine, ServiceSettings
from snapstone.service.health import Health, StoreGate, report_catalog_damage
from snapstone.service.key_ring import TOKENS, HeldRootKey, KeyRing
from snapstone.service.manifests import seal_guard
from snapstone.service.operations import OPERATIONS
from snapstone.service.sealing import Sealer
from snapstone.service.timekeeper import Timekeeper
from snapstone.service.upkeep import Upkeep
from snapstone.storage.damage import DamageLog
from snapstone.storage.pages import PageStore
from snapstone.storage.segment_store import SegmentStore
from snapstone.storage.space import SpaceGuard
from snapstone.system.clock import MachineClocks, now_ms
from snapstone.wire.gateway import Gateway
from snapstone.wire.http import Application, Guard, ResponseHook, refuse_changes, refuse_changes_while_read_only

log = logging.getLogger(__name__)

COPY_STOP_SECONDS: Final = 10.0
"""How long a stopping process waits for its copies to stop; they are resumed at the next start."""

SEAL_STOP_SECONDS: Final = 10.0
"""How long a stopping process waits for its seals. Longer ones end with the process and are resumed later."""


class WriteTurns(Protocol):
    """Turns to write something that several processes write: one at a time."""

    @property
    def turn(self) -> int | None:
        """The number of the turn that this process has now, or None."""

    @property
    def awaits_turn(self) -> bool:
        """Whether this process waits for its turn."""


@dataclass(frozen=True, slots=True)
class ServerParts:
    """Everything that one server process runs."""

    engine: Engine
    application: Application
    tick: Callable[[], object]
    """Background work, to be called every second."""
    close: Callable[[], None]
    """Close files and connections; nothing else may be called afterwards."""
    turns: Mapping[str, WriteTurns]
    """By what is written."""


def assemble(settings: Settings, endpoint: str) -> ServerParts:
    """Open catalog and object store of the data folder and build everything above them."""
    folder = DataFolder(settings.data)
    space = None if settings.read_only else open_space_guard(folder)
    with start_refusals(folder):
        catalog = SqliteCatalog(folder.catalog, create=False, accept_older=settings.accept_older_catalog)
        damage, health = DamageLog(folder.damage_log, now_ms), Health()
        root_key = HeldRootKey(read_root_key(settings, folder), os.urandom)
        keys = KeyRing(catalog, root_key, now_ms, os.urandom, health=health, damage=damage)
        objects = SegmentStore(
            folder.objects,
            block_buffers=settings.block_buffers,
            now_ms=now_ms,
            find_data_key=keys.data_key,
            space=space,
            accept_lost_segments=settings.accept_lost_segments,
            read_only=settings.read_only,
        )
    timekeeper = Timekeeper(catalog, MachineClocks())
    pages = PageStore(objects, cache_bytes=settings.page_cache_bytes)
    gate = StoreGate()
    engine = Engine(
        catalog=catalog,
        objects=objects,
        pages=pages,
        tokens=TokenSeal(keys.secret(TOKENS, TOKEN_KEY_SIZE)),
        sealer=Sealer(
            catalog,
            objects,
            pages,
            timekeeper,
            now_ms,
            keys.data_key,
            lambda snapshot: seal_guard(engine, snapshot),
            gate.require_open,
        ),
        now_ms=now_ms,
        random_bytes=os.urandom,
        keys=keys,
        health=health,
        timekeeper=timekeeper,
        settings=service_settings(settings, endpoint),
        damage=damage,
        gate=gate,
    )
    catalog.watch_damage(lambda damage: report_catalog_damage(engine, damage))

    upkeep = Upkeep(engine)

    def tick() -> None:
        if space is None:
            return  # A read-only server changes nothing by itself either.
        tend_space(space, engine.health)
        if not space.read_only:
            upkeep.tick()
            objects.note_lost_segments()

    def close() -> None:
        if space is not None and space.read_only:
            return  # What closing would write is found again at the next start, as after a crash.
        if upkeep.stop(COPY_STOP_SECONDS) and engine.sealer.wait_until_idle(SEAL_STOP_SECONDS):
            objects.close()
            catalog.close()

    application = Gateway(engine, OPERATIONS, *watchers_of(settings, folder, space))
    return ServerParts(engine, application, tick, close, {"the catalog": catalog, "the index": objects})


def watchers_of(
    settings: Settings, folder: DataFolder, space: SpaceGuard | None
) -> tuple[list[Guard], list[ResponseHook]]:
    """The guards and response hooks of a server; `space` is None for a read-only one."""
    guards: list[Guard] = [refuse_changes if space is None else refuse_changes_while_read_only(space)]
    hooks: list[ResponseHook] = []
    quotas = read_quotas(settings.quotas)
    if quotas is not None:
        guards.append(Throttle(quotas, SharedBuckets(folder.path / "quota-buckets", time.monotonic_ns)))
    if settings.faults is not None and settings.allow_fault_injection:
        log.warning("fault injection is on: calls fail on purpose", extra={"fields": {"faults": settings.faults}})
        injection = FaultInjection(Path(settings.faults))
        guards.append(injection.guard)
        hooks.append(injection.hook)
    if settings.audit != "off" and not settings.read_only:
        file = AuditFile(folder.path / "audit", settings.audit_file_bytes, settings.audit_files)
        hooks.append(Audit(file, settings.audit == "all", now_ms, new_request_id))
    return guards, hooks


def service_settings(settings: Settings, endpoint: str) -> ServiceSettings:
    """The settings that change answers; the region that clients are configured for is always served."""
    quotas = read_quotas(settings.quotas)
    return ServiceSettings(
        regions=tuple(sorted({*DEFAULT_REGIONS, Region(settings.region)})),
        default_max_results=settings.default_max_results,
        seal_wait_seconds=settings.seal_wait_seconds,
        endpoint=endpoint.partition("://")[2],
        pending_snapshots=None if quotas is None else quotas.pending_snapshots,
    )
