"""Statements on data keys and domain keys."""

from __future__ import annotations

from typing import Final

from snapstone.catalog.connections import Statements
from snapstone.catalog.data_key_contract import SealedKey

_DOMAIN_KEY: Final = "SELECT key_id, material_version, wrapped FROM domain_key WHERE key_id = ?"


class DataKeyStatements(Statements):
    """Implements `data_key_contract.DataKeyCatalog`; what each call promises is said there."""

    def insert_data_key(self, data_key_id: bytes, key: SealedKey, now_ms: int) -> bool:
        with self._connections.writing_quietly() as connection:
            return bool(
                connection.execute(
                    "INSERT INTO data_key (data_key_id, key_id, material_version, wrapped, created_at_ms)"
                    " SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM kms_key WHERE key_id = ?2)",
                    (data_key_id, key.key_id, key.material_version, key.sealed, now_ms),
                ).rowcount
            )

    def data_key(self, data_key_id: bytes) -> SealedKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(
                "SELECT key_id, material_version, wrapped FROM data_key WHERE data_key_id = ?", (data_key_id,)
            ).fetchall()
        return SealedKey(*rows[0]) if rows else None

    def present_domain_key(self, key_id: str) -> SealedKey | None:
        with self._connections.reading() as connection:
            rows = connection.execute(_DOMAIN_KEY, (key_id,)).fetchall()
        return SealedKey(*rows[0]) if rows else None

    def has_blocks_under(self, kms_key_arn: str) -> bool:
        with self._connections.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM snapshot WHERE kms_key_arn = ? AND (block_count > 0 OR EXISTS"
                " (SELECT 1 FROM pending_write WHERE pending_write.snapshot_key = snapshot.snapshot_key)) LIMIT 1",
                (kms_key_arn,),
            ).fetchall()
        return bool(found)

    def domain_key(self, candidate: SealedKey) -> SealedKey | None:
        with self._connections.writing_quietly() as connection:
            connection.execute(
                "INSERT INTO domain_key (key_id, material_version, wrapped)"
                " SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM kms_key WHERE key_id = ?1) ON CONFLICT DO NOTHING",
                (candidate.key_id, candidate.material_version, candidate.sealed),
            )
            rows = connection.execute(_DOMAIN_KEY, (candidate.key_id,)).fetchall()
        return SealedKey(*rows[0]) if rows else None
