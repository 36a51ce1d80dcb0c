"""Filters: alternatives, conjunctions, wildcards, and that no pattern costs more than its length times the text's."""

from __future__ import annotations

from time import perf_counter

import pytest

from snapstone.core.errors import FilterLimitError, InvalidParameterError
from snapstone.service.ec2.filters import MAX_FILTER_VALUES, Facts, Filter, select

FACTS: Facts[str] = {"name": lambda subject: (subject,), "length": lambda subject: (str(len(subject)),)}


def tags(subject: str) -> list[tuple[str, str]]:
    return [("first", subject[:1])] if subject else []


def names(*values: str) -> list[Filter]:
    return [{"Name": "name", "Values": list(values)}]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("abc", ["abc"]),
        ("a*", ["abc", "a", "a*c", "ab\nc"]),
        ("*c", ["abc", "a*c", "ab\nc"]),
        ("*", ["abc", "a", "a*c", "ab\nc", "", "b"]),
        ("**", ["abc", "a", "a*c", "ab\nc", "", "b"]),
        ("?", ["a", "b"]),
        ("a?c", ["abc", "a*c"]),
        ("a\\*c", ["a*c"]),
        ("a*?c", ["abc", "a*c", "ab\nc"]),
        ("*b*", ["abc", "ab\nc", "b"]),
        ("A*", []),
        ("a.c", []),
        ("", [""]),
    ],
)
def test_a_star_is_any_text_and_a_question_mark_one_character(pattern: str, matches: list[str]) -> None:
    subjects = ["abc", "a", "a*c", "ab\nc", "", "b"]
    assert select(subjects, names(pattern), FACTS, tags) == matches


def test_values_are_alternatives_and_filters_add_up() -> None:
    subjects = ["a", "bb", "cc", "ddd"]
    assert select(subjects, names("a", "bb", "ddd"), FACTS, tags) == ["a", "bb", "ddd"]
    both: list[Filter] = [*names("a", "bb"), {"Name": "length", "Values": ["2"]}]
    assert select(subjects, both, FACTS, tags) == ["bb"]
    assert select(subjects, [], FACTS, tags) == subjects


def test_tags_are_found_by_key_and_by_value() -> None:
    subjects = ["apple", "", "beet"]
    assert select(subjects, [{"Name": "tag:first", "Values": ["b"]}], FACTS, tags) == ["beet"]
    assert select(subjects, [{"Name": "tag-key", "Values": ["fir*"]}], FACTS, tags) == ["apple", "beet"]
    assert select(subjects, [{"Name": "tag:other", "Values": ["*"]}], FACTS, tags) == []


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(InvalidParameterError) as raised:
        select(["a"], [{"Name": "color", "Values": ["red"]}], FACTS, tags)
    assert raised.value.message == "The filter 'color' is invalid"


def test_no_more_than_two_hundred_values_are_taken() -> None:
    assert MAX_FILTER_VALUES == 200
    select(["a"], names(*["a"] * 200), FACTS, tags)
    with pytest.raises(FilterLimitError):
        select(["a"], [*names(*["a"] * 200), *names("a")], FACTS, tags)


def test_a_pattern_of_many_stars_is_quickly_refused_by_a_long_text() -> None:
    began = perf_counter()
    assert select(["a" * 255], names("*a" * 100 + "*b"), FACTS, tags) == []
    assert select(["a" * 255], names("*a" * 100 + "*"), FACTS, tags) == ["a" * 255]
    assert select(["ab" * 120], names("*a?" * 100 + "c"), FACTS, tags) == []
    assert perf_counter() - began < 1
