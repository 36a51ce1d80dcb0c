"""What each operation needs: one table per service, one row per operation that `service/operations.py` offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from snapstone.service.permissions.ebs import EBS_PERMISSIONS
from snapstone.service.permissions.ec2 import EC2_PERMISSIONS
from snapstone.service.permissions.iam import IAM_PERMISSIONS
from snapstone.service.permissions.kms import KMS_PERMISSIONS
from snapstone.service.permissions.need import Needs
from snapstone.service.permissions.rbin import RBIN_PERMISSIONS
from snapstone.service.permissions.sts import STS_PERMISSIONS

PERMISSIONS: Final[Mapping[str, Mapping[str, Needs]]] = {
    "ebs": EBS_PERMISSIONS,
    "ec2": EC2_PERMISSIONS,
    "kms": KMS_PERMISSIONS,
    "sts": STS_PERMISSIONS,
    "iam": IAM_PERMISSIONS,
    "rbin": RBIN_PERMISSIONS,
}
