"""The Condition element: how each operator reads a policy's value and holds a request's value against it.

All operators and all keys must hold; of one key's values one must match, or with a negated operator none. A key that
the request lacks fails, except with negated operators, `...IfExists` and `ForAllValues:`, and always with
`ForAnyValue:`. Of a key with several values and no prefix, one must pass, or with a negated operator all.

If a test cannot be decided (a variable without a value, a value that is not a number) it does not match; a negated
operator then holds in a Deny and fails in an Allow, so that doubt never allows.
"""

from __future__ import annotations

import operator
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeVar

from snapstone.core.policy.pattern import Arn, Keys, Test, any_matches, compile_arn, compile_text, split_arn

Compile = Callable[[str, bool], Test]
"""Makes a test from a policy's value, with or without variables. Raises ValueError for an invalid value."""

Typed = TypeVar("Typed")

NUMBER_LIMIT: Final = 64
"""Characters of a number or date."""

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_DATE: Final = re.compile(r"(\d{4}-\d\d)(-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?)?", re.ASCII)
_NETWORK: Final = re.compile(r"[0-9a-fA-F.:]+(?:/\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator without its prefix and suffix."""

    compile: Compile
    negated: bool = False
    """Whether it holds if none of its values matches."""


def _text(*, wildcards: bool = False, fold: bool = False) -> Compile:
    return lambda text, variables: compile_text(text, variables=variables, wildcards=wildcards, fold=fold)


def _typed(
    kind: str, read: Callable[[str], Typed | None], compare: Callable[[Typed, Typed], bool] = operator.eq
) -> Compile:
    """Of values that are parsed as one type first: the request's is on the left, the policy's on the right."""

    def compile_value(text: str, variables: bool) -> Test:
        wanted = read(text)
        if wanted is None:
            raise ValueError(f"is not {kind}")

        def test(value: str, keys: Keys) -> bool | None:
            held = read(value)
            return None if held is None else compare(held, wanted)

        return test

    return compile_value


def _number(text: str) -> Decimal | None:
    return Decimal(text) if len(text) <= NUMBER_LIMIT and _NUMBER.fullmatch(text) else None


def _moment(text: str) -> Decimal | None:
    """Seconds since 1970 of a date in ISO 8601 (in UTC if it names no zone), or of digits as they are."""
    match = _DATE.fullmatch(text)
    if match is None:
        return _number(text)
    try:
        moment = datetime.fromisoformat(text if match[2] else f"{match[1]}-01")
    except ValueError:
        return None
    placed = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Decimal(str((placed - datetime.fromtimestamp(0, UTC)).total_seconds()))


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _octets(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


def _network(text: str, variables: bool) -> Test:
    network = _read_network(text)
    if network is None:
        raise ValueError("is neither an IP address nor a range like 203.0.113.0/24")

    def test(value: str, keys: Keys) -> bool | None:
        address = _read_address(value)
        return None if address is None else address in network

    return test


def _read_network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False) if _NETWORK.fullmatch(text) else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4-mapped IPv6 address counts as the IPv4 address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def _arn(text: str, variables: bool) -> Test:
    if text == "*":
        return lambda value, keys: True
    test = compile_arn(text, variables=variables)

    def value_test(value: str, keys: Keys) -> bool | None:
        arn: Arn | None = split_arn(value)
        return None if arn is None else test(arn, keys)

    return value_test


def _ordered(prefix: str, kind: str, read: Callable[[str], Decimal | None]) -> dict[str, Operator]:
    return {
        f"{prefix}Equals": Operator(_typed(kind, read)),
        f"{prefix}NotEquals": Operator(_typed(kind, read), negated=True),
        f"{prefix}LessThan": Operator(_typed(kind, read, operator.lt)),
        f"{prefix}LessThanEquals": Operator(_typed(kind, read, operator.le)),
        f"{prefix}GreaterThan": Operator(_typed(kind, read, operator.gt)),
        f"{prefix}GreaterThanEquals": Operator(_typed(kind, read, operator.ge)),
    }


OPERATORS: Final[Mapping[str, Operator]] = {
    "StringEquals": Operator(_text()),
    "StringNotEquals": Operator(_text(), negated=True),
    "StringEqualsIgnoreCase": Operator(_text(fold=True)),
    "StringNotEqualsIgnoreCase": Operator(_text(fold=True), negated=True),
    "StringLike": Operator(_text(wildcards=True)),
    "StringNotLike": Operator(_text(wildcards=True), negated=True),
    **_ordered("Numeric", "a number", _number),
    **_ordered("Date", "a date in ISO 8601 or seconds since 1970", _moment),
    "Bool": Operator(_typed("true or false", _truth)),
    "BinaryEquals": Operator(_typed("base64", _octets)),
    "IpAddress": Operator(_network),
    "NotIpAddress": Operator(_network, negated=True),
    "ArnEquals": Operator(_arn),
    "ArnLike": Operator(_arn),
    "ArnNotEquals": Operator(_arn, negated=True),
    "ArnNotLike": Operator(_arn, negated=True),
}
"""All but Null, which ignores values."""


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
    """Prefix, operator and suffix, empty if there is none."""
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
