"""KMS operations on the rotation of a key's material: new work uses the newest, what is older stays readable."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from snapstone.catalog.key_contract import MaterialAdded
from snapstone.catalog.key_rows import KeyRotation, KmsKey
from snapstone.core.key_errors import KeyLimitError
from snapstone.core.snapshot_lock import DAY_MS
from snapstone.service.engine import Caller, Engine
from snapstone.service.kms.key_operations import change_key, own_key
from snapstone.service.kms.keys import find_key_itself, require_enabled
from snapstone.service.kms.material import new_material
from snapstone.service.kms.paging import one_page

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
    """Give a key new material now; its own rotation goes on as before. Raises KeyLimitError."""
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
    return one_page(
        engine, caller, f"ListKeyRotations {key_id}", "Rotations", rotations, _version, shown, limit, marker
    )


def _version(rotation: KeyRotation) -> str:
    """Of ten digits, so that texts are in the order of numbers."""
    return f"{rotation.version:010}"


def rotate(engine: Engine, key: KmsKey, on_demand_limit: int | None = None) -> MaterialAdded:
    """Add a version of the material, on demand within a limit, or because it is due."""
    material = new_material(engine, key.key_id, key.material_version + 1)
    return engine.catalog.add_key_material(key, material, engine.now_ms(), on_demand_limit)
