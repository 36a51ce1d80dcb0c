"""Tables: aligned on a terminal, with tabs elsewhere, and never steering the terminal."""

from __future__ import annotations

import pytest

from snapstone.cli.tables import aligned, one_line, print_facts, print_table, printable


def test_control_characters_are_shown_and_not_sent() -> None:
    assert printable("a\x1b[31m\tb\n\u202ec") == "a\\x1b[31m\\tb\\n\\u202ec"
    assert printable("データ ü") == "データ ü"


def test_a_message_of_many_lines_is_one() -> None:
    assert one_line("500: <html>\n  <h1>no\x07</h1>\r\n\n") == "500: <html> <h1>no\\x07</h1>"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("A", "BB", "C"), ("1111", "2", "3")], None) == ["A     BB  C", "1111  2   3"]


def test_wide_characters_count_for_two() -> None:
    assert aligned([("データ", "x"), ("a", "y")], None) == ["データ  x", "a       y"]


def test_a_line_that_is_too_long_is_cut_at_the_terminals_width() -> None:
    assert aligned([("snap-1", "a long description")], 20) == ["snap-1  a long desc…"]
    assert aligned([("snap-1", "exactly here")], 20) == ["snap-1  exactly here"]


def test_elsewhere_cells_have_tabs_between_them_and_no_head(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [("1\t", "x" * 200), ("2", "-")])
    assert capsys.readouterr().out == "1\\t\t" + "x" * 200 + "\n2\t-\n"


def test_facts_have_their_values_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("State", "completed"), ("Description", "a\nb")])
    assert capsys.readouterr().out == "State:        completed\nDescription:  a\\nb\n"
