"""docs/aws-behaviour/ and its tests agree; and what holds them together notices every way in which they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws_behaviour import DOCUMENTS, ROOT, facts, nodes_of, problems

DOCUMENT = """# Blocks

## PUT

- **PUT-1** A block has 524,288 bytes,
  and no others. [model]
- **PUT-2** The last write wins. [docs, recorded]
- **GET-1** What is not known. [choice]
"""

TABLE = """[blocks]
PUT-1 = ["tests/test_blocks.py::test_size"]
PUT-2 = ["tests/test_blocks.py::TestPut::test_last", "tests/test_blocks.py::test_size"]

[not-tested]
GET-1 = "nobody knows"
"""

TESTS = f"""# {DOCUMENTS}/blocks.md, PUT
def test_size() -> None: ...

class TestPut:
    def test_last(self) -> None: ...
"""

PLACES = {
    f"{DOCUMENTS}/blocks.md": DOCUMENT,
    f"{DOCUMENTS}/tests.toml": TABLE,
    "tests/test_blocks.py": TESTS,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with one document, its table and its tests."""
    for name, text in PLACES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_fact_has_a_test_or_a_reason_and_nothing_else_is_cited() -> None:
    assert problems(ROOT) == []


def test_a_tree_in_order_has_no_problem(tree: Path) -> None:
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("blocks.md", "PUT-2", "PUT-3", "PUT-3 has neither a test nor a reason for having none, in tests.toml"),
        ("blocks.md", "PUT-2", "PUT-3", "tests.toml has PUT-2, which is in no document"),
        ("blocks.md", "PUT-2", "PUT-1", "PUT-1 stands 2 times in the documents"),
        ("blocks.md", "PUT-2", "put-2", "blocks.md: 'put-2' is not an id such as EBS-PUT-3"),
        ("blocks.md", " [model]", "", "PUT-1 does not say where it comes from, in brackets at its end"),
        ("blocks.md", "[choice]", "[guess]", "GET-1 has the unknown mark 'guess'"),
        (
            "tests.toml",
            "test_blocks.py::TestPut::test_last",
            "test_blocks.py::test_last",
            "PUT-2 names tests/test_blocks.py::test_last, which does not exist",
        ),
        (
            "tests.toml",
            "test_blocks.py::TestPut::test_last",
            "test_gone.py::test_last",
            "PUT-2 names tests/test_gone.py::test_last, which does not exist",
        ),
        (
            "tests.toml",
            "test_blocks.py::TestPut::test_last",
            "test_blocks.py",
            "PUT-2 names tests/test_blocks.py, which does not exist",
        ),
        (
            "tests.toml",
            "test_blocks.py::TestPut::test_last",
            "test_blocks.py::TestPut",
            "PUT-2 names tests/test_blocks.py::TestPut, which does not exist",
        ),
        ("tests.toml", "test_blocks.py::TestPut::test_last", "test_blocks.py::test_size", "PUT-2 names a test twice"),
        ("tests.toml", '["tests/test_blocks.py::test_size"]', "[]", "PUT-1 needs a list with at least one test"),
        ("tests.toml", '"nobody knows"', '" "', "GET-1 is not tested, and no reason is given"),
        ("tests.toml", "GET-1 =", "PUT-1 =", "PUT-1 stands in 2 tables of tests.toml"),
        ("tests.toml", "[blocks]", "[blocs]", "PUT-1 is of blocks.md, and tests.toml has it under blocs"),
    ],
)
def test_what_does_not_match_is_told(tree: Path, name: str, old: str, new: str, problem: str) -> None:
    path = tree / DOCUMENTS / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert problem in problems(tree)


@pytest.mark.parametrize(
    ("cited", "problem"),
    [
        ("block.md, PUT-1", f"cites {DOCUMENTS}/block.md, which does not exist"),
        ("blocks.md, PUT-9", "cites PUT-9 of blocks.md, which has no such fact or section"),
        ("blocks.md, PUT and LIST", "cites LIST of blocks.md, which has no such fact or section"),
        ("blocks.md,\n    # PUT-9", "cites PUT-9 of blocks.md, which has no such fact or section"),
    ],
)
def test_a_citation_of_what_there_is_not_is_told(tree: Path, cited: str, problem: str) -> None:
    (tree / "tests" / "other.py").write_text(f"# {DOCUMENTS}/{cited}\n")
    assert f"tests/other.py {problem}" in problems(tree)


def test_a_fact_may_have_several_lines(tree: Path) -> None:
    first = facts(tree / DOCUMENTS)[0]
    assert first.text == "A block has 524,288 bytes, and no others. [model]"
    assert first.marks == {"model"}


def test_a_section_has_the_tests_of_its_facts(tree: Path) -> None:
    assert list(nodes_of(tree, "PUT")) == ["PUT-1", "PUT-2"]
    assert list(nodes_of(tree, "PUT-2")) == ["PUT-2"]
    assert nodes_of(tree, "PU") == {}
