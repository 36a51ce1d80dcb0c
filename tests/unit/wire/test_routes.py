"""From method and path to operation."""

from __future__ import annotations

import pytest

from snapstone.wire.models import load_operations
from snapstone.wire.refusals import UnknownOperationError
from snapstone.wire.rest_json import Routes
from tests.unit.wire.test_models import EBS

ROUTES = Routes(load_operations("ebs", EBS).values())


@pytest.mark.parametrize(
    ("method", "path", "operation", "values"),
    [
        ("POST", "/snapshots", "StartSnapshot", {}),
        ("PUT", "/snapshots/snap-1/blocks/3", "PutSnapshotBlock", {"snapshotId": "snap-1", "blockIndex": "3"}),
        ("GET", "/snapshots/snap-1/blocks/3", "GetSnapshotBlock", {"snapshotId": "snap-1", "blockIndex": "3"}),
        ("GET", "/snapshots/snap-1/blocks", "ListSnapshotBlocks", {"snapshotId": "snap-1"}),
        ("GET", "/snapshots/snap-1/changedblocks", "ListChangedBlocks", {"secondSnapshotId": "snap-1"}),
        ("POST", "/snapshots/completion/snap-1", "CompleteSnapshot", {"snapshotId": "snap-1"}),
        ("POST", "/snapshots/completion/snapshots", "CompleteSnapshot", {"snapshotId": "snapshots"}),
        ("GET", "/snapshots/completion/blocks", "ListSnapshotBlocks", {"snapshotId": "completion"}),
        ("GET", "/a/b/snapshots/snap-1/blocks", "ListSnapshotBlocks", {"snapshotId": "snap-1"}),
        ("GET", "/snapshots/Snap%2FX%2e%2E%252F/blocks", "ListSnapshotBlocks", {"snapshotId": "Snap/X..%2F"}),
        ("GET", "/snapshots/s+%E6%9D%B1/blocks", "ListSnapshotBlocks", {"snapshotId": "s+東"}),
    ],
)
def test_a_path_is_found(method: str, path: str, operation: str, values: dict[str, str]) -> None:
    route = ROUTES.find(method, path)
    assert (route.operation.name, route.uri_values) == (operation, values)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/snapshots"),
        ("DELETE", "/snapshots/snap-1"),
        ("PUT", "/snapshots/snap-1/blocks"),
        ("GET", "/snapshots/completion/snap-1"),
        ("GET", "/snapshots/snap-1/blocks/3/more"),
        ("GET", "/Snapshots/snap-1/blocks"),
        ("POST", "/snapshots/"),
        ("BREW", "/snapshots"),
    ],
)
def test_anything_else_is_unknown(method: str, path: str) -> None:
    with pytest.raises(UnknownOperationError):
        ROUTES.find(method, path)
