"""Policy documents, read strictly from JSON into compiled statements that are quick to evaluate.

The JSON is bounded, without duplicate members, and read member by member with errors that name the place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn

from snapstone.core.errors import MalformedPolicyError
from snapstone.core.policy.conditions import Clause, compile_clause, is_operator
from snapstone.core.policy.pattern import Arn, ArnTest, Keys, Wildcard, any_matches, compile_arn, wildcard_pattern
from snapstone.core.policy.principals import Principal, PrincipalMatch, Principals, read_principal

DOCUMENT_LIMIT: Final = 131_072
"""Characters of a document with its white space (the models' limit)."""

DEPTH_LIMIT: Final = 16
"""Objects and arrays inside one another; the language itself needs six."""

ECHO_LIMIT: Final = 200
"""Characters of a value that a message repeats."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""An unterminated one extends to the document's end, so that nothing is scanned twice."""

_BRACKETS: Final = re.compile(r"[\[\]{}]")


def read_json(text: str) -> dict[str, object]:
    """The object that a document is. Raises MalformedPolicyError."""
    if len(text) > DOCUMENT_LIMIT:
        raise MalformedPolicyError(f"A policy has at most {DOCUMENT_LIMIT} characters; this one has {len(text)}.")
    _check_depth(text)
    try:
        found: object = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except ValueError as error:
        raise MalformedPolicyError(f"Syntax errors in policy: {error}") from None
    return as_object(found, "The policy")


def as_object(value: object, place: str) -> dict[str, object]:
    """Raises MalformedPolicyError for a value that is not an object."""
    if not isinstance(value, dict):
        refuse(place, value, "is not an object")
    return value


def as_text(value: object, place: str) -> str:
    """Raises MalformedPolicyError for a value that is not a string."""
    if not isinstance(value, str):
        refuse(place, value, "is not a string")
    return value


def as_texts(value: object, place: str) -> Sequence[str]:
    """One string or a list of them. Raises MalformedPolicyError for anything else, an empty list too."""
    if isinstance(value, list) and value:
        return [as_text(each, place) for each in value]
    return [as_text(value, place)]


def as_condition_texts(value: object, place: str) -> Sequence[str]:
    """As `as_texts`; numbers and booleans need no quotes."""
    if isinstance(value, list) and value:
        return [as_text(_quoted(each), place) for each in value]
    return [as_text(_quoted(value), place)]


def refuse(place: str, value: object, why: str) -> NoReturn:
    """Raises MalformedPolicyError with the place, the value and what is wrong with it."""
    raise MalformedPolicyError(f"{place}: {json.dumps(value)[:ECHO_LIMIT]} {why}.")


def _quoted(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _check_depth(text: str) -> None:
    """Before parsing, as the parser would go as deep as the text leads it."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise MalformedPolicyError(f"A policy nests objects and arrays at most {DEPTH_LIMIT} deep.")


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        twice = Counter(name for name, _ in members).most_common(1)[0][0]
        raise MalformedPolicyError(f"Syntax errors in policy: {json.dumps(twice)[:ECHO_LIMIT]} appears twice.")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise MalformedPolicyError(f"Syntax errors in policy: {text} is not JSON.")


class Effect(StrEnum):
    """The effect of a statement."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """The question, in the form that statements are matched with."""

    principal: Principal
    action: str
    """In lower case."""
    arns: Sequence[Arn]
    """The names of the one resource; none if the action knows no resource."""
    keys: Keys


@dataclass(frozen=True, slots=True)
class Actions:
    """An Action or NotAction element."""

    names: frozenset[str]
    """In lower case, without wildcards."""
    patterns: Sequence[Callable[[str], object]]
    excluded: bool

    def concern(self, action: str) -> bool:
        listed = action in self.names or any(matches(action) for matches in self.patterns)
        return listed is not self.excluded


@dataclass(frozen=True, slots=True)
class Resources:
    """A Resource or NotResource element."""

    everything: bool
    tests: Sequence[ArnTest]
    excluded: bool
    doubtful: bool
    """Whether a NotResource element covers a resource if it cannot be decided whether it is listed."""

    def concern(self, asked: PolicyRequest) -> bool:
        if self.everything:
            return not self.excluded
        listed = any_matches(test(arn, asked.keys) for test in self.tests for arn in asked.arns)
        if listed is None:
            return self.excluded and self.doubtful
        return listed is not self.excluded


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled once and evaluated often."""

    effect: Effect
    actions: Actions
    resources: Resources | None
    """None in trust policies, which hang on the one role that they are about."""
    principals: Principals | None
    """None in identity policies, which are about those who have them."""
    conditions: Sequence[Clause]

    def applies(self, asked: PolicyRequest) -> bool:
        """Whether it covers the question, for any principal."""
        return (
            self.actions.concern(asked.action)
            and (self.resources is None or self.resources.concern(asked))
            and all(clause(asked.keys) for clause in self.conditions)
        )

    def denies(self, asked: PolicyRequest) -> bool:
        """Of a statement that denies: whether it denies what is asked to who asks."""
        concerned = self.principals is None or self.principals.concerns(asked.principal)
        return concerned and self.applies(asked)

    def reach(self, asked: PolicyRequest) -> PrincipalMatch:
        """Of a statement of a resource's policy that allows: how closely it names who asks, if it applies."""
        reach = PrincipalMatch.NONE if self.principals is None else self.principals.reach(asked.principal)
        return reach if reach and self.applies(asked) else PrincipalMatch.NONE


STATEMENT_LIMIT: Final = 500
"""Statements of one document."""

_CURRENT: Final = "2012-10-17"
"""The version that has variables; without one, and in the older, they are plain text."""

_VERSIONS: Final = (_CURRENT, "2008-10-17")
_ELEMENTS: Final = frozenset(
    ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition")
)
_ACTION: Final = re.compile(r"\*|(?:[A-Za-z0-9-]{1,64}|\*):[A-Za-z0-9*?]{1,128}", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z0-9-]+:[^\x00-\x1f]{1,300}", re.ASCII)
_IDENTITY_SID: Final = re.compile(r"[A-Za-z0-9]*", re.ASCII)


class PolicyKind(StrEnum):
    """The kind of object that a policy is attached to."""

    IDENTITY = "identity"
    """A user or role; boundaries and session policies are written alike."""
    TRUST = "trust"
    """A role, saying who may assume it: principals and no resource."""
    RESOURCE = "resource"
    """A KMS key: principals and resources."""


@dataclass(frozen=True, slots=True)
class Document:
    """One policy."""

    kind: PolicyKind
    allowing: tuple[Statement, ...]
    denying: tuple[Statement, ...]


def read_policy(text: str, kind: PolicyKind = PolicyKind.IDENTITY, *, stored: bool = False) -> Document:
    """A policy from its JSON; raises MalformedPolicyError, naming the place and the value, if it is not one.

    `stored` reads a document that was accepted before: an operator that is not known (any more) is then taken, never
    allows, and counts as met in a Deny.
    """
    members = read_json(text)
    _check_members(members)
    listed = members["Statement"]
    elements = listed if isinstance(listed, list) else [listed]
    if not 1 <= len(elements) <= STATEMENT_LIMIT:
        raise MalformedPolicyError(f"A policy has 1 to {STATEMENT_LIMIT} statements; this one has {len(elements)}.")
    variables = members.get("Version") == _CURRENT
    readers = [_Reader(each, number, kind, variables, stored) for number, each in enumerate(elements, 1)]
    _check_sids(readers)
    statements = [reader.statement() for reader in readers]
    return Document(
        kind,
        tuple(each for each in statements if each.effect is Effect.ALLOW),
        tuple(each for each in statements if each.effect is Effect.DENY),
    )


def _check_members(members: Mapping[str, object]) -> None:
    for name in members.keys() - {"Version", "Id", "Statement"}:
        refuse("The policy", name, "is not an element of a policy")
    if "Statement" not in members:
        raise MalformedPolicyError("The policy has no Statement.")
    if members.get("Version", _CURRENT) not in _VERSIONS:
        refuse("Version", members["Version"], "is not a version; write 2012-10-17")
    as_text(members.get("Id", ""), "Id")


def _check_sids(readers: Sequence[_Reader]) -> None:
    seen: set[str] = set()
    for reader in readers:
        sid = reader.sid()
        if sid and sid in seen:
            refuse(f"{reader.place}, Sid", sid, "appears in another statement too")
        seen.add(sid)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one statement."""

    element: object
    number: int
    kind: PolicyKind
    variables: bool
    stored: bool

    @property
    def place(self) -> str:
        return f"Statement {self.number}"

    @property
    def members(self) -> dict[str, object]:
        return as_object(self.element, self.place)

    def sid(self) -> str:
        sid = as_text(self.members.get("Sid", ""), f"{self.place}, Sid")
        if self.kind is PolicyKind.IDENTITY and not _IDENTITY_SID.fullmatch(sid):
            refuse(f"{self.place}, Sid", sid, "has characters other than A-Z, a-z and 0-9")
        return sid

    def statement(self) -> Statement:
        for name in self.members.keys() - _ELEMENTS:
            refuse(self.place, name, "is not an element of a statement")
        effect = self._effect()
        return Statement(
            effect, self._actions(), self._resources(effect), self._principals(effect), self._conditions(effect)
        )

    def _effect(self) -> Effect:
        effect = self.members.get("Effect")
        if effect not in ("Allow", "Deny"):
            refuse(f"{self.place}, Effect", effect, "is neither Allow nor Deny")
        return Effect(effect)

    def _one_of(self, name: str) -> tuple[str, bool]:
        """Which of an element and its negation there is; and whether it is the negation."""
        names = [each for each in (name, f"Not{name}") if each in self.members]
        if len(names) != 1:
            raise MalformedPolicyError(f"{self.place}: it must have one of {name} and Not{name}, not {len(names)}.")
        return names[0], names[0] != name

    def _refuse(self, name: str) -> None:
        for each in (name, f"Not{name}"):
            if each in self.members:
                raise MalformedPolicyError(f"{self.place}: {each} is not allowed in a policy of this kind.")

    def _actions(self) -> Actions:
        name, excluded = self._one_of("Action")
        place = f"{self.place}, {name}"
        actions = as_texts(self.members[name], place)
        for action in actions:
            if not _ACTION.fullmatch(action):
                refuse(place, action, "is not an action like ebs:GetSnapshotBlock")
        lowered = [action.lower() for action in actions]
        return Actions(
            frozenset(each for each in lowered if not _is_pattern(each)),
            tuple(_action_pattern(each) for each in lowered if _is_pattern(each)),
            excluded,
        )

    def _resources(self, effect: Effect) -> Resources | None:
        if self.kind is PolicyKind.TRUST:
            self._refuse("Resource")
            return None
        name, excluded = self._one_of("Resource")
        place = f"{self.place}, {name}"
        resources = as_texts(self.members[name], place)
        tests = []
        for resource in resources:
            if resource == "*":
                continue
            try:
                tests.append(compile_arn(resource, variables=self.variables, may_be_cut=True))
            except ValueError as error:
                refuse(place, resource, str(error))
        return Resources("*" in resources, tuple(tests), excluded, doubtful=effect is Effect.DENY)

    def _principals(self, effect: Effect) -> Principals | None:
        if self.kind is PolicyKind.IDENTITY:
            self._refuse("Principal")
            return None
        name, excluded = self._one_of("Principal")
        place = f"{self.place}, {name}"
        if excluded and effect is Effect.ALLOW:
            raise MalformedPolicyError(f"{place}: it would allow all others; it is only allowed with Deny.")
        element = self.members[name]
        kinds = {"AWS": "*"} if element == "*" else as_object(element, place)
        entries = [(kind, each) for kind, value in kinds.items() for each in as_texts(value, f"{place}, {kind}")]
        if not entries:
            raise MalformedPolicyError(f"{place}: it names no principal.")
        names = {_principal(kind, each, place) for kind, each in entries if (kind, each) != ("AWS", "*")}
        return Principals(frozenset(each for each in names if each), ("AWS", "*") in entries, excluded)

    def _conditions(self, effect: Effect) -> tuple[Clause, ...]:
        block = as_object(self.members.get("Condition", {}), f"{self.place}, Condition")
        return tuple(
            self._clause(operator, key, value, effect)
            for operator, keys in block.items()
            for key, value in as_object(keys, f"{self.place}, Condition, {operator[:100]!a}").items()
        )

    def _clause(self, operator: str, key: str, value: object, effect: Effect) -> Clause:
        place = f"{self.place}, Condition"
        if not is_operator(operator) and not self.stored:
            refuse(place, operator, "is not an operator")
        if not _KEY.fullmatch(key):
            refuse(f"{place}, {operator[:100]!a}", key, "is not a condition key like aws:ResourceTag/team")
        values = as_condition_texts(value, f"{place}, {operator[:100]}, {key}")
        denies = effect is Effect.DENY
        try:
            return compile_clause(operator, key, values, variables=self.variables, denies=denies)
        except ValueError as error:
            raise MalformedPolicyError(f"{place}, {operator}, {key}: {error}.") from None


def _principal(kind: str, name: str, place: str) -> str | None:
    try:
        return read_principal(kind, name)
    except ValueError as error:
        refuse(f"{place}, {kind[:100]!a}", name, str(error))


def _is_pattern(action: str) -> bool:
    return "*" in action or "?" in action


def _action_pattern(action: str) -> Callable[[str], object]:
    pieces = [Wildcard(each) if each in ("*", "?") else each for each in action]
    return wildcard_pattern(pieces).fullmatch
