"""Permission tables: every operation has its row."""

from __future__ import annotations

from snapstone.service.access.authorization import PERMISSIONS
from snapstone.service.operations import OPERATIONS


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    offered = {(service, name) for service, operations in OPERATIONS.items() for name in operations}
    assert {(service, name) for service, rows in PERMISSIONS.items() for name in rows} == offered
