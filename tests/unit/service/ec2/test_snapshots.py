"""DescribeSnapshots between accounts: every mix of owner, reader and share; filters; pages; and what is not told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.snapshots import PublicAccess
from snapstone.core.errors import (
    DryRunPassedError,
    InvalidPageTokenError,
    InvalidParameterCombinationError,
    InvalidParameterError,
    MalformedAccountIdError,
    MalformedSnapshotIdError,
    SnapshotNotFoundError,
)
from snapstone.service.ec2.filters import Filter
from snapstone.service.ec2.snapshots import describe_snapshots
from snapstone.service.engine import Caller
from tests.installation import START_MS, Installation, block
from tests.unit.service.ec2.two_accounts import (
    DATA_KEY_ID,
    OTHER,
    OWNER,
    STRANGER,
    described,
    elsewhere,
    ids,
    share,
    start,
    start_encrypted,
)

NO_SNAPSHOT = "snap-0123456789abcdef0"
KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/3d1f0c5e-7a2b-4c8d-9e6f-112233445566"
NAMES = {"self": "self", "all": "all", "amazon": "amazon", "owner": OWNER.account_id, "other": OTHER.account_id}


@dataclass(frozen=True)
class Four:
    """Snapshots of the owner: nobody else's, shared with `OTHER`, public, and both; and one of `OTHER`'s own."""

    private: str
    shared: str
    public: str
    both: str
    others: str

    def named(self, letters: str) -> set[str]:
        """`p` private, `s` shared, `a` for all, `b` both, `o` the other's own."""
        by_letter = {"p": self.private, "s": self.shared, "a": self.public, "b": self.both, "o": self.others}
        return {by_letter[letter] for letter in letters}


@pytest.fixture
def four(installation: Installation) -> Four:
    private, shared, public, both = (start(installation, OWNER) for _ in range(4))
    share(installation, OWNER, shared, OTHER.account_id)
    share(installation, OWNER, public, "all")
    share(installation, OWNER, both, "all", OTHER.account_id)
    return Four(private, shared, public, both, start(installation, OTHER))


