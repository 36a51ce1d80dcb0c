"""What is changed in a module, what is left alone, and that the list of equivalent changes is up to date."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.mutation.__main__ import candidates_in, equivalents, stages_of
from tests.mutation.mutants import mutants_of
from tests.mutation.scratch import SOURCE, TREE


def changed(text: str) -> set[str]:
    """Every text that a change makes of another."""
    source = dedent(text).encode()
    return {mutant.apply(source).decode() for mutant in mutants_of(source)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b\n", {"a <= b\n"}),
        ("a >= b\n", {"a > b\n"}),
        ("a == b\n", {"a != b\n"}),
        ("a is not b\n", {"a is b\n"}),
        ("a in b\n", {"a not in b\n"}),
        ("a < b <= c\n", {"a <= b <= c\n", "a < b < c\n"}),
        ("(a) + (b)\n", {"(a) - (b)\n"}),
        ("a << b\n", {"a >> b\n"}),
        ("a and b or c\n", {"a or b or c\n", "a and b and c\n"}),
        ("not a\n", {"a\n"}),
        ("x = 7\n", {"x = 8\n"}),
        ("x = True\n", {"x = False\n"}),
        ("x = 0.5\n", {"x = 1.0\n"}),
        ("x += y\n", {"x -= y\n"}),
        ("if a:\n    b\n", {"if not (a):\n    b\n"}),
        ("b if a else c\n", {"b if not (a) else c\n"}),
        ("[b for b in c if a]\n", {"[b for b in c if not (a)]\n"}),
        ("a.sync()\n", {"pass\n"}),
        ("raise a\n", {"pass\n"}),
        ("while a:\n    break\n", {"while not (a):\n    break\n", "while a:\n    continue\n"}),
        ("def f():\n    return a\n", {"def f():\n    return None\n"}),
        ("def f() -> bool:\n    return False\n", {"def f() -> bool:\n    return True\n"}),
        (
            "def f() -> bool | None:\n    return False\n",
            {"def f() -> bool | None:\n    return True\n", "def f() -> bool | None:\n    return None\n"},
        ),
        ("ü = 'ü' < b\n", {"ü = 'ü' <= b\n"}),
    ],
)
def test_a_place_is_changed(text: str, expected: set[str]) -> None:
    assert changed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring."""\n',
        "log.info(a + 1)\n",
        "_log.error('x', extra={'fields': {'a': 1}})\n",
        "x: Literal[1] = a\n",
        "def f(a: int | None) -> int | None: ...\n",
        "class A(Protocol):\n    x = 1\n",
        "class A:\n    def __repr__(self):\n        return a + b\n",
        "class A:\n    __slots__ = (1,)\n",
        "if TYPE_CHECKING:\n    x = 1\n",
        "T = TypeVar('T', bound=1)\n",
        "assert a < b\n",
        "'a' + b\n",
        "return_none = None\n",
    ],
)
def test_what_nobody_acts_on_is_left_alone(text: str) -> None:
    assert changed(text) == set()


def test_each_condition_of_a_where_but_the_first_is_dropped() -> None:
    text = "x = \"SELECT a FROM b WHERE c = ? AND d <> 'x' AND (e, f) >= (?, ?) ORDER BY g\"\n"
    assert changed(text) == {text.replace(" AND d <> 'x'", ""), text.replace(" AND (e, f) >= (?, ?)", "")}


def test_conditions_of_a_formatted_statement_are_dropped_too() -> None:
    text = 'f"{A} WHERE c = ? AND d IS NULL"\n'
    assert changed(text) == {text.replace(" AND d IS NULL", "")}


def test_every_module_has_changes_that_can_be_compiled() -> None:
    assert len(candidates_in("core/block_map.py")) > 50


def test_every_change_that_is_called_equivalent_is_one() -> None:
    for module, function, change in equivalents():
        found = mutants_of((TREE / SOURCE / module).read_bytes())
        assert any((mutant.function, mutant.change) == (function, change) for mutant in found), (module, change)


def test_a_modules_own_tests_run_first_and_everything_in_the_end() -> None:
    stages = list(stages_of(Path("core/block_map.py"), unit_only=False))
    assert stages[0].arguments[0] == "tests/unit/core/test_block_map.py"
    assert stages[1].arguments[0] == "tests/unit/core"
    assert "tests/property/test_block_map.py" in stages[2].arguments
    assert [stage.arguments[0] for stage in stages[3:]] == ["tests/unit", "tests/unit", "tests", "tests/crash"]
