"""docs/imports.md, made from the source: `python -m tests.tidy.imports > docs/imports.md`.

A node is a floor, a package, or a module that stands directly in a floor. Edges that a longer way implies are
left out (the transitive reduction), so that the picture can be read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[2] / "src"
ROOT: Final = "snapstone"

Graph = Mapping[str, frozenset[str]]
"""For each node, those that it imports."""


def modules() -> dict[str, Path]:
    """Every module, packages included, by its dotted name."""
    found = {}
    for path in sorted((SOURCE / ROOT).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> Graph:
    """Which modules each module imports, anywhere in it."""
    known = modules()
    return {name: frozenset(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == ROOT:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def packages(depth: int) -> Graph:
    """The same between what stands `depth` levels below the root, inside one floor or between floors."""
    graph: dict[str, set[str]] = {}
    for name, targets in imports().items():
        node = _node(name, depth)
        graph.setdefault(node, set()).update(_node(target, depth) for target in targets)
    return {node: frozenset(targets) - {node, ROOT} for node, targets in graph.items() if node != ROOT}


def _node(name: str, depth: int) -> str:
    return ".".join(name.split(".")[: depth + 1])


def circles(graph: Graph) -> list[list[str]]:
    """Sets of nodes that import each other, directly or not: there should be none."""
    reach = {node: _reachable(graph, node) for node in graph}
    rings = {frozenset({node, *(other for other in reach[node] if node in reach.get(other, ()))}) for node in graph}
    return sorted(sorted(ring) for ring in rings if len(ring) > 1)


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(graph.get(node, ()))
    return seen


def reduced(graph: Graph) -> Graph:
    """The graph without edges that a longer way implies. It must have no circle."""
    return {
        node: frozenset(
            target
            for target in targets
            if not any(target in _reachable(graph, other) for other in targets if other != target)
        )
        for node, targets in graph.items()
    }


def document() -> str:
    """The document."""
    parts = [
        "# Imports",
        "",
        "Made by `python -m tests.tidy.imports > docs/imports.md`; a test compares it with the source. An arrow means",
        "*imports*; arrows that a longer way implies are left out. There is no circle of modules or of packages.",
        "",
        "## Floors",
        "",
        *_mermaid(packages(1), f"{ROOT}."),
    ]
    inside = packages(2)
    for floor in sorted({node.split(".")[1] for node in inside if node.count(".") > 1}):
        prefix = f"{ROOT}.{floor}."
        graph = {
            node: frozenset(target for target in targets if target.startswith(prefix))
            for node, targets in inside.items()
            if node.startswith(prefix)
        }
        parts += ["", f"## {floor}", "", *_mermaid(graph, prefix)]
    return "\n".join(parts) + "\n"


def _mermaid(graph: Graph, prefix: str) -> list[str]:
    lines = ["```mermaid", "graph TD"]
    for node, targets in sorted(reduced(graph).items()):
        lines.append(f"    {node.removeprefix(prefix)}")
        lines += [f"    {node.removeprefix(prefix)} --> {target.removeprefix(prefix)}" for target in sorted(targets)]
    return [*lines, "```"]


if __name__ == "__main__":
    print(document(), end="")
