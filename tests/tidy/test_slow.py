"""The list of slow tests: made from pytest's durations, and naming tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import SLOW_LIST
from tests.tidy.slow import slow_tests


def test_all_cases_of_a_test_count_together() -> None:
    report = [
        "0.20s call     tests/unit/a/test_b.py::TestC::test_d[one]",
        "0.04s setup    tests/unit/a/test_b.py::TestC::test_d[two]",
        "0.01s teardown tests/unit/a/test_b.py::TestC::test_d[two]",
        "0.24s call     tests/unit/a/test_b.py::test_quick",
        "12 passed in 3.00s",
    ]
    assert slow_tests(report) == ["tests/unit/a/test_b.py::TestC::test_d"]


def test_every_slow_test_is_there() -> None:
    for name in SLOW_LIST.read_text().split():
        path, *_, function = name.split("::")
        names = {node.name for node in ast.walk(_parsed(path)) if isinstance(node, ast.FunctionDef)}
        inherited = "Suite" in Path(path).read_text()  # methods of an importable suite
        assert function in names or inherited, name


def _parsed(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())
