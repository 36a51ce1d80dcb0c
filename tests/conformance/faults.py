"""What a refusal looks like through boto3: code, status, reason and message, compared exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from typing import Final

import pytest
from botocore.exceptions import ClientError

NO_SNAPSHOT: Final = "snap-0123456789abcdef0"
"""An id that no server mints twice: nobody has it."""


Fault = tuple[str, str | None, str]
"""A broken constraint: member, value (None if it is missing), constraint."""


@contextmanager
def expect_refusal(code: str, status: int, reason: str | None = None, message: str | None = None) -> Iterator[None]:
    """Expect the call inside to be refused so; `reason` None means that there is none, `message` None any text."""
    with pytest.raises(ClientError) as caught:
        yield
    response = caught.value.response
    seen = (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response.get("Reason"))
    assert seen == (code, status, reason), response
    if message is not None:
        assert response["Error"]["Message"] == message


@contextmanager
def expect_invalid(reason: str, message: str | None = None) -> Iterator[None]:
    """Expect a modelled ValidationException."""
    with expect_refusal("ValidationException", 400, reason, message):
        yield


@contextmanager
def expect_out_of_bounds(member: str, value: str | None, constraint: str) -> Iterator[None]:
    """Expect one constraint of the service model to be broken: `value` at `member`, None if it is missing."""
    with expect_refusal("ValidationException", 400, None, constraint_message((member, value, constraint))):
        yield


@contextmanager
def expect_too_long(member: str, limit: int) -> Iterator[None]:
    """Expect a text longer than `limit` to be refused; the server may cut what it echoes of it."""
    with pytest.raises(ClientError) as caught:
        yield
    response = caught.value.response
    assert (response["Error"]["Code"], response.get("Reason")) == ("ValidationException", None)
    start, _, end = response["Error"]["Message"].partition(f" at '{member}' ")
    assert start.startswith("1 validation error detected: Value '")
    assert end == f"failed to satisfy constraint: {no_longer_than(limit)}"


@contextmanager
def expect_all_out_of_bounds(*faults: Fault) -> Iterator[None]:
    """Expect several constraints to be broken, told together in any order."""
    with pytest.raises(ClientError) as caught:
        yield
    response = caught.value.response
    assert response["Error"]["Code"] == "ValidationException"
    assert response["Error"]["Message"] in constraint_messages(*faults)


@contextmanager
def expect_snapshot_not_found(snapshot_id: str) -> Iterator[None]:
    """Expect the one answer for every snapshot that a caller may not see."""
    message = f"The snapshot '{snapshot_id}' does not exist."
    with expect_refusal("ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND", message):
        yield


def constraint_message(*faults: Fault) -> str:
    """The text for constraints broken together, in this order."""
    said = "; ".join(
        f"Value {'null' if value is None else quoted(value)} at '{member}' failed to satisfy constraint: {constraint}"
        for member, value, constraint in faults
    )
    return f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: {said}"


def constraint_messages(*faults: Fault) -> set[str]:
    """The texts for constraints broken together: AWS promises no order."""
    return {constraint_message(*order) for order in permutations(faults)}


def quoted(value: str) -> str:
    """A value as AWS shows it."""
    return f"'{value}'"


NOT_NULL: Final = "Member must not be null"
SNAPSHOT_ID_PATTERN: Final = "Member must satisfy regular expression pattern: ^snap-[0-9a-f]+$"
CHECKSUM_PATTERN: Final = "Member must satisfy regular expression pattern: ^[A-Za-z0-9+/=]+$"


def at_least(limit: int) -> str:
    """The constraint of a number that is too small."""
    return f"Member must have value greater than or equal to {limit}"


def at_most(limit: int) -> str:
    """The constraint of a number that is too large."""
    return f"Member must have value less than or equal to {limit}"


def no_longer_than(limit: int) -> str:
    """The constraint of a text that is too long."""
    return f"Member must have length less than or equal to {limit}"
