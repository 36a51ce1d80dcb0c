"""docs/api-coverage.md, made from what is offered and from the models: `python -m snapstone.wire.coverage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from snapstone.service.operations import OPERATIONS
from snapstone.wire.endpoints import keywords_taken
from snapstone.wire.models import API_VERSIONS

TITLES: Final = {
    "ebs": "EBS direct APIs",
    "ec2": "EC2",
    "kms": "KMS",
    "sts": "STS",
    "iam": "IAM",
    "rbin": "Recycle Bin",
}

HEAD: Final = """\
# API coverage

What Snapstone offers of each service, made from its code and from the service models that botocore ships, by
`python -m snapstone.wire.coverage > docs/api-coverage.md`; a test compares it with both. A call with a member that is
not taken is refused. Operations that are not listed get AWS's own answer to an unknown operation. Of S3, ListBuckets is
answered, with the account as owner and no buckets.
"""


def document() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for service in OPERATIONS for line in _section(service))])


def _section(service: str) -> Iterator[str]:
    model = ServiceModel(Loader().load_service_model(service, "service-2", API_VERSIONS[service]), service)
    offered = OPERATIONS[service]
    yield f"## {TITLES[service]} ({API_VERSIONS[service]})"
    yield ""
    yield f"{len(offered)} of {len(model.operation_names)} operations."
    yield ""
    yield "| operation | members not taken |"
    yield "| --- | --- |"
    for name in sorted(offered):
        left_out = ", ".join(_not_taken(model.operation_model(name), offered[name]))
        yield f"| {name} | {left_out} |"
    yield ""


def _not_taken(model: OperationModel, function: Callable[..., Mapping[str, object]]) -> list[str]:
    """Members of the input that the function has no parameter for; one that takes them all has none."""
    taken = keywords_taken(function)
    members = model.input_shape.members if model.input_shape else {}
    return [name for name in members if taken is not None and xform_name(name) not in taken]


if __name__ == "__main__":
    print(document(), end="")
