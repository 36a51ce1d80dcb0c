"""Regions and zones: every region is a namespace of the same server; its three zones are names only.

DescribeInstances and DescribeVolumes return empty lists, for tools that look through them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from snapstone.core.errors import DryRunPassedError, InstanceNotFoundError, InvalidParameterError, VolumeNotFoundError
from snapstone.core.ids import Region
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
    known = engine.settings.regions
    for name in region_names or ():
        if name not in known:
            raise InvalidParameterError(f"Invalid region provided: [{name}]")
    if dry_run:
        raise DryRunPassedError
    facts: Facts[str] = {
        "endpoint": lambda name: (engine.settings.endpoint,),
        "opt-in-status": lambda name: (OPT_IN_STATUS,),
        "region-name": lambda name: (name,),
    }
    names = [name for name in known if not region_names or name in region_names]
    return {
        "Regions": [
            {"OptInStatus": OPT_IN_STATUS, "RegionName": name, "Endpoint": engine.settings.endpoint}
            for name in select(names, filters or (), facts)
        ]
    }


ZONE_LETTERS: Final = "abc"

STATE: Final = "available"
ZONE_TYPE: Final = "availability-zone"

Answer = dict[str, object]

_REGION_NAME = re.compile(r"([a-z]+)-((?:north|south|east|west|central)+)-([0-9]+)")
_DIRECTION = re.compile("north|south|east|west|central")


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone; its number in the region is the same for every account, as is its name."""

    region: Region
    number: int

    @property
    def name(self) -> str:
        return self.region + ZONE_LETTERS[self.number - 1]

    @property
    def zone_id(self) -> str:
        return f"{_abbreviation(self.region)}-az{self.number}"

    @property
    def group(self) -> str:
        return f"{self.region}-zg-1"


def describe_availability_zones(
    engine: Engine,
    caller: Caller,
    *,
    zone_names: Sequence[str] | None = None,
    zone_ids: Sequence[str] | None = None,
    all_availability_zones: bool = False,
    filters: Sequence[Filter] | None = None,
    dry_run: bool = False,
) -> Answer:
    """The zones of the caller's region; `all_availability_zones` adds none, because none is opted out of."""
    zones = [Zone(caller.region, number) for number in range(1, len(ZONE_LETTERS) + 1)]
    _require_known("availability zone", zone_names or (), [zone.name for zone in zones])
    _require_known("availability zone-id", zone_ids or (), [zone.zone_id for zone in zones])
    named = [
        zone
        for zone in select(zones, filters or (), _FACTS)
        if (not zone_names or zone.name in zone_names) and (not zone_ids or zone.zone_id in zone_ids)
    ]
    if dry_run:
        raise DryRunPassedError
    return {"AvailabilityZones": [_item(zone) for zone in named]}


def _require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InvalidParameterError(f"Invalid {what}: [{name}]")


def _abbreviation(region: Region) -> str:
    """As AWS abbreviates: `eu-west-1` is `euw1`, `ap-northeast-1` is `apne1`; another name loses its dashes."""
    parts = _REGION_NAME.fullmatch(region)
    if parts is None:
        return region.replace("-", "")
    area, directions, number = parts.groups()
    return area + "".join(each[0] for each in _DIRECTION.findall(directions)) + number


def _item(zone: Zone) -> Answer:
    return {
        "ZoneName": zone.name,
        "ZoneId": zone.zone_id,
        "State": STATE,
        "RegionName": zone.region,
        "ZoneType": ZONE_TYPE,
        "GroupName": zone.group,
        "NetworkBorderGroup": zone.region,
        "OptInStatus": OPT_IN_STATUS,
        "Messages": [],
    }


_FACTS: Final[Facts[Zone]] = {
    "group-long-name": lambda zone: (),
    "group-name": lambda zone: (zone.group,),
    "message": lambda zone: (),
    "opt-in-status": lambda zone: (OPT_IN_STATUS,),
    "parent-zone-id": lambda zone: (),
    "parent-zone-name": lambda zone: (),
    "region-name": lambda zone: (zone.region,),
    "state": lambda zone: (STATE,),
    "zone-id": lambda zone: (zone.zone_id,),
    "zone-name": lambda zone: (zone.name,),
    "zone-type": lambda zone: (ZONE_TYPE,),
}


def describe_instances(
    engine: Engine,
    caller: Caller,
    *,
    instance_ids: Sequence[str] | None = None,
    include_managed_resources: bool = False,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """No reservation, whatever the filters; an instance that is named does not exist."""
    if dry_run:
        raise DryRunPassedError
    for instance_id in instance_ids or ():
        raise InstanceNotFoundError(instance_id)
    return {"Reservations": []}


def describe_volumes(
    engine: Engine,
    caller: Caller,
    *,
    volume_ids: Sequence[str] | None = None,
    include_managed_resources: bool = False,
    filters: Sequence[Filter] | None = None,
    max_results: int | None = None,
    next_token: str | None = None,
    dry_run: bool = False,
) -> Answer:
    """No volume, whatever the filters; one that is named does not exist."""
    if dry_run:
        raise DryRunPassedError
    for volume_id in volume_ids or ():
        raise VolumeNotFoundError(volume_id)
    return {"Volumes": []}
