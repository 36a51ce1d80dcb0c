"""What a boto3 release makes of the overlay, as a program: endpoint, and two snapshots if there is an overlay."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import OperationNotPageableError

OPERATIONS = ["list_snapshot_blocks", "list_changed_blocks"]


def refusal(call: Callable[[], Any]) -> str | None:
    """Name of the exception by which boto3 says that there is no such paginator or waiter."""
    try:
        call()
    except (OperationNotPageableError, ValueError) as error:
        return type(error).__name__
    return None


ebs = boto3.client("ebs", endpoint_url=sys.argv[1])
seen: dict[str, Any] = {"can_paginate": [ebs.can_paginate(name) for name in OPERATIONS], "waiters": ebs.waiter_names}
if len(sys.argv) == 4:
    first, second = sys.argv[2:]
    ebs.get_waiter("snapshot_completed").wait(SnapshotId=first)
    seen["waited"] = True
    pages = ebs.get_paginator("list_snapshot_blocks").paginate(SnapshotId=first, PaginationConfig={"PageSize": 100})
    seen["pages"] = [len(page["Blocks"]) for page in pages]
    changes = ebs.get_paginator("list_changed_blocks").paginate(
        FirstSnapshotId=first, SecondSnapshotId=second, PaginationConfig={"PageSize": 100}
    )
    seen["changed"] = [entry["BlockIndex"] for page in changes for entry in page["ChangedBlocks"]]
else:
    seen["refused"] = [
        refusal(lambda: ebs.get_paginator("list_snapshot_blocks")),
        refusal(lambda: ebs.get_waiter("snapshot_completed")),
    ]
print(json.dumps(seen))
