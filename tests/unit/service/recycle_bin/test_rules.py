"""Retention rules: made, shown, changed, locked, tagged and deleted (the model of rbin, and AWS: "Recycle Bin")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snapstone.core.errors import InvalidRuleError, RuleLockedError, RuleNotFoundError, RuleQuotaError
from snapstone.core.ids import AccountId, Region
from snapstone.core.protection import DAY_MS
from snapstone.service.engine import Caller
from snapstone.service.recycle_bin import rules
from snapstone.service.recycle_bin.rules import (
    create_rule,
    delete_rule,
    get_rule,
    list_rules,
    list_tags_for_resource,
    lock_rule,
    tag_resource,
    unlock_rule,
    untag_resource,
    update_rule,
)
from tests.installation import CALLER, START_MS, Installation
from tests.suites.races import racing

Answer = dict[str, Any]

OTHER_ACCOUNT = replace(CALLER, account_id=AccountId("444455556666"))
OTHER_REGION = replace(CALLER, region=Region("us-west-2"))
SEVEN_DAYS = {"UnlockDelay": {"UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS"}}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "data")
    yield installation
    installation.close()


def days(value: int) -> dict[str, Any]:
    return {"RetentionPeriodValue": value, "RetentionPeriodUnit": "DAYS"}


def tag(key: str, value: str | None = None) -> dict[str, str]:
    return {"ResourceTagKey": key} | ({} if value is None else {"ResourceTagValue": value})


def made(installation: Installation, **members: Any) -> Answer:
    given = {"retention_period": days(7), "resource_type": "EBS_SNAPSHOT"} | members
    return create_rule(installation.engine, CALLER, **given)


def get(installation: Installation, rule_id: str, caller: Caller = CALLER) -> Answer:
    return get_rule(installation.engine, caller, identifier=rule_id)


def listed(installation: Installation, **members: Any) -> list[str]:
    answer: Answer = list_rules(installation.engine, CALLER, **({"resource_type": "EBS_SNAPSHOT"} | members))
    return [rule["Identifier"] for rule in answer["Rules"]]


class TestRules:
    def test_a_rule_is_shown_as_it_was_made(self, installation: Installation) -> None:
        rule = made(
            installation,
            retention_period=days(30),
            description="keep production",
            tags=[{"Key": "team", "Value": "storage"}],
            resource_tags=[tag("env", "prod"), tag("keep")],
        )
        assert re.fullmatch("[0-9a-zA-Z]{11}", rule["Identifier"])
        assert rule["RuleArn"] == f"arn:aws:rbin:eu-central-1:111122223333:rule/{rule['Identifier']}"
        assert rule["Tags"] == [{"Key": "team", "Value": "storage"}]
        shown = get(installation, rule["Identifier"])
        assert shown == {each: value for each, value in rule.items() if each != "Tags"}
        assert shown["RetentionPeriod"] == days(30)
        assert shown["Description"] == "keep production"
        assert shown["ResourceType"] == "EBS_SNAPSHOT"
        assert shown["ResourceTags"] == [tag("env", "prod"), tag("keep")]
        assert shown["ExcludeResourceTags"] == []
        assert shown["Status"] == "available"
        assert shown["LockState"] is None

    def test_other_accounts_and_regions_have_no_such_rule(self, installation: Installation) -> None:
        rule_id = made(installation)["Identifier"]
        for caller in (OTHER_ACCOUNT, OTHER_REGION):
            with pytest.raises(RuleNotFoundError):
                get(installation, rule_id, caller)
            with pytest.raises(RuleNotFoundError):
                delete_rule(installation.engine, caller, identifier=rule_id)
            assert list_rules(installation.engine, caller, resource_type="EBS_SNAPSHOT")["Rules"] == []
        assert listed(installation) == [rule_id]

    def test_what_is_updated_changes_and_the_rest_stays(self, installation: Installation) -> None:
        rule_id = made(installation, description="one", exclude_resource_tags=[tag("env", "test")])["Identifier"]
        answer = update_rule(installation.engine, CALLER, identifier=rule_id, retention_period=days(365))
        assert answer["RetentionPeriod"] == days(365)
        assert answer["Description"] == "one"
        assert answer["ExcludeResourceTags"] == [tag("env", "test")]
        update_rule(
            installation.engine,
            CALLER,
            identifier=rule_id,
            description="two",
            resource_tags=[tag("a", "b")],
            exclude_resource_tags=[],
        )
        shown = get(installation, rule_id)
        assert (shown["Description"], shown["ResourceTags"], shown["ExcludeResourceTags"]) == (
            "two",
            [tag("a", "b")],
            [],
        )
        assert shown["RetentionPeriod"] == days(365)

    def test_a_deleted_rule_is_gone(self, installation: Installation) -> None:
        rule_id = made(installation)["Identifier"]
        assert delete_rule(installation.engine, CALLER, identifier=rule_id) == {}
        with pytest.raises(RuleNotFoundError):
            get(installation, rule_id)
        with pytest.raises(RuleNotFoundError):
            delete_rule(installation.engine, CALLER, identifier=rule_id)

    @pytest.mark.parametrize(
        "members",
        [
            {"retention_period": days(366)},
            {"resource_type": "EC2_IMAGE"},
            {"resource_tags": [tag("a", "b")], "exclude_resource_tags": [tag("c", "d")]},
            {"tags": [{"Key": "aws:mine", "Value": ""}]},
            {"tags": [{"Key": "AWS:mine", "Value": ""}]},
            {"tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
            {"lock_configuration": SEVEN_DAYS, "resource_tags": [tag("a", "b")]},
            {"lock_configuration": SEVEN_DAYS, "exclude_resource_tags": [tag("a", "b")]},
        ],
    )
    def test_what_does_not_go_together_is_refused(self, installation: Installation, members: Answer) -> None:
        with pytest.raises(InvalidRuleError):
            made(installation, **members)
        assert listed(installation) == []

    def test_an_update_is_held_to_the_same(self, installation: Installation) -> None:
        rule_id = made(installation, exclude_resource_tags=[tag("c", "d")])["Identifier"]
        for members in ({"retention_period": days(366)}, {"resource_type": "EC2_IMAGE"}, {"resource_tags": [tag("a")]}):
            with pytest.raises(InvalidRuleError):
                update_rule(installation.engine, CALLER, identifier=rule_id, **members)
        assert get(installation, rule_id)["RetentionPeriod"] == days(7)

    def test_there_is_a_limit_to_rules(self, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rules, "RULE_LIMIT", 3)
        outcomes = racing(5, lambda _: _attempt(installation))
        assert outcomes.count(True) == 3
        assert len(listed(installation)) == 3


def _attempt(installation: Installation) -> bool:
    try:
        made(installation)
    except RuleQuotaError:
        return False
    return True


class TestListing:
    def test_tags_and_locks_select(self, installation: Installation) -> None:
        plain = made(installation)["Identifier"]
        installation.clock.now_ms += 1
        tagged = made(installation, resource_tags=[tag("a", "b"), tag("c", "d")])["Identifier"]
        installation.clock.now_ms += 1
        excluding = made(installation, exclude_resource_tags=[tag("e", "f")])["Identifier"]
        installation.clock.now_ms += 1
        locked = made(installation, lock_configuration=SEVEN_DAYS)["Identifier"]
        assert listed(installation) == [plain, tagged, excluding, locked]
        assert listed(installation, resource_tags=[tag("a", "b")]) == [tagged]
        assert listed(installation, resource_tags=[tag("a", "x")]) == []
        assert listed(installation, exclude_resource_tags=[tag("e", "f")]) == [excluding]
        assert listed(installation, lock_state="locked") == [locked]
        assert listed(installation, resource_type="EC2_IMAGE") == []

    def test_pages_hold_every_rule_once(self, installation: Installation) -> None:
        there = {made(installation)["Identifier"] for _ in range(5)}
        found: list[str] = []
        token: str | None = None
        while True:
            answer: Answer = list_rules(
                installation.engine, CALLER, resource_type="EBS_SNAPSHOT", max_results=2, next_token=token
            )
            assert len(answer["Rules"]) <= 2
            found += [rule["Identifier"] for rule in answer["Rules"]]
            token = answer["NextToken"]
            if token is None:
                break
            assert re.fullmatch("[A-Za-z0-9+/=]{1,2048}", token)
        assert sorted(found) == sorted(there)


class TestLocks:
    def test_a_locked_rule_is_neither_changed_nor_deleted(self, installation: Installation) -> None:
        rule_id = made(installation)["Identifier"]
        answer = lock_rule(installation.engine, CALLER, identifier=rule_id, lock_configuration=SEVEN_DAYS)
        assert answer["LockState"] == "locked"
        assert answer["LockConfiguration"] == SEVEN_DAYS
        expect_unchangeable(installation, rule_id)
        with pytest.raises(RuleLockedError):
            lock_rule(installation.engine, CALLER, identifier=rule_id, lock_configuration=SEVEN_DAYS)

    def test_an_unlocked_rule_can_be_changed_when_its_delay_is_over(self, installation: Installation) -> None:
        rule_id = made(installation, lock_configuration=SEVEN_DAYS)["Identifier"]
        answer = unlock_rule(installation.engine, CALLER, identifier=rule_id)
        assert answer["LockState"] == "pending_unlock"
        assert answer["LockEndTime"] == START_MS + 7 * DAY_MS
        installation.clock.now_ms = START_MS + 7 * DAY_MS - 1
        expect_unchangeable(installation, rule_id)
        with pytest.raises(RuleLockedError):
            unlock_rule(installation.engine, CALLER, identifier=rule_id)
        installation.clock.now_ms += 1
        shown = get(installation, rule_id)
        assert (shown["LockState"], shown["LockEndTime"]) == ("unlocked", None)
        delete_rule(installation.engine, CALLER, identifier=rule_id)
        assert listed(installation) == []

    def test_a_rule_on_its_way_to_being_unlocked_can_be_locked_again(self, installation: Installation) -> None:
        rule_id = made(installation, lock_configuration=SEVEN_DAYS)["Identifier"]
        unlock_rule(installation.engine, CALLER, identifier=rule_id)
        lock_rule(installation.engine, CALLER, identifier=rule_id, lock_configuration=SEVEN_DAYS)
        installation.clock.now_ms += 8 * DAY_MS
        assert get(installation, rule_id)["LockState"] == "locked"

    def test_a_rule_for_some_tags_cannot_be_locked(self, installation: Installation) -> None:
        for members in ({"resource_tags": [tag("a")]}, {"exclude_resource_tags": [tag("a")]}):
            rule_id = made(installation, **members)["Identifier"]
            with pytest.raises(InvalidRuleError):
                lock_rule(installation.engine, CALLER, identifier=rule_id, lock_configuration=SEVEN_DAYS)

    def test_what_is_not_locked_cannot_be_unlocked(self, installation: Installation) -> None:
        with pytest.raises(RuleLockedError):
            unlock_rule(installation.engine, CALLER, identifier=made(installation)["Identifier"])


def expect_unchangeable(installation: Installation, rule_id: str) -> None:
    with pytest.raises(RuleLockedError):
        update_rule(installation.engine, CALLER, identifier=rule_id, retention_period=days(1))
    with pytest.raises(RuleLockedError):
        delete_rule(installation.engine, CALLER, identifier=rule_id)
    assert get(installation, rule_id)["RetentionPeriod"] == days(7)


class TestTags:
    def test_tags_come_and_go(self, installation: Installation) -> None:
        arn = made(installation, tags=[{"Key": "a", "Value": "1"}])["RuleArn"]
        tag_resource(
            installation.engine,
            CALLER,
            resource_arn=arn,
            tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}],
        )
        answer = list_tags_for_resource(installation.engine, CALLER, resource_arn=arn)
        assert answer == {"Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}]}
        untag_resource(installation.engine, CALLER, resource_arn=arn, tag_keys=["a", "nothing"])
        answer = list_tags_for_resource(installation.engine, CALLER, resource_arn=arn)
        assert answer == {"Tags": [{"Key": "b", "Value": ""}]}

    def test_there_is_a_limit_to_tags(self, installation: Installation) -> None:
        arn = made(installation, tags=[{"Key": f"k{number}", "Value": ""} for number in range(50)])["RuleArn"]
        with pytest.raises(RuleQuotaError):
            tag_resource(installation.engine, CALLER, resource_arn=arn, tags=[{"Key": "more", "Value": ""}])

    def test_an_arn_of_somebody_else_names_no_rule(self, installation: Installation) -> None:
        arn = made(installation)["RuleArn"]
        for wrong in (arn.replace("111122223333", "444455556666"), arn.replace("eu-central-1", "us-west-2")):
            with pytest.raises(RuleNotFoundError):
                list_tags_for_resource(installation.engine, CALLER, resource_arn=wrong)
        with pytest.raises(RuleNotFoundError):
            tag_resource(installation.engine, OTHER_ACCOUNT, resource_arn=arn, tags=[])
