"""The Condition element: operators with their prefixes and suffix over the keys of a request.

All operators and all keys must hold; of one key's values one must match, or with a negated operator none. A key that
the request lacks fails, except with negated operators, `...IfExists` and `ForAllValues:`, and always with
`ForAnyValue:`. Of a key with several values and no prefix, one must pass, or with a negated operator all.

Where a test cannot be told (a variable without a value, a number that is none) it does not match; a negated operator
then holds in a Deny and fails in an Allow, so that doubt never allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from snapstone.core.policy.operators import OPERATORS, Operator
from snapstone.core.policy.pattern import Keys, Test, any_matches

Clause = Callable[[Keys], bool]
"""Whether one operator holds for one key."""

IF_EXISTS: Final = "IfExists"
ALL_VALUES: Final = "ForAllValues"
ANY_VALUE: Final = "ForAnyValue"

_NAME: Final = re.compile(f"(?:({ALL_VALUES}|{ANY_VALUE}):)?([A-Za-z]+?)({IF_EXISTS})?")


def compile_clause(name: str, key: str, values: Sequence[str], *, variables: bool, denies: bool) -> Clause:
    """One operator over one key; one that is not known is met in a Deny and never in an Allow.

    Raises ValueError for a value that the operator cannot read.
    """
    if name == "Null":
        return _null_clause(key.lower(), values)
    if not is_operator(name):
        return lambda keys: denies
    prefix, base, suffix = _parts(name)
    tests = [_compiled(OPERATORS[base], value, variables) for value in values]
    return _clause(OPERATORS[base].negated, tests, key.lower(), prefix, bool(suffix), denies)


def is_operator(name: str) -> bool:
    """Whether there is such an operator: `StringLike`, `ForAnyValue:StringLikeIfExists`, `Null`."""
    return name == "Null" or _parts(name)[1] in OPERATORS


def _parts(name: str) -> tuple[str, str, str]:
    """Prefix, operator and suffix, empty where there is none."""
    match = _NAME.fullmatch(name)
    return ("", "", "") if match is None else (match[1] or "", match[2], match[3] or "")


def _compiled(operator: Operator, value: str, variables: bool) -> Test:
    try:
        return operator.compile(value, variables)
    except ValueError as error:
        raise ValueError(f"{value[:200]!a} {error}") from None


def _null_clause(key: str, values: Sequence[str]) -> Clause:
    wanted = {value.lower() for value in values}
    if not wanted <= {"true", "false"}:
        raise ValueError("Null takes true or false")
    return lambda keys: ("true" if keys.get(key, ()) == () else "false") in wanted


def _clause(negated: bool, tests: Sequence[Test], key: str, prefix: str, if_exists: bool, denies: bool) -> Clause:
    absent = if_exists or prefix == ALL_VALUES or (negated and not prefix)
    quantifier = all if prefix == ALL_VALUES or (negated and not prefix) else any
    doubtful = negated and denies

    def passes(value: str, keys: Keys) -> bool:
        matched = any_matches(test(value, keys) for test in tests)
        return doubtful if matched is None else matched is not negated

    def clause(keys: Keys) -> bool:
        held = keys.get(key)
        if isinstance(held, str):
            return passes(held, keys)
        return quantifier(passes(value, keys) for value in held) if held else absent

    return clause