class TestWhoSeesWhat:
    def test_own_explicitly_shared_and_public_snapshots_are_the_default(
        self, installation: Installation, four: Four
    ) -> None:
        assert ids(installation, OWNER) == four.named("psab")
        assert ids(installation, OTHER) == four.named("sabo")
        assert ids(installation, STRANGER) == four.named("ab")

    @pytest.mark.parametrize(
        ("owners", "readers", "seen"),
        [
            (["self"], None, "o"),
            (["other"], None, "o"),
            (["owner"], None, "sab"),
            (["owner", "self"], None, "sabo"),
            (["amazon"], None, ""),
            (["amazon", "self"], None, "o"),
            (None, ["self"], "sbo"),
            (None, ["other"], "sbo"),
            (None, ["all"], "ab"),
            (None, ["self", "all"], "sabo"),
            (None, ["owner"], ""),
            (["self"], ["self"], "o"),
            (["self"], ["all"], ""),
            (["owner"], ["self"], "sb"),
            (["owner"], ["all"], "ab"),
            (["owner"], ["self", "all"], "sab"),
            (["amazon"], ["all"], ""),
        ],
    )
    def test_owners_and_readers_select_for_whom_it_is_shared_with(
        self,
        installation: Installation,
        four: Four,
        owners: list[str] | None,
        readers: list[str] | None,
        seen: str,
    ) -> None:
        assert ids(installation, OTHER, **_scoped(owners, readers)) == four.named(seen)

    @pytest.mark.parametrize(
        ("owners", "readers", "seen"),
        [
            (["self"], None, "psab"),
            (["other"], None, ""),
            (None, ["self"], "psab"),
            (None, ["other"], "sb"),
            (None, ["all"], "ab"),
            (None, ["all", "other"], "sab"),
            (["self"], ["other"], "sb"),
            (["self"], ["all"], "ab"),
            (["other"], ["self"], ""),
        ],
    )
    def test_owners_and_readers_select_for_the_owner(
        self,
        installation: Installation,
        four: Four,
        owners: list[str] | None,
        readers: list[str] | None,
        seen: str,
    ) -> None:
        assert ids(installation, OWNER, **_scoped(owners, readers)) == four.named(seen)

    def test_who_is_shared_with_is_not_told_with_whom_else(self, installation: Installation, four: Four) -> None:
        assert ids(installation, STRANGER, restorable_by_user_ids=[OTHER.account_id]) == set()

    def test_what_is_named_must_be_seen(self, installation: Installation, four: Four) -> None:
        assert ids(installation, OTHER, snapshot_ids=[four.shared, four.public, four.others]) == four.named("sao")
        for hidden in (four.private, NO_SNAPSHOT):
            with pytest.raises(SnapshotNotFoundError) as refusal:
                ids(installation, OTHER, snapshot_ids=[four.shared, hidden])
            assert refusal.value.snapshot_ids == (hidden,)

    def test_what_is_named_and_seen_may_still_be_left_out(self, installation: Installation, four: Four) -> None:
        members = {"snapshot_ids": [four.shared, four.others], "owner_ids": ["self"]}
        assert ids(installation, OTHER, **members) == four.named("o")

    def test_another_region_shows_nothing(self, installation: Installation, four: Four) -> None:
        assert ids(installation, elsewhere(OWNER)) == set()
        assert ids(installation, elsewhere(OTHER)) == set()
        with pytest.raises(SnapshotNotFoundError):
            ids(installation, elsewhere(OWNER), snapshot_ids=[four.public])

    def test_a_block_of_public_access_hides_what_is_public(self, installation: Installation, four: Four) -> None:
        installation.catalog.set_public_access(OWNER.account_id, OWNER.region, PublicAccess.BLOCK_ALL)
        assert ids(installation, OTHER) == four.named("sbo")
        assert ids(installation, OTHER, restorable_by_user_ids=["all"]) == set()
        assert ids(installation, STRANGER) == set()
        with pytest.raises(SnapshotNotFoundError):
            ids(installation, STRANGER, snapshot_ids=[four.public])
        assert ids(installation, OWNER) == four.named("psab")

    def test_an_encrypted_snapshot_that_is_shared_is_seen_with_its_key(self, installation: Installation) -> None:
        snapshot_id = start_encrypted(installation, KEY_ARN)
        assert ids(installation, OTHER) == set()
        assert installation.catalog.change_shares(snapshot_id, lambda _: frozenset({OTHER.account_id}))
        [seen] = described(installation, OTHER)
        assert (seen["SnapshotId"], seen["Encrypted"], seen["KmsKeyId"]) == (snapshot_id, True, KEY_ARN)
        assert ids(installation, STRANGER) == set()

    def test_tags_are_the_owners_alone(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER, tags=[{"Key": "secret", "Value": "plan"}])
        share(installation, OWNER, snapshot_id, OTHER.account_id)
        [own], [others] = described(installation, OWNER), described(installation, OTHER)
        assert own["Tags"] == [{"Key": "secret", "Value": "plan"}]
        assert others["Tags"] is None
        for name, value in (("tag-key", "secret"), ("tag:secret", "*")):
            filters = [{"Name": name, "Values": [value]}]
            assert ids(installation, OWNER, filters=filters) == {snapshot_id}
            assert ids(installation, OTHER, filters=filters) == set()


class TestMembers:
    def test_a_plain_pending_snapshot(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER, description="mine", volume_size=7)
        [item] = described(installation, OWNER)
        assert {name: value for name, value in item.items() if value is not None} == {
            "SnapshotId": snapshot_id,
            "VolumeId": "vol-ffffffff",
            "State": "pending",
            "StartTime": START_MS,
            "Progress": "0%",
            "OwnerId": "111122223333",
            "Description": "mine",
            "VolumeSize": 7,
            "Encrypted": False,
            "StorageTier": "standard",
        }

    def test_a_completed_one_has_its_end_and_its_full_size(self, installation: Installation) -> None:
        snapshot_id = installation.sealed({0: block("a"), 5: block("b")})
        [item] = described(installation, OWNER, snapshot_ids=[snapshot_id])
        assert (item["State"], item["Progress"], item["CompletionTime"]) == ("completed", "100%", START_MS)
        assert item["FullSnapshotSizeInBytes"] == 1_048_576

    def test_an_encrypted_one_names_its_key_and_its_data_key(self, installation: Installation) -> None:
        start_encrypted(installation, KEY_ARN)
        [item] = described(installation, OWNER)
        assert (item["Encrypted"], item["KmsKeyId"], item["DataEncryptionKeyId"]) == (True, KEY_ARN, str(DATA_KEY_ID))


