"""CreateTags, DeleteTags and DescribeTags: every rule of docs/aws-behaviour/snapshots.md, TAG, on all or on none."""

from __future__ import annotations

from typing import Any

import pytest

from snapstone.core.errors import (
    DryRunPassedError,
    InvalidPageTokenError,
    InvalidParameterError,
    InvalidTagKeyError,
    MalformedSnapshotIdError,
    SnapshotNotFoundError,
    TagLimitError,
    UnknownResourceError,
)
from snapstone.core.ids import SnapshotId
from snapstone.service.ec2.tags import create_tags, delete_tags, describe_tags
from snapstone.service.engine import Caller
from tests.installation import Installation
from tests.unit.service.ec2.two_accounts import OTHER, OWNER, elsewhere, share, start

NO_SNAPSHOT = "snap-0123456789abcdef0"

Pairs = tuple[tuple[str, str], ...]


def sent(**tags: str | None) -> list[dict[str, str]]:
    """Tags as the wire hands them over; None is a value that was not sent."""
    return [{"Key": key} if value is None else {"Key": key, "Value": value} for key, value in tags.items()]


def tags_of(installation: Installation, snapshot_id: Any) -> Pairs:
    return installation.row(snapshot_id).tags


def tag(installation: Installation, *resources: str, caller: Any = OWNER, **tags: str | None) -> None:
    assert create_tags(installation.engine, caller, resources=list(resources), tags=sent(**tags)) == {}


def untag(installation: Installation, *resources: str, caller: Any = OWNER, **tags: str | None) -> None:
    asked: dict[str, Any] = {"tags": sent(**tags)} if tags else {}
    assert delete_tags(installation.engine, caller, resources=list(resources), **asked) == {}


def listed(installation: Installation, caller: Caller = OWNER, **members: Any) -> list[tuple[str, str, str]]:
    answer: dict[str, Any] = describe_tags(installation.engine, caller, **members)
    assert all(each["ResourceType"] == "snapshot" for each in answer["Tags"])
    return [(each["ResourceId"], each["Key"], each["Value"]) for each in answer["Tags"]]


