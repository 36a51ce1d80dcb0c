"""The table of operations: each takes every member that AWS's model knows."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from snapstone.catalog.contract.identities import IdentityKind
from snapstone.service.iam import operations
from snapstone.service.iam.operations import IAM_OPERATIONS, STS_OPERATIONS, Operation

OFFERED = [
    (service, name, operation)
    for service, table in (("iam", IAM_OPERATIONS), ("sts", STS_OPERATIONS))
    for name, operation in table.items()
]


def accepted(operation: Operation) -> set[str]:
    """The keywords that an operation takes, with those behind a user's or a role's name."""
    names = set(inspect.signature(operation).parameters)
    if "members" in names:
        wrapped: Any = inspect.getclosurevars(operation).nonlocals["operation"]
        names |= set(inspect.signature(wrapped).parameters)
    return names


@pytest.mark.parametrize(("service", "name", "operation"), OFFERED, ids=[name for _, name, _ in OFFERED])
def test_an_operation_takes_every_member_of_its_model(service: str, name: str, operation: Operation) -> None:
    model = ServiceModel(Loader().load_service_model(service, "service-2")).operation_model(name)
    members = model.input_shape.members if model.input_shape is not None else {}
    assert {xform_name(member) for member in members} <= accepted(operation)


def test_users_and_roles_have_the_same_operations_on_policies_and_tags() -> None:
    of_kind = {
        kind: {
            name.replace(kind.capitalize(), "", 1)
            for name in operations.IAM_OPERATIONS
            if kind.capitalize() in name and "AssumeRole" not in name
        }
        for kind in IdentityKind
    }
    assert of_kind[IdentityKind.USER] == of_kind[IdentityKind.ROLE]