class TestFilters:
    @pytest.mark.parametrize(
        ("name", "value", "matches"),
        [
            ("description", "dai*", "d"),
            ("description", "", "e"),
            ("encrypted", "true", "e"),
            ("encrypted", "false", "d"),
            ("owner-alias", "*", ""),
            ("owner-id", "111122223333", "de"),
            ("owner-id", "444455556666", ""),
            ("progress", "0%", "de"),
            ("progress", "100%", ""),
            ("start-time", "2026-09-25T11:57:20.328Z", "de"),
            ("start-time", "2026-09-25*", "de"),
            ("start-time", "2026-09-26*", ""),
            ("status", "pending", "de"),
            ("status", "completed", ""),
            ("storage-tier", "standard", "de"),
            ("storage-tier", "archive", ""),
            ("tag-key", "team", "d"),
            ("tag:team", "core", "d"),
            ("tag:team", "other", ""),
            ("transfer-type", "*", ""),
            ("volume-id", "vol-ffffffff", "de"),
            ("volume-size", "7", "d"),
        ],
    )
    def test_every_filter(self, installation: Installation, name: str, value: str, matches: str) -> None:
        made = {
            "d": start(
                installation, OWNER, description="daily", volume_size=7, tags=[{"Key": "team", "Value": "core"}]
            ),
            "e": start_encrypted(installation, KEY_ARN),
        }
        wanted = {made[letter] for letter in matches}
        assert ids(installation, OWNER, filters=[{"Name": name, "Values": [value]}]) == wanted

    def test_an_id_is_a_filter_too_and_an_unknown_one_no_error(self, installation: Installation) -> None:
        snapshot_id = start(installation, OWNER)
        filters = [{"Name": "snapshot-id", "Values": [snapshot_id, NO_SNAPSHOT]}]
        assert ids(installation, OWNER, filters=filters) == {snapshot_id}

    def test_an_unknown_filter_is_refused_where_there_is_nothing_to_filter(self, installation: Installation) -> None:
        with pytest.raises(InvalidParameterError) as refusal:
            described(installation, OWNER, filters=[{"Name": "colour", "Values": ["red"]}])
        assert refusal.value.message == "The filter 'colour' is invalid"


