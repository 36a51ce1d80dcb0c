"""The operations offered: the function of each, by service and by the operation's name in AWS's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.ec2.operations import EC2_OPERATIONS
from snapstone.service.iam.operations import IAM_OPERATIONS, STS_OPERATIONS
from snapstone.service.kms.operations import KMS_OPERATIONS
from snapstone.service.recycle_bin.rules import RBIN_OPERATIONS
from snapstone.service.snapshots.read import get_snapshot_block, list_changed_blocks, list_snapshot_blocks
from snapstone.service.snapshots.start import start_snapshot
from snapstone.service.snapshots.write import complete_snapshot, put_snapshot_block

Operation = Callable[..., dict[str, object]]
"""Called with the engine, the caller, and the members that were sent as keyword arguments in snake_case.

Returns the answer's members under their names in the model; timestamps are integer milliseconds since the epoch.
"""

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "ebs": {
        "StartSnapshot": start_snapshot,
        "PutSnapshotBlock": put_snapshot_block,
        "CompleteSnapshot": complete_snapshot,
        "ListSnapshotBlocks": list_snapshot_blocks,
        "ListChangedBlocks": list_changed_blocks,
        "GetSnapshotBlock": get_snapshot_block,
    },
    "ec2": EC2_OPERATIONS,
    "kms": KMS_OPERATIONS,
    "sts": STS_OPERATIONS,
    "iam": IAM_OPERATIONS,
    "rbin": RBIN_OPERATIONS,
}
