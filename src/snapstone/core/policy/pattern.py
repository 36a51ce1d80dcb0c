"""Patterns in a policy: wildcards, variables, and ARNs part by part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

Keys = Mapping[str, str | tuple[str, ...]]
"""The context of a request: condition keys by their names in lower case."""

Test = Callable[[str, Keys], bool | None]
"""Whether a text matches; None if undecidable: a variable has no value, or the text is of another type."""

Arn = Sequence[str]
"""The six parts of an ARN, the last with all its colons."""

ArnTest = Callable[[Arn, Keys], bool | None]

ARN_PARTS: Final = 6
VARIABLE_LIMIT: Final = 512
"""Characters of one variable, braces and default included."""

VARIABLE_COUNT_LIMIT: Final = 64
"""Variables in one text."""


class Wildcard(Enum):
    """The special parts of a pattern."""

    ANY = "*"
    ONE = "?"


@dataclass(frozen=True, slots=True)
class Variable:
    """`${key, 'default'}`: replaced by the request's value."""

    key: str
    default: str | None

    def value(self, keys: Keys) -> str | None:
        """None if there is none, or if there are several and none of them is the one."""
        held = keys.get(self.key)
        return held if isinstance(held, str) else self.default


Piece = str | Wildcard | Variable

_TOKENS: Final = re.compile(r"\$\{[^}]*\}?|[*?]|\$|[^*?$]+")
_PLAIN_TOKENS: Final = re.compile(r"[*?]|[^*?]+")
_ARN_TOKENS: Final = re.compile(r"\$\{[^}]*\}?|:|\$|[^:$]+")
_PLAIN_ARN_TOKENS: Final = re.compile(r":|[^:]+")
_VARIABLE: Final = re.compile(r"\$\{\s*([^\s{},'$:][^{},'$]*:[^{},'$]*?)\s*(?:,\s*'([^'{}]*)'\s*)?\}")


def compile_text(text: str, *, variables: bool, wildcards: bool = False, fold: bool = False) -> Test:
    """A test for texts like this one; `fold` takes upper and lower case as one, in texts without wildcards.

    Raises ValueError for an invalid variable.
    """
    pieces = _pieces(text, variables, wildcards)
    variable_count = sum(isinstance(piece, Variable) for piece in pieces)
    if variable_count > VARIABLE_COUNT_LIMIT:
        raise ValueError(f"has more than {VARIABLE_COUNT_LIMIT} variables")
    if variable_count:
        return _variable_test(pieces, fold)
    return _fixed_test([piece for piece in pieces if not isinstance(piece, Variable)], fold)


def compile_arn(text: str, *, variables: bool, may_be_cut: bool = False) -> ArnTest:
    """A test for ARNs like this one: no wildcard reaches over a colon, except in the last part.

    With `may_be_cut` an ARN cut short after a `*` covers all that follows. Raises ValueError for what is no ARN.
    """
    parts = _split(text, variables)
    if parts[0] != "arn" or (len(parts) < ARN_PARTS and not (may_be_cut and parts[-1].endswith("*"))):
        raise ValueError("is not an ARN of six parts, as arn:aws:ec2:REGION::snapshot/ID")
    last = len(parts) - 1
    tests = [compile_text(part, variables=variables, wildcards=True) for part in parts]

    def arn_test(arn: Arn, keys: Keys) -> bool | None:
        held = arn if len(arn) == len(tests) else (*arn[:last], ":".join(arn[last:]))
        return all_match(test(part, keys) for test, part in zip(tests, held, strict=True))

    return arn_test


def split_arn(text: str) -> tuple[str, ...] | None:
    """The six parts of an ARN; None if the text is not one."""
    parts = tuple(text.split(":", ARN_PARTS - 1))
    return parts if len(parts) == ARN_PARTS and parts[0] == "arn" else None


def any_matches(results: Iterable[bool | None]) -> bool | None:
    """True if one is; otherwise None if one cannot be decided."""
    answer: bool | None = False
    for result in results:
        if result:
            return True
        if result is None:
            answer = None
    return answer


def all_match(results: Iterable[bool | None]) -> bool | None:
    """False if one is; otherwise None if one cannot be decided."""
    answer: bool | None = True
    for result in results:
        if result is None:
            answer = None
        elif not result:
            return False
    return answer


def wildcard_pattern(pieces: Iterable[str | Wildcard]) -> re.Pattern[str]:
    """A pattern for whole texts.

    The text between two stars is matched at its first occurrence, without backtracking: if any match exists,
    that one does, and without going back the cost is bounded by the product of both lengths.
    """
    groups = [""]
    for piece in pieces:
        if piece is Wildcard.ANY:
            groups.append("")
        else:
            groups[-1] += "." if isinstance(piece, Wildcard) else re.escape(piece)
    first, *between = groups
    last = f".*{between.pop()}" if between else ""
    return re.compile(first + "".join(f"(?>.*?{group})" for group in between if group) + last, re.DOTALL)


def _pieces(text: str, variables: bool, wildcards: bool) -> list[Piece]:
    tokens = _TOKENS if variables else _PLAIN_TOKENS
    return [_piece(token, variables, wildcards) for token in tokens.findall(text)]


def _piece(token: str, variables: bool, wildcards: bool) -> Piece:
    if variables and token.startswith("${"):
        return _variable(token)
    return Wildcard(token) if wildcards and token in ("*", "?") else token


def _variable(token: str) -> Piece:
    if token in ("${*}", "${?}", "${$}"):
        return token[2]
    match = _VARIABLE.fullmatch(token) if len(token) <= VARIABLE_LIMIT else None
    if match is None:
        raise ValueError(f"has {token[:VARIABLE_LIMIT]}, which is not a variable like ${{aws:username}}")
    return Variable(match[1].lower(), match[2])


def _fixed_test(pieces: Sequence[str | Wildcard], fold: bool) -> Test:
    if pieces == [Wildcard.ANY]:
        return lambda text, keys: True
    if any(isinstance(piece, Wildcard) for piece in pieces):
        matched = wildcard_pattern(pieces).fullmatch
        return lambda text, keys: matched(text) is not None
    literal = _joined(pieces)
    if fold:
        folded = literal.casefold()
        return lambda text, keys: text.casefold() == folded
    return lambda text, keys: text == literal


def _variable_test(pieces: Sequence[Piece], fold: bool) -> Test:
    def test(text: str, keys: Keys) -> bool | None:
        valued = [piece.value(keys) if isinstance(piece, Variable) else piece for piece in pieces]
        known = [piece for piece in valued if piece is not None]
        if len(known) < len(valued):
            return None
        if not fold and len(_joined(known)) > len(text):
            return False
        return _fixed_test(known, fold)(text, keys)

    return test


def _joined(pieces: Sequence[str | Wildcard]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _split(text: str, variables: bool) -> list[str]:
    """The parts of an ARN; the colons in a variable's name part nothing."""
    parts = [""]
    for token in _ARN_TOKENS.findall(text) if variables else _PLAIN_ARN_TOKENS.findall(text):
        if token == ":" and len(parts) < ARN_PARTS:
            parts.append("")
        else:
            parts[-1] += token
    return parts
