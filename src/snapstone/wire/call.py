"""One call of an operation, between its request and its answer, and who may have a say in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from snapstone.core.errors import ReadOnlyError
from snapstone.service.engine import Caller
from snapstone.service.permissions.reading import only_reads
from snapstone.wire.http import Request, Response


@dataclass(slots=True)
class Call:
    """A request whose signature holds and whose members are of their types."""

    service: str
    operation: str
    caller: Caller
    members: Mapping[str, object]
    """By model name."""
    request: Request
    log: dict[str, object]
    """Filled on the way, whatever the end."""
    output: Mapping[str, object] | None = None
    """By model name; set once the operation is done. May hold secrets."""


Guard = Callable[[Call], None]
"""Asked before a call's permissions and its operation; may wait, or raise an error that has a row in `faults`."""

Witness = Callable[[Request, Call | None, Response], None]
"""Told of each answer once it is made: the request, and its call where it came to one."""


def refuse_changes(call: Call) -> None:
    """A guard that lets pass what only reads. Raises ReadOnlyError."""
    if not only_reads(call.service, call.operation):
        raise ReadOnlyError


def refuse_changes_while(is_read_only: Callable[[], bool]) -> Guard:
    """As `refuse_changes`, while something says so."""

    def guard(call: Call) -> None:
        if is_read_only():
            refuse_changes(call)

    return guard
