"""What happens to KMS keys without being asked: destruction after the waiting time, and rotation when it is due."""

from __future__ import annotations

import logging

from snapstone.catalog.key_contract import MaterialAdded
from snapstone.catalog.key_rows import KmsKey
from snapstone.service.background import do_each
from snapstone.service.engine import Engine
from snapstone.service.kms.rotation import rotate

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
