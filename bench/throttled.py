"""Puts a second under a quota, with one call of ten failing: the client has to settle at what the server admits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from bench.images import check_equal, make_full
from bench.report import Bound, Line
from bench.run import Run, settle
from bench.snapstone_client import SnapstoneClient
from bench.snapstone_server import SnapstoneServer

QUOTA: Final = 200
BURST: Final = 20
TARGET: Final = Bound("≥", 0.85 * QUOTA)
FAULTS: Final[tuple[dict[str, object], ...]] = (
    {"error": "throttled"},
    {"error": "internal"},
    {"error": "unavailable"},
    {"cut_after": 0},
)
FAULT_RATE: Final = 0.026
"""Of each kind, tried one after the other: one call of ten in all."""


def measure(run: Run) -> list[Line]:
    """One upload, and its download to see that it went right; what counts is the second half of the puts."""
    with run.folder("throttled") as folder:
        image, copy = folder / "image", folder / "copy"
        make_full(image, run.sizes.throttled_put_count)
        with SnapstoneServer(folder / "data", arguments=_options(folder)) as server:
            client = SnapstoneClient(server.endpoint, folder / "state")
            settle()
            _, snapshot_id = client.upload(image)
            client.download(snapshot_id, copy)
        check_equal(image, copy)
        admitted = sorted(_admitted(server.log))
    late = admitted[len(admitted) // 2 :]
    rate = (len(late) - 1) / (late[-1] - late[0])
    name = f"puts a second under a quota of {QUOTA}, 1 of 10 failing, second half"
    return [Line(name, "/s", [rate], TARGET, details={"admitted_count": len(admitted)})]


def _options(folder: Path) -> list[str]:
    quotas, faults = folder / "quotas.json", folder / "faults.json"
    quotas.write_text(json.dumps({"account": {"ebs:PutSnapshotBlock": {"rate": QUOTA, "burst": BURST}}}))
    rules = [fault | {"operation": "ebs:PutSnapshotBlock", "rate": FAULT_RATE} for fault in FAULTS]
    faults.write_text(json.dumps(rules))
    injection = ["--faults", str(faults), "--allow-fault-injection"]
    return ["--quotas", str(quotas), *injection, "--log-level", "debug", "--log-format", "json"]


def _admitted(log: Path) -> Iterator[float]:
    """When each put was answered that the quota let in; faults come after the quota."""
    for text in log.read_text().splitlines():
        if '"PUT"' not in text:
            continue
        line = json.loads(text)
        if line.get("status", 499) < 300 or "injected_fault" in line:
            yield datetime.fromisoformat(line["time"]).timestamp()
