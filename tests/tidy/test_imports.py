"""The picture of imports is the source's, and it has no circle."""

from __future__ import annotations

from pathlib import Path

from tests.tidy.imports import circles, document, imports, packages


def test_the_document_of_imports_is_the_sources() -> None:
    assert Path("docs/imports.md").read_text() == document(), "python -m tests.tidy.imports > docs/imports.md"


def test_no_modules_and_no_packages_import_each_other_in_a_circle() -> None:
    assert circles(imports()) == []
    assert circles(packages(1)) == []
    assert circles(packages(2)) == []


def test_a_circle_is_found() -> None:
    graph = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b"), "d": frozenset("a")}
    assert circles(graph) == [["b", "c"]]