class TestCreate:
    def test_a_tag_is_added_or_gets_the_new_value(self, installation: Installation) -> None:
        one, two = start(installation, OWNER, tags=sent(a="1", b="2")), start(installation, OWNER)
        tag(installation, one, two, b="new", c=None)
        assert tags_of(installation, one) == (("a", "1"), ("b", "new"), ("c", ""))
        assert tags_of(installation, two) == (("b", "new"), ("c", ""))

    def test_a_resource_named_twice_is_one(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        tag(installation, snapshot_id, snapshot_id, a="1")
        assert tags_of(installation, snapshot_id) == (("a", "1"),)

    def test_50_tags_are_the_most_and_an_old_key_needs_no_room(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        tag(installation, snapshot_id, **{f"k{number}": "" for number in range(50)})
        tag(installation, snapshot_id, k0="new")
        with pytest.raises(TagLimitError) as refusal:
            tag(installation, snapshot_id, k50="")
        assert refusal.value.limit == 50
        assert len(tags_of(installation, snapshot_id)) == 50

    def test_51_tags_at_once_are_too_many(self, installation: Installation) -> None:
        with pytest.raises(TagLimitError):
            tag(installation, start(installation, OWNER), **{f"k{number}": "" for number in range(51)})

    @pytest.mark.parametrize("key", ["", "x" * 129, "aws:team", "AWS:team"])
    def test_a_key_that_cannot_be_is_refused(self, installation: Installation, key: str) -> None:
        snapshot_id = start(installation, OWNER)
        with pytest.raises(InvalidTagKeyError):
            tag(installation, snapshot_id, **{"fine": "", key: ""})
        assert tags_of(installation, snapshot_id) == ()

    def test_the_longest_key_and_value_are_taken(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        tag(installation, snapshot_id, **{"ä" * 128: "ß" * 256})
        assert tags_of(installation, snapshot_id) == (("ä" * 128, "ß" * 256),)
        with pytest.raises(InvalidParameterError):
            tag(installation, snapshot_id, a="v" * 257)

    def test_a_key_given_twice_and_no_tag_at_all_are_refused(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        for tags in (sent(a="1") + sent(a="2"), []):
            with pytest.raises(InvalidParameterError):
                create_tags(installation.engine, OWNER, resources=[snapshot_id], tags=tags)


class TestDelete:
    @pytest.mark.parametrize(
        ("asked", "left"),
        [
            ({"a": None}, (("b", ""), ("c", "3"))),
            ({"a": "1"}, (("b", ""), ("c", "3"))),
            ({"a": "2"}, (("a", "1"), ("b", ""), ("c", "3"))),
            ({"a": ""}, (("a", "1"), ("b", ""), ("c", "3"))),
            ({"b": ""}, (("a", "1"), ("c", "3"))),
            ({"b": None, "c": "3"}, (("a", "1"),)),
            ({"nothing": None}, (("a", "1"), ("b", ""), ("c", "3"))),
            ({}, ()),
        ],
    )
    def test_key_alone_key_and_value_and_nothing_named(
        self, installation: Installation, asked: dict[str, str | None], left: Pairs
    ) -> None:
        snapshot_id = start(installation, OWNER, tags=sent(a="1", b="", c="3"))
        untag(installation, snapshot_id, **asked)
        assert tags_of(installation, snapshot_id) == left

    def test_reserved_keys_are_refused(self, installation: Installation) -> None:
        with pytest.raises(InvalidTagKeyError):
            untag(installation, start(installation, OWNER), **{"aws:x": None})

    @pytest.mark.parametrize("value", [None, "v"])
    def test_a_reserved_key_of_an_older_catalog_can_be_taken_off_in_any_case_but_lower(
        self, installation: Installation, value: str | None
    ) -> None:
        snapshot_id = SnapshotId(start(installation, OWNER))
        stored = (("AWS:x", "v"), ("a", "1"))
        installation.engine.catalog.change_tags([snapshot_id], lambda _id, _row: stored)
        tag(installation, snapshot_id, b="2")
        untag(installation, snapshot_id, **{"AWS:x": value})
        assert tags_of(installation, snapshot_id) == (("a", "1"), ("b", "2"))

    def test_1000_tags_are_one_request_and_1001_too_many(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER, tags=sent(k1=""))
        untag(installation, snapshot_id, **{f"k{number}": None for number in range(1_000)})
        assert tags_of(installation, snapshot_id) == ()
        with pytest.raises(InvalidParameterError):
            untag(installation, snapshot_id, **{f"k{number}": None for number in range(1_001)})


class TestResources:
    @pytest.mark.parametrize("resource", ["vol-0123456789abcdef0", "i-0123456789abcdef0", "", "nonsense"])
    def test_other_resources_are_unknown(self, installation: Installation, resource: str) -> None:
        snapshot_id = start(installation, OWNER)
        with pytest.raises(UnknownResourceError):
            tag(installation, snapshot_id, resource, a="1")
        with pytest.raises(UnknownResourceError):
            untag(installation, snapshot_id, resource)
        assert tags_of(installation, snapshot_id) == ()

    def test_a_malformed_id_is_told(self, installation: Installation) -> None:
        with pytest.raises(MalformedSnapshotIdError):
            tag(installation, "snap-xyz", a="1")

    def test_1001_resources_are_too_many(self, installation: Installation) -> None:
        with pytest.raises(InvalidParameterError):
            tag(installation, *(f"snap-{number:017x}" for number in range(1, 1_002)), a="1")

    def test_where_one_is_missing_none_is_changed(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER, tags=sent(a="1"))
        with pytest.raises(SnapshotNotFoundError) as refusal:
            tag(installation, snapshot_id, NO_SNAPSHOT, a="2", b="")
        assert refusal.value.snapshot_ids == (NO_SNAPSHOT,)
        with pytest.raises(SnapshotNotFoundError):
            untag(installation, snapshot_id, NO_SNAPSHOT)
        assert tags_of(installation, snapshot_id) == (("a", "1"),)

    def test_where_one_would_have_too_many_none_is_changed(self, installation: Installation) -> None:
        full = start(installation, OWNER, tags=sent(**{f"k{number}": "" for number in range(50)}))
        empty = start(installation, OWNER)
        with pytest.raises(TagLimitError):
            tag(installation, full, empty, a="1")
        assert tags_of(installation, empty) == ()

    def test_others_snapshots_do_not_exist_even_where_they_are_shared(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER, tags=sent(a="1"))
        share(installation, OWNER, snapshot_id, OTHER.account_id, "all")
        for caller in (OTHER, elsewhere(OWNER)):
            with pytest.raises(SnapshotNotFoundError):
                tag(installation, snapshot_id, caller=caller, a="2")
            with pytest.raises(SnapshotNotFoundError):
                untag(installation, snapshot_id, caller=caller)
        assert tags_of(installation, snapshot_id) == (("a", "1"),)

    def test_a_dry_run_comes_after_syntax_and_before_existence(self, installation: Installation) -> None:
        engine = installation.engine
        with pytest.raises(DryRunPassedError):
            create_tags(engine, OWNER, resources=[NO_SNAPSHOT], tags=sent(a="1"), dry_run=True)
        with pytest.raises(DryRunPassedError):
            delete_tags(engine, OWNER, resources=[NO_SNAPSHOT], dry_run=True)
        with pytest.raises(DryRunPassedError):
            describe_tags(engine, OWNER, dry_run=True)
        with pytest.raises(InvalidTagKeyError):
            create_tags(engine, OWNER, resources=[NO_SNAPSHOT], tags=sent(**{"": "1"}), dry_run=True)


class TestDescribe:
    @pytest.mark.parametrize(
        ("name", "value", "matches"),
        [
            ("key", "a", "a1 a2"),
            ("key", "*", "a1 b1 a2 z"),
            ("value", "2", "b1 a2"),
            ("resource-type", "snapshot", "a1 b1 a2 z"),
            ("resource-type", "volume", ""),
            ("tag:a", "1", "a1"),
            ("tag:a", "*", "a1 a2"),
            ("tag:z", "", "z"),
            ("tag:key", "*", ""),
        ],
    )
    def test_filters(self, installation: Installation, name: str, value: str, matches: str) -> None:
        one = start(installation, OWNER, tags=sent(b="2", a="1"))
        installation.clock.now_ms += 1
        two = start(installation, OWNER, tags=sent(a="2", z=""))
        start(installation, OTHER, tags=sent(a="1"))
        start(installation, elsewhere(OWNER), tags=sent(a="1"))
        entries = {"a1": (one, "a", "1"), "b1": (one, "b", "2"), "a2": (two, "a", "2"), "z": (two, "z", "")}
        filters = [{"Name": name, "Values": [value]}]
        assert listed(installation, filters=filters) == [entries[each] for each in matches.split()]

    def test_a_resource_is_a_filter_and_filters_add_up(self, installation: Installation) -> None:
        one, _ = (start(installation, OWNER, tags=sent(a="1", b="2")) for _ in range(2))
        filters = [{"Name": "resource-id", "Values": [one]}, {"Name": "key", "Values": ["b"]}]
        assert listed(installation, filters=filters) == [(one, "b", "2")]

    def test_an_unknown_filter_is_refused(self, installation: Installation) -> None:
        for name in ("tag-key", "colour"):
            with pytest.raises(InvalidParameterError):
                listed(installation, filters=[{"Name": name, "Values": ["a"]}])

    def test_pages_join_to_the_whole_and_may_begin_within_a_snapshot(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("snapstone.service.ec2.tags.ROWS_AT_ONCE", 2)
        for _ in range(3):
            start(installation, OWNER, tags=sent(**{"ä": "1", "b c": "2", "d": "3", "e x": "4"}))
        whole = listed(installation)
        assert len(whole) == 12
        first: dict[str, Any] = describe_tags(installation.engine, OWNER, max_results=5)
        second: dict[str, Any] = describe_tags(installation.engine, OWNER, max_results=5, next_token=first["NextToken"])
        third = listed(installation, max_results=5, next_token=second["NextToken"])
        entries = [(each["ResourceId"], each["Key"], each["Value"]) for each in first["Tags"] + second["Tags"]]
        assert entries + third == whole

    def test_a_token_is_one_callers_for_one_question(self, installation: Installation) -> None:
        start(installation, OWNER, tags=sent(**{f"k{number}": "" for number in range(6)}))
        token = str(describe_tags(installation.engine, OWNER, max_results=5)["NextToken"])
        for caller, members in ((OTHER, {}), (OWNER, {"filters": [{"Name": "key", "Values": ["k*"]}]})):
            with pytest.raises(InvalidPageTokenError):
                listed(installation, caller, max_results=5, next_token=token, **members)

    def test_limits_begin_at_5(self, installation: Installation) -> None:
        with pytest.raises(InvalidParameterError):
            listed(installation, max_results=4)
