"""Holds docs/aws-behaviour/ against the tests: each fact has a test that exists, or a reason why not.

`python -m tests.aws_behaviour` prints what is wrong, `python -m tests.aws_behaviour EBS-PUT` the tests of a section.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent

DOCUMENTS: Final = Path("docs/aws-behaviour")
TABLE: Final = "tests.toml"
NOT_TESTED: Final = "not-tested"

MARKS: Final = frozenset({"model", "docs", "recorded", "client", "report", "inferred", "choice", "differs"})
"""What a fact may say about its source: docs/aws-behaviour/README.md explains each."""

CITING: Final = ("src", "tests", "docs", "bench", "tour")
"""Folders whose Python and Markdown files may cite facts, beside the documents of the root folder."""

_FACT: Final = re.compile(r"^- \*\*([^*]*)\*\* ((?:.|\n  )*)", re.MULTILINE)
_ID: Final = re.compile(r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*-[1-9][0-9]*")
_MARKS: Final = re.compile(r"\[([a-z, ]+)\]$")
_CITED: Final = re.compile(r"docs/aws-behaviour/([\w-]+\.\w+)((?:,?(?: and)? (?!AWS)[A-Z][A-Z0-9-]*[A-Z0-9])*)")
"""A document, and the ids of facts or sections after it: `docs/aws-behaviour/ebs-direct.md, EBS-PUT and EBS-GET-2`."""


@dataclass(frozen=True)
class Fact:
    """One fact of a document."""

    fact_id: str
    document: str
    """File name without its ending, which is the name of the table of its tests."""
    text: str

    @property
    def marks(self) -> frozenset[str]:
        """Where it comes from, as the brackets at its end say."""
        found = _MARKS.search(self.text)
        return frozenset(found[1].split(", ")) if found else frozenset()


def facts(folder: Path) -> list[Fact]:
    """Every fact of every document in a folder, in order."""
    return [
        Fact(fact_id, path.stem, " ".join(text.split()))
        for path in sorted(folder.glob("*.md"))
        for fact_id, text in _FACT.findall(path.read_text())
    ]


def problems(root: Path) -> list[str]:
    """Everything that is wrong with the facts, their tests and what cites them, one sentence each."""
    folder = root / DOCUMENTS
    known = facts(folder)
    table = tomllib.loads((folder / TABLE).read_text())
    return [*_ill_formed(known), *_unmatched(known, table), *_missing_tests(root, table), *_dead_citations(root, known)]


def nodes_of(root: Path, section: str) -> dict[str, list[str]]:
    """The tests of a fact, or of all facts of a section, by fact id."""
    table = tomllib.loads((root / DOCUMENTS / TABLE).read_text())
    return {
        fact_id: nodes
        for document, rows in table.items()
        if document != NOT_TESTED
        for fact_id, nodes in rows.items()
        if _names(section, fact_id)
    }


def _names(cited: str, fact_id: str) -> bool:
    """Whether what is cited is a fact, or a section that it belongs to."""
    return fact_id == cited or fact_id.startswith(f"{cited}-")


def _ill_formed(known: Sequence[Fact]) -> Iterator[str]:
    for fact in known:
        if not _ID.fullmatch(fact.fact_id):
            yield f"{fact.document}.md: '{fact.fact_id}' is not an id such as EBS-PUT-3"
        if not fact.marks:
            yield f"{fact.fact_id} does not say where it comes from, in brackets at its end"
        for mark in sorted(fact.marks - MARKS):
            yield f"{fact.fact_id} has the unknown mark '{mark}'"
    for fact_id, count in Counter(fact.fact_id for fact in known).items():
        if count > 1:
            yield f"{fact_id} stands {count} times in the documents"


def _unmatched(known: Sequence[Fact], table: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Facts without a row, and rows without a fact. TOML itself refuses a second row of one id in one table."""
    documents = {fact.fact_id: fact.document for fact in known}
    rows = Counter(fact_id for row_ids in table.values() for fact_id in row_ids)
    for fact_id in documents:
        if rows[fact_id] == 0:
            yield f"{fact_id} has neither a test nor a reason for having none, in {TABLE}"
        if rows[fact_id] > 1:
            yield f"{fact_id} stands in {rows[fact_id]} tables of {TABLE}"
    for document, row_ids in table.items():
        for fact_id in row_ids:
            if fact_id not in documents:
                yield f"{TABLE} has {fact_id}, which is in no document"
            elif document not in (NOT_TESTED, documents[fact_id]):
                yield f"{fact_id} is of {documents[fact_id]}.md, and {TABLE} has it under {document}"


def _missing_tests(root: Path, table: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    for document, rows in table.items():
        for fact_id, value in rows.items():
            if document == NOT_TESTED:
                if not isinstance(value, str) or not value.strip():
                    yield f"{fact_id} is not tested, and no reason is given"
            elif not isinstance(value, list) or not value:
                yield f"{fact_id} needs a list with at least one test"
            else:
                yield from (f"{fact_id} names {node}, which does not exist" for node in value if not exists(root, node))
                if len(set(value)) < len(value):
                    yield f"{fact_id} names a test twice"


def exists(root: Path, node: str) -> bool:
    """Whether a pytest node such as tests/unit/test_x.py::TestY::test_z is defined there, as its source says."""
    file_name, *names = node.split("::")
    return bool(names) and names[-1].startswith("test_") and tuple(names) in _defined(root / file_name)


@cache
def _defined(path: Path) -> frozenset[tuple[str, ...]]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text())
    functions = {(each.name,) for each in tree.body if isinstance(each, ast.FunctionDef)}
    methods = {
        (group.name, each.name)
        for group in tree.body
        if isinstance(group, ast.ClassDef)
        for each in group.body
        if isinstance(each, ast.FunctionDef)
    }
    return frozenset(functions | methods)


def _dead_citations(root: Path, known: Sequence[Fact]) -> Iterator[str]:
    for path in _citing_files(root):
        for name, ids in _CITED.findall(_unwrapped(path.read_text())):
            place = path.relative_to(root)
            if not (root / DOCUMENTS / name).exists():
                yield f"{place} cites {DOCUMENTS}/{name}, which does not exist"
            for cited in re.findall(r"[A-Z][A-Z0-9-]*[A-Z0-9]", ids):
                if not any(f"{fact.document}.md" == name and _names(cited, fact.fact_id) for fact in known):
                    yield f"{place} cites {cited} of {name}, which has no such fact or section"


def _citing_files(root: Path) -> Iterator[Path]:
    yield from sorted(root.glob("*.md"))
    for folder in CITING:
        for pattern in ("*.py", "*.md"):
            yield from sorted((root / folder).rglob(pattern))


def _unwrapped(text: str) -> str:
    """Text whose line ends, with the indentation and comment marks after them, are spaces."""
    return re.sub(r"\n[ \t#]*", " ", text)


def main(arguments: Sequence[str]) -> int:
    """Print the tests of the sections named, or what is wrong if none is."""
    for section in arguments:
        for fact_id, nodes in nodes_of(ROOT, section).items():
            print(fact_id, *nodes, sep="\n  ")
    found = [] if arguments else problems(ROOT)
    print(*found, sep="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