class CountingCatalog:
    """A catalog that notes how many rows `visible_snapshots` gave away."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def visible_snapshots(self, *arguments: Any) -> Any:
        rows = self._catalog.visible_snapshots(*arguments)
        self.rows += len(rows)
        return rows


class TestPages:
    def _pages(self, installation: Installation, caller: Caller, **members: Any) -> list[list[str]]:
        pages: list[list[str]] = []
        more: dict[str, Any] = {}
        while True:
            answer: dict[str, Any] = describe_snapshots(installation.engine, caller, **(members | more))
            pages.append([snapshot["SnapshotId"] for snapshot in answer["Snapshots"]])
            if "NextToken" not in answer:
                return pages
            more = {"next_token": answer["NextToken"]}

    def test_pages_are_full_in_order_and_join_to_the_whole(self, installation: Installation) -> None:
        expected = []
        for number in range(13):
            installation.clock.now_ms = START_MS + number // 3
            owner = (OWNER, OTHER)[number % 2]
            snapshot_id = start(installation, owner)
            if owner is OTHER:
                share(installation, OTHER, snapshot_id, ("all", OWNER.account_id)[number % 4 // 2])
            expected.append((installation.clock.now_ms, snapshot_id))
        pages = self._pages(installation, OWNER, max_results=5)
        assert [len(page) for page in pages] == [5, 5, 3]
        assert [snapshot_id for page in pages for snapshot_id in page] == [each for _, each in sorted(expected)]

    def test_a_page_reads_no_more_rows_than_it_shows(self, installation: Installation) -> None:
        for _ in range(40):
            start(installation, OWNER)
        counting = CountingCatalog(installation.catalog)
        engine = _with_catalog(installation, counting)
        answer = describe_snapshots(engine, OWNER, max_results=5)
        assert counting.rows <= 7
        describe_snapshots(engine, OWNER, max_results=5, next_token=str(answer["NextToken"]))
        assert counting.rows <= 14

    def test_a_filter_that_most_pass_costs_a_few_rows_more(self, installation: Installation) -> None:
        for number in range(100):
            start(installation, OWNER, description="odd" if number == 3 else "even")
        counting = CountingCatalog(installation.catalog)
        filters: list[Filter] = [{"Name": "description", "Values": ["even"]}]
        described_page = describe_snapshots(
            _with_catalog(installation, counting), OWNER, max_results=5, owner_ids=["self"], filters=filters
        )
        assert "NextToken" in described_page
        assert counting.rows <= 20

    def test_filtered_pages_are_full_too(self, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("snapstone.service.ec2.snapshots.ROWS_AT_ONCE", 3)
        wanted = {
            start(installation, OWNER, description=("odd", "even")[number % 2]): number % 2 for number in range(24)
        }
        filters = [{"Name": "description", "Values": ["even"]}]
        pages = self._pages(installation, OWNER, max_results=5, filters=filters)
        assert [len(page) for page in pages] == [5, 5, 2]
        assert {each for page in pages for each in page} == {each for each, is_even in wanted.items() if is_even}

    def test_without_a_limit_there_is_one_page_up_to_a_measure(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("snapstone.service.ec2.snapshots.ROWS_AT_ONCE", 2)
        for _ in range(7):
            start(installation, OWNER)
        assert [len(page) for page in self._pages(installation, OWNER)] == [7]
        monkeypatch.setattr("snapstone.service.ec2.snapshots.UNPAGED_LIMIT", 3)
        assert [len(page) for page in self._pages(installation, OWNER)] == [3, 3, 1]

    def test_a_token_is_one_callers_for_one_question(self, installation: Installation) -> None:
        for _ in range(6):
            share(installation, OWNER, start(installation, OWNER), "all")
        token = str(describe_snapshots(installation.engine, OWNER, max_results=5)["NextToken"])
        assert len(described(installation, OWNER, max_results=7, next_token=token)) == 1
        for caller, members in (
            (OTHER, {}),
            (elsewhere(OWNER), {}),
            (OWNER, {"owner_ids": ["self"]}),
            (OWNER, {"filters": [{"Name": "status", "Values": ["pending"]}]}),
        ):
            with pytest.raises(InvalidPageTokenError):
                described(installation, caller, max_results=5, next_token=token, **members)

    @pytest.mark.parametrize("token", ["", "x", "garbage", "00x00", "zzx" + "0" * 58])
    def test_garbage_is_no_token(self, installation: Installation, token: str) -> None:
        with pytest.raises(InvalidPageTokenError):
            described(installation, OWNER, max_results=5, next_token=token)

    def test_limits_begin_at_5_and_go_with_no_ids(self, installation: Installation) -> None:
        with pytest.raises(InvalidParameterError):
            described(installation, OWNER, max_results=4)
        with pytest.raises(InvalidParameterCombinationError):
            described(installation, OWNER, max_results=5, snapshot_ids=[start(installation, OWNER)])


class TestRefusals:
    @pytest.mark.parametrize("account_id", ["12345678901", "1234567890123", "nobody", "", "12345678901\u0661"])
    def test_who_is_named_must_look_like_an_account(self, installation: Installation, account_id: str) -> None:
        for member in ("owner_ids", "restorable_by_user_ids"):
            with pytest.raises(MalformedAccountIdError):
                described(installation, OWNER, **{member: [account_id]})

    def test_all_is_no_owner_and_amazon_no_reader(self, installation: Installation) -> None:
        with pytest.raises(MalformedAccountIdError):
            described(installation, OWNER, owner_ids=["all"])
        with pytest.raises(MalformedAccountIdError):
            described(installation, OWNER, restorable_by_user_ids=["amazon"])

    @pytest.mark.parametrize("snapshot_id", ["snap-", "snap-00000000000000000", "snap-0123456789ABCDEF0", "snap-0123"])
    def test_an_id_must_look_like_one(self, installation: Installation, snapshot_id: str) -> None:
        with pytest.raises(MalformedSnapshotIdError):
            described(installation, OWNER, snapshot_ids=[snapshot_id])

    def test_a_dry_run_comes_before_existence_and_after_syntax(self, installation: Installation) -> None:
        with pytest.raises(DryRunPassedError):
            described(installation, OWNER, snapshot_ids=[NO_SNAPSHOT], dry_run=True)
        with pytest.raises(MalformedSnapshotIdError):
            described(installation, OWNER, snapshot_ids=["snap-xyz"], dry_run=True)


def _scoped(owners: list[str] | None, readers: list[str] | None) -> dict[str, Any]:
    scoped = {"owner_ids": owners, "restorable_by_user_ids": readers}
    return {name: [NAMES[each] for each in given] for name, given in scoped.items() if given is not None}


def _with_catalog(installation: Installation, catalog: Any) -> Any:
    return replace(installation.engine, catalog=catalog)
