"""One statement of a policy, compiled: which actions, resources and principals it is about, under which conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from snapstone.core.policy.conditions import Clause
from snapstone.core.policy.pattern import Arn, ArnTest, Keys, any_matches
from snapstone.core.policy.principal import Principal
from snapstone.core.policy.principals import Principals, Reach


class Effect(StrEnum):
    """What a statement does to what it is about."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, in the form that statements are held against."""

    principal: Principal
    action: str
    """In lower case."""
    arns: Sequence[Arn]
    """The names of the one resource; none where the action knows no resource."""
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
    """Whether a NotResource element is about a resource of which it cannot be told whether it is listed."""

    def concern(self, asked: Asked) -> bool:
        if self.everything:
            return not self.excluded
        listed = any_matches(test(arn, asked.keys) for test in self.tests for arn in asked.arns)
        if listed is None:
            return self.excluded and self.doubtful
        return listed is not self.excluded


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, read once and asked often."""

    effect: Effect
    actions: Actions
    resources: Resources | None
    """None in trust policies, which hang on the one role that they are about."""
    principals: Principals | None
    """None in identity policies, which are about those who have them."""
    conditions: Sequence[Clause]

    def applies(self, asked: Asked) -> bool:
        """Whether it is about what is asked, whoever asks."""
        return (
            self.actions.concern(asked.action)
            and (self.resources is None or self.resources.concern(asked))
            and all(clause(asked.keys) for clause in self.conditions)
        )

    def denies(self, asked: Asked) -> bool:
        """Of a statement that denies: whether it denies what is asked to who asks."""
        concerned = self.principals is None or self.principals.concerns(asked.principal)
        return concerned and self.applies(asked)

    def reach(self, asked: Asked) -> Reach:
        """Of a statement of a resource's policy that allows: how closely it names who asks, if it applies."""
        reach = Reach.NONE if self.principals is None else self.principals.reach(asked.principal)
        return reach if reach and self.applies(asked) else Reach.NONE
