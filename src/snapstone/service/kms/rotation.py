"""Rotation of a key's material, and what happens to KMS keys by themselves: rotation and destruction when due.

New work uses the newest material; what is older stays readable.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from snapstone.catalog.contract.keys import KeyRotation, KmsKey, MaterialAdded
from snapstone.core.errors import KeyLimitError
from snapstone.core.protection import DAY_MS
from snapstone.service.background import do_each
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.kms_keys import find_key_itself, require_enabled
from snapstone.service.kms.key_operations import change_key, own_key
from snapstone.service.paging import kms_page

DEFAULT_PERIOD_DAYS: Final = 365

MAX_ON_DEMAND_ROTATIONS: Final = 25
"""Of one key (AWS KMS quotas)."""

Answer = dict[str, object]


def enable_key_rotation(
    engine: Engine, caller: Caller, *, key_id: str, rotation_period_in_days: int = DEFAULT_PERIOD_DAYS
) -> Answer:
    """Give a key new material every 90 to 2,560 days."""
    next_at_ms = engine.timekeeper.dated_ms() + rotation_period_in_days * DAY_MS

    def enable(key: KmsKey) -> KmsKey:
        require_enabled(key)
        return replace(key, rotation_period_days=rotation_period_in_days, next_rotation_at_ms=next_at_ms)

    change_key(engine, caller, key_id, enable)
    return {}


def disable_key_rotation(engine: Engine, caller: Caller, *, key_id: str) -> Answer:
    """Give a key no new material unasked."""

    def disable(key: KmsKey) -> KmsKey:
        require_enabled(key)
        return replace(key, rotation_period_days=None, next_rotation_at_ms=None)

    change_key(engine, caller, key_id, disable)
    return {}


def get_key_rotation_status(engine: Engine, caller: Caller, *, key_id: str) -> Answer:
    """Whether and when a key is rotated."""
    key = find_key_itself(engine, caller.account_id, caller.region, key_id)
    return {
        "KeyRotationEnabled": key.rotation_period_days is not None,
        "KeyId": key.arn,
        "RotationPeriodInDays": key.rotation_period_days,
        "NextRotationDate": key.next_rotation_at_ms,
    }


def rotate_key_on_demand(engine: Engine, caller: Caller, *, key_id: str) -> Answer:
    """Give a key new material now; its automatic rotation is unaffected. Raises KeyLimitError."""
    while True:
        key = own_key(engine, caller, key_id)
        require_enabled(key)
        added = rotate(engine, key, MAX_ON_DEMAND_ROTATIONS)
        if added is MaterialAdded.LIMIT:
            raise KeyLimitError(
                f"{key.arn} has been rotated on demand {MAX_ON_DEMAND_ROTATIONS} times, the most there may be"
            )
        if added is MaterialAdded.ADDED:
            return {"KeyId": key.arn}


def list_key_rotations(
    engine: Engine,
    caller: Caller,
    *,
    key_id: str,
    include_key_material: str | None = None,
    limit: int | None = None,
    marker: str | None = None,
) -> Answer:
    """Every rotation of a key, the first one first."""
    key = find_key_itself(engine, caller.account_id, caller.region, key_id)

    def shown(rotation: KeyRotation) -> Answer:
        kind = "ON_DEMAND" if rotation.on_demand else "AUTOMATIC"
        return {"KeyId": key.arn, "RotationDate": rotation.rotated_at_ms, "RotationType": kind}

    rotations = engine.catalog.key_rotations(key.key_id)
    return kms_page(
        engine, caller, f"ListKeyRotations {key_id}", "Rotations", rotations, _version, shown, limit, marker
    )


def _version(rotation: KeyRotation) -> str:
    """Of ten digits, so that texts are in the order of numbers."""
    return f"{rotation.version:010}"


def rotate(engine: Engine, key: KmsKey, on_demand_limit: int | None = None) -> MaterialAdded:
    """Add a version of the material, on demand within a limit, or because it is due."""
    material = engine.keys.new_material(key.key_id, key.material_version + 1)
    return engine.catalog.add_key_material(key, material, engine.now_ms(), on_demand_limit)


log = logging.getLogger(__name__)


def destroy_due_keys(engine: Engine, due_ms: int) -> None:
    """Destroy the keys whose deletion is due, with all that only they could open."""

    def destroy(key_id: str) -> None:
        if engine.catalog.destroy_kms_key(key_id, due_ms):
            log.warning("KMS key destroyed", extra={"fields": {"key": key_id}})

    try:
        do_each(engine.catalog.keys_to_destroy(due_ms), destroy)
    finally:
        engine.catalog.forget_destroyed_keys()  # else at the next sweep: a long read is under way


def rotate_due_keys(engine: Engine, due_ms: int) -> None:
    """Give new material to the keys whose rotation is due."""

    def rotate_one(key: KmsKey) -> None:
        if rotate(engine, key) is MaterialAdded.ADDED:
            log.info("KMS key rotated", extra={"fields": {"key": key.key_id}})

    do_each(engine.catalog.keys_to_rotate(due_ms), rotate_one)
