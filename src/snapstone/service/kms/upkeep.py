"""What happens to KMS keys without being asked: destruction after the waiting time, and rotation when it is due."""

from __future__ import annotations

import logging

from snapstone.catalog.key_contract import MaterialAdded
from snapstone.service.engine import Engine
from snapstone.service.kms.rotation import rotate

log = logging.getLogger(__name__)


def destroy_due_keys(engine: Engine, now_ms: int) -> None:
    """Destroy the keys whose deletion is due, with all that only they could open."""
    for key_id in engine.catalog.keys_to_destroy(now_ms):
        if engine.catalog.destroy_kms_key(key_id, now_ms):
            log.warning("KMS key destroyed", extra={"fields": {"key": key_id}})
    engine.catalog.forget_destroyed_keys()  # else at the next sweep: a long read is under way


def rotate_due_keys(engine: Engine, now_ms: int) -> None:
    """Give new material to the keys whose rotation is due."""
    for key in engine.catalog.keys_to_rotate(now_ms):
        if rotate(engine, key) is MaterialAdded.ADDED:
            log.info("KMS key rotated", extra={"fields": {"key": key.key_id}})
