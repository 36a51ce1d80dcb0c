"""Managed policies that come with Snapstone, for every account (api-control-plane.md, section 5.1)."""

from __future__ import annotations

import json
from typing import Final

from snapstone.catalog.identity_rows import ManagedPolicy, PolicyVersion
from snapstone.core.ids import AccountId
from snapstone.service.iam.arns import BUILT_IN_ARN

_READ_BLOCKS: Final = ("ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "ebs:GetSnapshotBlock")
_WRITE_BLOCKS: Final = ("ebs:StartSnapshot", "ebs:PutSnapshotBlock", "ebs:CompleteSnapshot")
_LOOK: Final = ("ec2:Describe*", "ec2:Get*")


def _allowing(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


_DOCUMENTS: Final = {
    "AdministratorAccess": _allowing("*"),
    "SnapstoneBackupReader": _allowing(*_READ_BLOCKS, *_LOOK),
    "SnapstoneBackupWriter": _allowing(*_WRITE_BLOCKS, *_LOOK, "ec2:CreateTags"),
    "SnapstoneFullAccess": _allowing("ebs:*", "ec2:*", "kms:*", "rbin:*"),
    "SnapstoneReadOnly": _allowing(
        *_READ_BLOCKS, *_LOOK, "kms:Describe*", "kms:Get*", "kms:List*", "rbin:Get*", "rbin:List*"
    ),
}

BUILT_IN: Final = tuple(
    ManagedPolicy(
        f"{BUILT_IN_ARN}{name}",
        "ANPA" + name.upper().ljust(16, "A")[:16],
        AccountId("aws"),
        name,
        "/",
        "",
        created_at_ms=0,
        updated_at_ms=0,
        default_version=1,
        next_version=2,
        versions=(PolicyVersion(1, document, 0),),
    )
    for name, document in _DOCUMENTS.items()
)

_BY_ARN: Final = {policy.arn: policy for policy in BUILT_IN}


def built_in(arn: str) -> ManagedPolicy | None:
    """A policy that comes with Snapstone, or None."""
    return _BY_ARN.get(arn)
