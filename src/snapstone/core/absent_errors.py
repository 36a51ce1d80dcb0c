"""Errors about instances and volumes, of which there are none."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class InstanceNotFoundError(SnapstoneError):
    """An instance was named."""

    instance_id: str


@dataclass(eq=False)
class VolumeNotFoundError(SnapstoneError):
    """A volume was named."""

    volume_id: str
