"""The one rule for tags, and what each service adds to it."""

from __future__ import annotations

import pytest

from snapstone.core.tags import TAG_CHARACTERS, TagProblem, TagRule, is_removable, is_reserved


class RefusedError(Exception):
    """What the service of these tests raises."""

    def __init__(self, problem: TagProblem, key: str) -> None:
        super().__init__(problem, key)
        self.problem = problem
        self.key = key


RULE = TagRule(RefusedError)


def sent(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]


def problem_of(*pairs: tuple[str, str], rule: TagRule = RULE) -> TagProblem:
    with pytest.raises(RefusedError) as refusal:
        rule.sent(sent(*pairs))
    return refusal.value.problem


def numbered(count: int) -> list[tuple[str, str]]:
    return [(f"k{number}", "") for number in range(count)]


@pytest.mark.parametrize("key", ["aws:", "aws:x", "AWS:x", "Aws:x", "aWS:cloudformation:stack"])
def test_the_prefix_is_reserved_in_any_case(key: str) -> None:
    assert is_reserved(key)
    assert problem_of((key, "v")) is TagProblem.RESERVED


@pytest.mark.parametrize("key", ["aws", "awsx:", " aws:x", "x:aws:"])
def test_other_keys_are_the_users(key: str) -> None:
    assert not is_reserved(key)
    assert RULE.sent(sent((key, "v"))) == ((key, "v"),)


def test_a_reserved_key_in_lower_case_alone_cannot_be_taken_off() -> None:
    assert not is_removable("aws:x")
    assert is_removable("AWS:x")
    assert is_removable("x")


def test_what_can_be_taken_off_has_a_possible_key() -> None:
    RULE.require_key("AWS:x")
    RULE.require_key("k" * 128)
    for key, problem in (
        ("", TagProblem.KEY_EMPTY),
        ("k" * 129, TagProblem.KEY_TOO_LONG),
        ("aws:x", TagProblem.RESERVED),
    ):
        with pytest.raises(RefusedError) as refusal:
            RULE.require_key(key)
        assert (refusal.value.problem, refusal.value.key) == (problem, key)


def test_the_longest_key_and_value_are_taken_and_no_longer_ones() -> None:
    longest = ("ä" * 128, "ß" * 256)
    assert RULE.sent(sent(longest)) == (longest,)
    assert problem_of(("k" * 129, "")) is TagProblem.KEY_TOO_LONG
    assert problem_of(("k", "v" * 257)) is TagProblem.VALUE_TOO_LONG
    assert problem_of(("", "v")) is TagProblem.KEY_EMPTY


def test_a_service_may_take_shorter_ones_alone() -> None:
    shorter = TagRule(RefusedError, max_key_length=3, max_value_length=2)
    assert shorter.sent(sent(("abc", "de"))) == (("abc", "de"),)
    assert problem_of(("abcd", ""), rule=shorter) is TagProblem.KEY_TOO_LONG
    assert problem_of(("a", "abc"), rule=shorter) is TagProblem.VALUE_TOO_LONG


def test_characters_count_only_for_a_service_that_says_which() -> None:
    odd = ("a*", "b\0")
    assert RULE.sent(sent(odd)) == (odd,)
    strict = TagRule(RefusedError, characters=TAG_CHARACTERS)
    assert strict.sent(sent(("Größe +-=._:/@1", "ein Wert"))) == (("Größe +-=._:/@1", "ein Wert"),)
    assert problem_of(("a*", ""), rule=strict) is TagProblem.CHARACTER
    assert problem_of(("a", "b\0"), rule=strict) is TagProblem.CHARACTER


def test_a_key_given_twice_is_told_with_its_name() -> None:
    with pytest.raises(RefusedError) as refusal:
        RULE.sent(sent(("a", "1"), ("b", ""), ("a", "2")))
    assert (refusal.value.problem, refusal.value.key) == (TagProblem.DUPLICATE, "a")


def test_case_makes_another_key_unless_the_service_ignores_it() -> None:
    assert RULE.sent(sent(("a", ""), ("A", ""))) == (("a", ""), ("A", ""))
    ignoring = TagRule(RefusedError, ignores_case=True)
    assert problem_of(("a", ""), ("A", ""), rule=ignoring) is TagProblem.DUPLICATE
    assert ignoring.added([("Team", "red")], [("team", "blue")]) == (("team", "blue"),)
    assert ignoring.without([("Team", "red"), ("b", "")], ["TEAM"]) == (("b", ""),)
    assert RULE.without([("Team", "red"), ("b", "")], ["TEAM"]) == (("Team", "red"), ("b", ""))


def test_fifty_tags_are_the_most_of_a_request_and_of_a_resource() -> None:
    fifty = tuple(numbered(50))
    assert RULE.sent(sent(*fifty)) == fifty
    assert problem_of(*numbered(51)) is TagProblem.TOO_MANY_SENT
    assert len(RULE.added(fifty[:49], [("new", "")])) == 50
    with pytest.raises(RefusedError) as refusal:
        RULE.added(fifty, [("new", "")])
    assert refusal.value.problem is TagProblem.TOO_MANY_KEPT


def test_an_added_tag_takes_the_place_of_that_with_its_key() -> None:
    assert RULE.added([("a", "1"), ("b", "2")], [("c", "3"), ("a", "new")]) == (("a", "new"), ("b", "2"), ("c", "3"))


def test_parts_have_the_names_that_the_service_gives_them_and_a_missing_value_is_empty() -> None:
    kms = TagRule(RefusedError, key_member="TagKey", value_member="TagValue")
    assert kms.sent([{"TagKey": "a", "TagValue": "1"}, {"TagKey": "b"}]) == (("a", "1"), ("b", ""))
    with pytest.raises(RefusedError) as refusal:
        kms.sent([{"TagValue": "1"}])
    assert refusal.value.problem is TagProblem.KEY_EMPTY
