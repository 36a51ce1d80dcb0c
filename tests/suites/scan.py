"""Which methods of a contract the tests of its suites call, read from their source: no test has to run.

A call counts if it is made on a parameter annotated with the contract, or on a variable that one of MAKERS has filled;
in a test, or in a function of `tests` that a test calls, however far away. What fixtures call does not count.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection
from textwrap import dedent
from types import FunctionType
from typing import Final

MAKERS: Final = frozenset({"opener", "reopen", "borrow_block_buffer", "get_block"})
"""What the tests call to get an implementation of a contract, or of a part of it."""


def promised(contract: type) -> set[str]:
    """The methods of a protocol, and of all protocols that it is made of."""
    return {
        name
        for part in contract.__mro__
        if getattr(part, "_is_protocol", False)
        for name, member in vars(part).items()
        if isinstance(member, FunctionType) and not name.startswith("_")
    }


def called(suites: Collection[type], contract: type) -> set[str]:
    """What the tests of these suites call on an implementation of a contract."""
    found: set[str] = set()
    waiting = [
        member
        for suite in suites
        for name, member in inspect.getmembers(suite, inspect.isfunction)
        if name.startswith("test_")
    ]
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        source = ast.parse(dedent(inspect.getsource(function)))
        implementations = _implementations(source, contract.__name__)
        for node in ast.walk(source):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in implementations:
                    found.add(node.attr)
            elif isinstance(node, ast.Name):
                helper = function.__globals__.get(node.id)
                if isinstance(helper, FunctionType) and helper.__module__.startswith("tests."):
                    waiting.append(helper)
    return found


def _implementations(source: ast.AST, contract: str) -> set[str]:
    """The names in a function that stand for an implementation of the contract."""
    names: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name) and node.annotation.id == contract:
            names.add(node.arg)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _name(node.value.func) in MAKERS:
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _name(called: ast.expr) -> str | None:
    """The last part of what is called."""
    match called:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None
