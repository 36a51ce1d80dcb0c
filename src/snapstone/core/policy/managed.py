"""The managed policies that come with Snapstone, as JSON by their ARNs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

_READ_BLOCKS: Final = ("ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "ebs:GetSnapshotBlock")
_WRITE_BLOCKS: Final = ("ebs:StartSnapshot", "ebs:PutSnapshotBlock", "ebs:CompleteSnapshot")
_LOOK: Final = ("ec2:Describe*", "ec2:Get*")


def _allowing(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


_READ_ONLY: Final = _allowing(
    *_READ_BLOCKS, *_LOOK, "kms:Describe*", "kms:Get*", "kms:List*", "rbin:Get*", "rbin:List*"
)

MANAGED_POLICIES: Final[Mapping[str, str]] = {
    f"arn:aws:iam::aws:policy/{name}": document
    for name, document in {
        "AdministratorAccess": _allowing("*"),
        "ReadOnlyAccess": _READ_ONLY,
        "SnapstoneBackupReader": _allowing(*_READ_BLOCKS, *_LOOK),
        "SnapstoneBackupWriter": _allowing(*_WRITE_BLOCKS, *_LOOK, "ec2:CreateTags"),
        "SnapstoneFullAccess": _allowing("ebs:*", "ec2:*", "kms:*", "rbin:*"),
        "SnapstoneReadOnly": _READ_ONLY,
    }.items()
}
"""Every account has these."""
