"""Which rest-json operation a method and a path mean, read off the request URIs of the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from snapstone.wire.constraints import echo
from snapstone.wire.models import Operation
from snapstone.wire.refusals import UnknownOperationError


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, and the path's own members by their names in the request URI."""

    operation: Operation
    uri_values: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Template:
    operation: Operation
    fixed: tuple[tuple[int, str], ...]
    places: tuple[tuple[int, str], ...]
    length: int


class Routes:
    """Matches paths by their last segments, so a base path that a proxy puts before `/snapshots` does not matter."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._templates: dict[str, list[_Template]] = {}
        for operation in operations:
            self._templates.setdefault(operation.method, []).append(_template(operation))
        for templates in self._templates.values():
            templates.sort(key=lambda template: template.length, reverse=True)

    def find(self, method: str, path: str) -> Route:
        """The longest request URI that the raw `path` ends in.

        Members are percent-decoded exactly once, after the split, so an encoded slash stays inside its segment.
        Raises UnknownOperationError where none matches.
        """
        segments = path.split("/")[1:]
        for template in self._templates.get(method, ()):
            start = len(segments) - template.length
            if start >= 0 and all(segments[start + at] == text for at, text in template.fixed):
                return Route(template.operation, {name: unquote(segments[start + at]) for at, name in template.places})
        raise UnknownOperationError(echo(method), echo(path))


def _template(operation: Operation) -> _Template:
    fixed, places = [], []
    for at, segment in enumerate(operation.uri_segments):
        if segment.startswith("{"):
            places.append((at, segment.strip("{}")))
        else:
            fixed.append((at, segment))
    return _Template(operation, tuple(fixed), tuple(places), len(operation.uri_segments))
