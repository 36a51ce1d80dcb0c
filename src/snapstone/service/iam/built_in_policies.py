"""Managed policies that come with Snapstone, for every account (api-control-plane.md, section 5.1)."""

from __future__ import annotations

import json
from typing import Final

from snapstone.service.engine import Engine
from snapstone.service.iam.arns import BUILT_IN_ARN

_READ_BLOCKS: Final = ("ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "ebs:GetSnapshotBlock")
_WRITE_BLOCKS: Final = ("ebs:StartSnapshot", "ebs:PutSnapshotBlock", "ebs:CompleteSnapshot")
_LOOK: Final = ("ec2:Describe*", "ec2:Get*")


def _allowing(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


BUILT_IN_POLICIES: Final = {
    "AdministratorAccess": _allowing("*"),
    "SnapstoneFullAccess": _allowing("ebs:*", "ec2:*", "kms:*", "rbin:*"),
    "SnapstoneReadOnly": _allowing(*_READ_BLOCKS, *_LOOK, "kms:Describe*", "kms:Get*", "kms:List*", "rbin:Get*",
                                   "rbin:List*"),
    "SnapstoneBackupWriter": _allowing(*_WRITE_BLOCKS, *_LOOK, "ec2:CreateTags"),
    "SnapstoneBackupReader": _allowing(*_READ_BLOCKS, *_LOOK),
}  # fmt: skip


def built_in_document(arn: str) -> str | None:
    """The document of a policy that comes with Snapstone, or None."""
    return BUILT_IN_POLICIES.get(arn.removeprefix(BUILT_IN_ARN)) if arn.startswith(BUILT_IN_ARN) else None


def policy_document(engine: Engine, arn: str) -> str | None:
    """The document of a managed policy's default version, or None where there is no such policy. Cheap."""
    document = built_in_document(arn)
    if document is None:
        policy = engine.catalog.managed_policy(arn)
        document = None if policy is None else policy.document
    return document
