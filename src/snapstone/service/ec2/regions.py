"""DescribeRegions: every region is a namespace of the same server, at the same endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from snapstone.core.errors import DryRunPassedError, InvalidParameterError
from snapstone.service.ec2.filters import Facts, Filter, select
from snapstone.service.engine import Caller, Engine

OPT_IN_STATUS: Final = "opt-in-not-required"


def describe_regions(
    engine: Engine,
    caller: Caller,
    *,
    region_names: Sequence[str] | None = None,
    filters: Sequence[Filter] | None = None,
    all_regions: bool = False,
    dry_run: bool = False,
) -> dict[str, object]:
    """The regions that this server answers for; `all_regions` adds none, because none is opted out of."""
    known = engine.policy.regions
    for name in region_names or ():
        if name not in known:
            raise InvalidParameterError(f"Invalid region provided: [{name}]")
    if dry_run:
        raise DryRunPassedError
    facts: Facts[str] = {
        "endpoint": lambda name: (engine.policy.endpoint,),
        "opt-in-status": lambda name: (OPT_IN_STATUS,),
        "region-name": lambda name: (name,),
    }
    names = [name for name in known if not region_names or name in region_names]
    return {
        "Regions": [
            {"OptInStatus": OPT_IN_STATUS, "RegionName": name, "Endpoint": engine.policy.endpoint}
            for name in select(names, filters or (), facts)
        ]
    }
