"""Copies between two real servers: what arrives, what is sent for it, and what is left when it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from snapstone.client.api.retrying import Interruption as AnyStop
from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.api.values import BlockPage, ListedBlock, SnapshotInfo
from snapstone.client.errors import (
    DeniedError,
    ExpiredCredentialsError,
    InterruptedTransferError,
    NotFoundError,
    RemoteError,
    UnreachableError,
    UsageError,
)
from snapstone.client.transfer.copy import CopyOptions, CopyResult, copy
from snapstone.client.transfer.counterparts import COPIED_FROM
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.index import IndexStore
from snapstone.client.transfer.journal import JournalStore
from snapstone.client.transfer.pipeline import StopSignal
from snapstone.core.blocks import Digest, digest_of
from tests.conformance.given import ZERO, A, B, C, block, completed, content, put, started
from tests.server_process import Client, ServerProcess
from tests.unit.client.transfer.two_sides import Memory, endpoint_of, service_of


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that is copied to."""
    with ServerProcess(tmp_path_factory.mktemp("other") / "data") as process:
        yield process


class Breaking(Service):
    """An endpoint that breaks with an error when it has acknowledged so many blocks."""

    def __init__(self, server: ServerProcess, after: int, error: Exception | None) -> None:
        super().__init__(endpoint_of(server), Options(retry_seconds=20.0, max_in_flight=1))
        self.after = after
        self.error = error
        self.put_indexes: list[int] = []
        """Acknowledged."""
        self._begun_count = 0
        self._counting = threading.Condition()

    def __enter__(self) -> Breaking:
        return self

    def put_block(
        self,
        snapshot_id: str,
        block_index: int,
        block: memoryview,
        digest: Digest,
        *,
        stop: AnyStop | None = None,
        recent: bool = False,
        before_sending: Callable[[], None] | None = None,
    ) -> None:
        with self._counting:
            if self.error is not None and self._begun_count >= self.after:
                self._counting.wait_for(lambda: len(self.put_indexes) >= self.after, timeout=20.0)
                raise self.error
            self._begun_count += 1
        super().put_block(
            snapshot_id, block_index, block, digest, stop=stop, recent=recent, before_sending=before_sending
        )
        with self._counting:
            self.put_indexes.append(block_index)
            self._counting.notify_all()


@dataclass
class Sides:
    """Both servers, by boto3 and as the client sees them."""

    here: Client
    there: Client
    there_ec2: Client
    here_ec2: Client
    source: Service
    target: Service
    state: Folders
    memory: Memory

    def copy(
        self, snapshot_id: str, target: Service | None = None, stop: StopSignal | None = None, **options: object
    ) -> CopyResult:
        """A copy with a state folder of its own."""
        return copy(
            self.source,
            target or self.target,
            snapshot_id,
            CopyOptions(**options),  # type: ignore[arg-type]
            state=self.state,
            observer=self.memory,
            stop=stop,
        )

    def described(self, snapshot_id: str | None) -> dict[str, object]:
        """What EC2 says there."""
        (found,) = self.there_ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        return dict(found)

    def tags(self, snapshot_id: str | None) -> dict[str, str]:
        """The tags there."""
        tags = self.described(snapshot_id)["Tags"]
        assert isinstance(tags, list)
        return {tag["Key"]: tag["Value"] for tag in tags}

    def ids_there(self) -> set[str]:
        """All snapshots there."""
        return {found["SnapshotId"] for found in self.there_ec2.describe_snapshots()["Snapshots"]}

    def holds(self, copied: CopyResult) -> dict[int, bytes]:
        """What the copy holds, without blocks of zeros."""
        assert copied.snapshot_id is not None
        return {index: data for index, data in content(self.there, copied.snapshot_id).items() if data != ZERO}


@pytest.fixture
def sides(server: ServerProcess, other: ServerProcess, tmp_path: Path) -> Iterator[Sides]:
    """A source and a target."""
    with service_of(server) as source, service_of(other) as target:
        yield Sides(
            here=server.client("ebs"),
            there=other.client("ebs"),
            there_ec2=other.client("ec2"),
            here_ec2=server.client("ec2"),
            source=source,
            target=target,
            state=Folders(tmp_path / "state"),
            memory=Memory(),
        )


class TestFull:
    def test_the_copy_holds_what_the_source_holds(self, sides: Sides) -> None:
        snapshot_id = completed(sides.here, {0: A, 7: B, 2047: C, 2048: A}, VolumeSize=2)
        copied = sides.copy(snapshot_id)
        assert sides.holds(copied) == {0: A, 7: B, 2047: C, 2048: A}
        assert (copied.kind, copied.sent_count, copied.sent_bytes) == ("full", 4, 4 * 524_288)
        assert (copied.volume_size_gib, copied.parent_id, copied.source_id) == (2, None, snapshot_id)
        described = sides.described(copied.snapshot_id)
        assert (described["State"], described["VolumeSize"]) == ("completed", 2)

    def test_blocks_of_zeros_are_not_sent(self, sides: Sides) -> None:
        copied = sides.copy(completed(sides.here, {0: A, 1: ZERO, 2: ZERO}))
        assert copied.snapshot_id is not None
        assert content(sides.there, copied.snapshot_id) == {0: A}
        assert (copied.sent_count, copied.zero_count) == (1, 2)

    def test_an_empty_snapshot_is_copied(self, sides: Sides) -> None:
        copied = sides.copy(completed(sides.here, {}))
        assert sides.holds(copied) == {}
        assert sides.described(copied.snapshot_id)["State"] == "completed"

    def test_description_and_tags_are_carried_and_the_origin_is_tagged(self, sides: Sides) -> None:
        tags = [{"Key": "Name", "Value": "root disk"}, {"Key": COPIED_FROM, "Value": "snap-0 elsewhere"}]
        snapshot_id = completed(sides.here, {0: A}, Description="before the move", Tags=tags)
        copied = sides.copy(snapshot_id)
        assert sides.described(copied.snapshot_id)["Description"] == "before the move"
        (owner,) = {found["OwnerId"] for found in sides.here_ec2.describe_snapshots()["Snapshots"]}
        origin = f"{snapshot_id} eu-central-1 {owner}"
        assert sides.tags(copied.snapshot_id) == {"Name": "root disk", COPIED_FROM: origin}

    def test_description_and_tags_can_be_others(self, sides: Sides) -> None:
        tags = [{"Key": "Name", "Value": "root disk"}, {"Key": "snapstone:size", "Value": "524288"}]
        snapshot_id = completed(sides.here, {0: A}, Description="before", Tags=tags)
        over = sides.copy(snapshot_id, description="", tags={"Name": "copy"})
        assert sides.described(over.snapshot_id)["Description"] == ""
        assert sides.tags(over.snapshot_id)["Name"] == "copy"
        none = sides.copy(snapshot_id, carry_tags=False, tags={"why": "test"})
        assert sides.tags(none.snapshot_id).keys() == {"why", "snapstone:size", COPIED_FROM}

    def test_more_tags_than_allowed_are_refused_before_anything_is_begun(self, sides: Sides) -> None:
        tags = [{"Key": f"tag-{number}", "Value": ""} for number in range(50)]
        snapshot_id = completed(sides.here, {0: A}, Tags=tags)
        before = sides.ids_there()
        with pytest.raises(UsageError, match="would have 51 tags"):
            sides.copy(snapshot_id)
        assert sides.ids_there() == before
        assert JournalStore(sides.state.journals).list() == []
        assert sides.copy(snapshot_id, carry_tags=False).snapshot_id is not None

    def test_a_copy_is_encrypted_with_the_key_that_was_asked_for(self, sides: Sides, other: ServerProcess) -> None:
        key_arn = other.client("kms").create_key()["KeyMetadata"]["Arn"]
        copied = sides.copy(completed(sides.here, {0: A}), kms_key_arn=key_arn, encrypted=True)
        described = sides.described(copied.snapshot_id)
        assert (described["Encrypted"], described["KmsKeyId"]) == (True, key_arn)
        assert sides.holds(copied) == {0: A}

    def test_a_full_copy_leaves_a_digest_index(self, sides: Sides) -> None:
        copied = sides.copy(completed(sides.here, {0: A, 3: B}))
        assert copied.snapshot_id is not None
        with IndexStore(sides.state.indexes).find(copied.snapshot_id, 1) as index:  # type: ignore[union-attr]
            assert dict(index.items()) == {0: digest_of(A), 3: digest_of(B)}

    def test_so_does_an_increment_on_a_parent_that_has_one(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A, 3: B})
        sides.copy(parent)
        copied = sides.copy(completed(sides.here, {3: C, 5: A}, ParentSnapshotId=parent))
        assert copied.snapshot_id is not None
        with IndexStore(sides.state.indexes).find(copied.snapshot_id, 1) as index:  # type: ignore[union-attr]
            assert dict(index.items()) == {0: digest_of(A), 3: digest_of(C), 5: digest_of(A)}

    def test_a_token_that_has_expired_is_replaced(self, sides: Sides, server: ServerProcess) -> None:
        class Expired(Service):
            """Lists with tokens that the endpoint does not take any more, the first time."""

            listings = 0

            def block_pages(
                self, snapshot_id: str, starting_block_index: int = 0, page_length: int = 10_000
            ) -> Iterator[BlockPage]:
                self.listings += 1
                for page in super().block_pages(snapshot_id, starting_block_index, page_length):
                    if self.listings > 1:
                        yield page
                    else:
                        stale = tuple(ListedBlock(listed.block_index, "stale") for listed in page.blocks)
                        yield BlockPage(page.volume_size_gib, stale)

        snapshot_id = completed(sides.here, {0: A, 7: B})
        with Expired(endpoint_of(server), Options(max_in_flight=1)) as source:
            copied = copy(source, sides.target, snapshot_id, CopyOptions(parent_id=None), state=sides.state)
        assert sides.holds(copied) == {0: A, 7: B}

    def test_progress_knows_how_many_blocks_there_are(self, sides: Sides) -> None:
        sides.copy(completed(sides.here, dict.fromkeys(range(5), A)))
        (tally,) = sides.memory.ended
        assert (tally.what, tally.expected_count, tally.visited_count) == ("copy", 5, 5)

    def test_a_pending_snapshot_is_refused(self, sides: Sides) -> None:
        with pytest.raises(UsageError, match="is pending; only a completed snapshot can be copied"):
            sides.copy(started(sides.here))

    def test_an_unknown_snapshot_is_not_found(self, sides: Sides) -> None:
        with pytest.raises(NotFoundError, match="snap-0123456789abcdef0"):
            sides.copy("snap-0123456789abcdef0")


class TestIncremental:
    def test_only_what_changed_is_sent_where_the_parent_is_there(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A, 1: A, 2: A})
        there = sides.copy(parent)
        child = completed(sides.here, {1: B, 9: C}, ParentSnapshotId=parent)
        copied = sides.copy(child)
        assert (copied.kind, copied.sent_count) == ("incremental", 2)
        assert (copied.parent_id, copied.source_parent_id) == (there.snapshot_id, parent)
        assert copied.reason == f"{there.snapshot_id} on the target is a copy of {parent}"
        assert sides.holds(copied) == {0: A, 1: B, 2: A, 9: C}
        assert sides.memory.messages("plan")[-1] == f"incremental copy: {copied.reason}"
        assert [tally.expected_count for tally in sides.memory.ended] == [3, 2]

    def test_a_block_that_only_the_earlier_one_has_becomes_zeros(self, sides: Sides) -> None:
        root = completed(sides.here, {0: A})
        first = completed(sides.here, {1: B, 2: B}, ParentSnapshotId=root)
        second = completed(sides.here, {2: C}, ParentSnapshotId=root)
        sides.copy(first, parent_id=None)
        copied = sides.copy(second)
        assert (copied.kind, copied.source_parent_id) == ("incremental", first)
        assert copied.snapshot_id is not None
        assert content(sides.there, copied.snapshot_id) == {0: A, 1: ZERO, 2: C}

    def test_zeros_over_the_parents_data_are_sent(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        copied = sides.copy(completed(sides.here, {0: ZERO, 5: ZERO}, ParentSnapshotId=parent))
        assert copied.snapshot_id is not None
        assert content(sides.there, copied.snapshot_id) == {0: ZERO}
        assert (copied.sent_count, copied.zero_count) == (1, 1)

    def test_of_several_copies_the_newest_is_the_parent(self, sides: Sides) -> None:
        first = completed(sides.here, {0: A})
        sides.copy(first)
        second = completed(sides.here, {1: A}, ParentSnapshotId=first)
        newest = sides.copy(second)
        third = completed(sides.here, {2: A}, ParentSnapshotId=second)
        copied = sides.copy(third)
        assert (copied.parent_id, copied.sent_count) == (newest.snapshot_id, 1)

    def test_a_copy_whose_source_is_gone_is_passed_over(self, sides: Sides) -> None:
        first = completed(sides.here, {0: A})
        usable = sides.copy(first)
        second = completed(sides.here, {1: A}, ParentSnapshotId=first)
        sides.copy(second)
        third = completed(sides.here, {2: A}, ParentSnapshotId=second)
        sides.here_ec2.delete_snapshot(SnapshotId=second)
        assert sides.copy(third).parent_id == usable.snapshot_id

    def test_a_copy_of_a_stranger_makes_a_full_copy_that_says_why(self, sides: Sides) -> None:
        stranger = sides.copy(completed(sides.here, {0: A}))
        copied = sides.copy(completed(sides.here, {0: A, 1: B}))
        assert (copied.kind, copied.parent_id, copied.sent_count) == ("full", None, 2)
        assert "are not related" in copied.reason
        assert copied.reason in sides.memory.messages("plan")[-1]
        rejected = next(note.facts["rejected"] for note in sides.memory.notes[::-1] if note.kind == "plan")
        assert isinstance(rejected, dict)
        assert "are not related" in rejected[stranger.snapshot_id]

    def test_a_tag_that_lies_is_not_believed(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A, 1: A})
        liar = completed(sides.there, {0: A, 1: B}, Tags=[{"Key": COPIED_FROM, "Value": parent}])
        child = completed(sides.here, {2: C}, ParentSnapshotId=parent)
        copied = sides.copy(child)
        assert copied.kind == "full"
        assert f"block 1 of {liar} does not match" in copied.reason
        assert sides.holds(copied) == {0: A, 1: A, 2: C}

    def test_a_liar_that_holds_more_is_not_believed(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        liar = completed(sides.there, {0: A, 1: B}, Tags=[{"Key": COPIED_FROM, "Value": parent}])
        copied = sides.copy(completed(sides.here, {2: C}, ParentSnapshotId=parent))
        assert f"block 1 of {liar} does not match" in copied.reason

    def test_a_plain_parent_is_not_built_on_where_snapshots_have_to_be_encrypted_since(
        self, sides: Sides, other: ServerProcess
    ) -> None:
        parent = completed(sides.here, {0: A})
        region = "ap-south-1"
        with service_of(other, region) as target:
            sides.copy(parent, target)
            ec2 = other.client("ec2", region=region)
            ec2.enable_ebs_encryption_by_default()
            copied = sides.copy(completed(sides.here, {1: B}, ParentSnapshotId=parent), target)
        assert (copied.kind, copied.parent_id, copied.sent_count) == ("full", None, 2)
        assert "but it cannot be built on (start a snapshot: ValidationException" in copied.reason
        (found,) = ec2.describe_snapshots(SnapshotIds=[copied.snapshot_id])["Snapshots"]
        assert found["Encrypted"] is True

    def test_where_the_parent_may_not_be_read_its_tag_is_taken_on_trust_and_that_is_said(
        self, sides: Sides, other: ServerProcess
    ) -> None:
        class WriteOnly(Service):
            """Lets nobody list blocks."""

            def block_pages(self, *_: object, **__: object) -> Iterator[BlockPage]:
                raise DeniedError("ebs:ListSnapshotBlocks is denied")

        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        with WriteOnly(endpoint_of(other)) as target:
            copied = sides.copy(completed(sides.here, {1: B}, ParentSnapshotId=parent), target, wait=False)
        assert (copied.kind, copied.sent_count) == ("incremental", 1)
        (warning,) = sides.memory.messages("warning")
        assert "(ebs:ListSnapshotBlocks is denied)" in warning

    def test_where_copies_may_not_be_looked_for_it_is_full_and_says_so(
        self, sides: Sides, other: ServerProcess
    ) -> None:
        class Undescribed(Service):
            """Describes nothing."""

            def describe(self, *_: object, **__: object) -> list[SnapshotInfo]:
                raise DeniedError("ec2:DescribeSnapshots is denied")

        snapshot_id = completed(sides.here, {0: A}, Description="described")
        with Undescribed(endpoint_of(other)) as target:
            copied = sides.copy(snapshot_id, target)
        assert copied.reason == "could not search for copies on the target (ec2:DescribeSnapshots is denied)"
        assert sides.described(copied.snapshot_id)["Description"] == "described"

    def test_credentials_that_ran_out_are_no_reason_for_a_full_copy(self, sides: Sides, other: ServerProcess) -> None:
        class Expired(Service):
            """Describes nothing until somebody logs in again."""

            def describe(self, *_: object, **__: object) -> list[SnapshotInfo]:
                raise ExpiredCredentialsError("log in again")

        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        child = completed(sides.here, {1: B}, ParentSnapshotId=parent)
        with Expired(endpoint_of(other)) as target, pytest.raises(ExpiredCredentialsError):
            sides.copy(child, target)
        assert sides.copy(child).kind == "incremental"

    def test_a_source_that_may_not_be_described_is_copied_without_description_and_tags(
        self, sides: Sides, server: ServerProcess
    ) -> None:
        class Undescribed(Service):
            """Describes nothing."""

            def describe(self, *_: object, **__: object) -> list[SnapshotInfo]:
                raise DeniedError("ec2:DescribeSnapshots is denied")

        snapshot_id = completed(sides.here, {0: A}, Description="described")
        with Undescribed(endpoint_of(server)) as source:
            copied = copy(source, sides.target, snapshot_id, state=sides.state, observer=sides.memory)
        assert sides.described(copied.snapshot_id)["Description"] == ""
        assert sides.tags(copied.snapshot_id) == {COPIED_FROM: f"{snapshot_id} eu-central-1"}
        assert "description and tags are not copied" in sides.memory.messages("warning")[0]

    def test_what_came_from_there_goes_back_as_an_increment(self, sides: Sides) -> None:
        """On-premises to AWS and back: the copy here is tagged with the original there."""
        original = completed(sides.there, {0: A, 1: B})
        (here,) = [copy(sides.target, sides.source, original, state=sides.state).snapshot_id]
        child = completed(sides.here, {1: C}, ParentSnapshotId=here)
        copied = sides.copy(child)
        assert (copied.kind, copied.parent_id, copied.sent_count) == ("incremental", original, 1)
        assert copied.reason == f"{here} on the source is a copy of {original}"
        assert sides.holds(copied) == {0: A, 1: C}

    def test_a_snapshot_that_was_copied_before_is_copied_for_nothing(self, sides: Sides) -> None:
        snapshot_id = completed(sides.here, {0: A})
        first = sides.copy(snapshot_id)
        again = sides.copy(snapshot_id)
        assert (again.parent_id, again.sent_count, sides.holds(again)) == (first.snapshot_id, 0, {0: A})

    def test_a_grown_volume_is_copied_on_its_smaller_parent(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        child = completed(sides.here, {2048: B}, ParentSnapshotId=parent, VolumeSize=2)
        copied = sides.copy(child)
        assert (copied.kind, copied.volume_size_gib) == ("incremental", 2)
        assert sides.holds(copied) == {0: A, 2048: B}

    def test_encryption_makes_a_full_copy_that_says_why(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        copied = sides.copy(completed(sides.here, {1: A}, ParentSnapshotId=parent), encrypted=True)
        assert copied.kind == "full"
        assert copied.reason == "encryption was requested, and an incremental copy uses its parent's key"

    def test_an_increment_on_an_encrypted_parent_takes_its_key(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        encrypted = sides.copy(parent, encrypted=True)
        copied = sides.copy(completed(sides.here, {1: A}, ParentSnapshotId=parent))
        assert (copied.kind, copied.parent_id) == ("incremental", encrypted.snapshot_id)
        assert sides.described(copied.snapshot_id)["Encrypted"] is True

    def test_a_full_copy_can_be_asked_for(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        copied = sides.copy(completed(sides.here, {1: A}, ParentSnapshotId=parent), parent_id=None)
        assert (copied.kind, copied.reason, copied.sent_count) == ("full", "as requested", 2)


class TestNamedParent:
    def test_its_tag_says_what_it_is_a_copy_of(self, sides: Sides) -> None:
        first = completed(sides.here, {0: A})
        named = sides.copy(first)
        second = completed(sides.here, {1: A}, ParentSnapshotId=first)
        sides.copy(second)
        third = completed(sides.here, {2: A}, ParentSnapshotId=second)
        copied = sides.copy(third, parent_id=named.snapshot_id)
        assert (copied.parent_id, copied.source_parent_id, copied.sent_count) == (named.snapshot_id, first, 2)

    def test_without_a_tag_the_source_parent_has_to_be_named(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        there = completed(sides.there, {0: A})
        child = completed(sides.here, {1: A}, ParentSnapshotId=parent)
        with pytest.raises(UsageError, match="give it with --source-parent"):
            sides.copy(child, parent_id=there)
        copied = sides.copy(child, parent_id=there, source_parent_id=parent)
        assert (copied.parent_id, copied.sent_count, sides.holds(copied)) == (there, 1, {0: A, 1: A})

    def test_one_of_other_content_is_refused(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A})
        there = completed(sides.there, {0: B})
        child = completed(sides.here, {1: A}, ParentSnapshotId=parent)
        with pytest.raises(UsageError, match=f"block 0 of {there} does not match"):
            sides.copy(child, parent_id=there, source_parent_id=parent)

    def test_one_of_another_lineage_is_refused(self, sides: Sides) -> None:
        stranger = sides.copy(completed(sides.here, {0: A}))
        with pytest.raises(UsageError, match="are not related"):
            sides.copy(completed(sides.here, {0: A}), parent_id=stranger.snapshot_id)

    def test_one_that_is_not_there_is_not_found(self, sides: Sides) -> None:
        with pytest.raises(NotFoundError):
            sides.copy(completed(sides.here, {0: A}), parent_id="snap-0123456789abcdef0")

    def test_with_a_key_it_is_refused(self, sides: Sides) -> None:
        with pytest.raises(UsageError, match="an incremental copy uses the key of its parent, snap-1"):
            sides.copy(completed(sides.here, {}), parent_id="snap-1", encrypted=True)

    def test_a_source_parent_alone_is_refused(self, sides: Sides) -> None:
        with pytest.raises(UsageError, match="no parent is given"):
            sides.copy(completed(sides.here, {}), source_parent_id="snap-1")


class TestFailure:
    def test_an_interrupted_copy_goes_on_and_sends_nothing_twice(self, sides: Sides, other: ServerProcess) -> None:
        blocks = {index: block(str(index)) for index in range(12)}
        snapshot_id = completed(sides.here, blocks)
        with Breaking(other, after=5, error=UnreachableError("gone")) as target:
            with pytest.raises(UnreachableError):
                sides.copy(snapshot_id, target)
            first = list(target.put_indexes)
            target.error = None
            copied = sides.copy(snapshot_id, target)
        assert sorted(target.put_indexes) == list(range(12))
        assert (len(first), copied.resumed_count, copied.sent_count) == (5, 5, 7)
        assert sides.holds(copied) == blocks
        assert JournalStore(sides.state.journals).list() == []

    def test_an_interrupted_increment_goes_on_with_the_same_parent(self, sides: Sides, other: ServerProcess) -> None:
        parent = completed(sides.here, {0: A})
        there = sides.copy(parent)
        child = completed(sides.here, {1: A, 2: B, 3: C}, ParentSnapshotId=parent)
        with Breaking(other, after=2, error=UnreachableError("gone")) as target:
            with pytest.raises(UnreachableError):
                sides.copy(child, target)
            sides.copy(completed(sides.here, {4: A}, ParentSnapshotId=parent))
            target.error = None
            copied = sides.copy(child, target)
        assert (copied.kind, copied.parent_id, copied.resumed_count) == ("incremental", there.snapshot_id, 2)
        assert (
            sides.memory.messages("plan")[-1]
            == f"incremental copy: {there.snapshot_id} on the target is a copy of {parent}"
        )
        assert sides.holds(copied) == {0: A, 1: A, 2: B, 3: C}

    def test_a_copy_that_cannot_go_on_takes_its_snapshot_back(self, sides: Sides, other: ServerProcess) -> None:
        snapshot_id, before = completed(sides.here, {0: A, 1: B}), sides.ids_there()
        with Breaking(other, after=1, error=DeniedError("no")) as target, pytest.raises(DeniedError):
            sides.copy(snapshot_id, target)
        assert sides.ids_there() == before
        assert JournalStore(sides.state.journals).list() == []

    def test_that_the_end_may_be_denied_is_said_at_the_beginning(self, sides: Sides, other: ServerProcess) -> None:
        class Unsealable(Service):
            """Does not let anybody complete anything."""

            def complete_snapshot(self, *_: object, **__: object) -> str:
                raise DeniedError("ebs:CompleteSnapshot is denied")

        snapshot_id, before = completed(sides.here, {0: A}), sides.ids_there()
        with Unsealable(endpoint_of(other)) as target, pytest.raises(DeniedError):
            sides.copy(snapshot_id, target)
        assert "could not be completed" in sides.memory.messages("warning")[0]
        assert [note.kind for note in sides.memory.notes].index("warning") == 0
        assert sides.ids_there() == before

    def test_unless_it_is_to_be_kept(self, sides: Sides, other: ServerProcess) -> None:
        snapshot_id, before = completed(sides.here, {0: A, 1: B}), sides.ids_there()
        with Breaking(other, after=1, error=DeniedError("no")) as target, pytest.raises(DeniedError):
            sides.copy(snapshot_id, target, keep_failed=True)
        (left,) = sides.ids_there() - before
        assert sides.described(left)["State"] == "pending"

    def test_where_the_pending_snapshot_is_gone_the_copy_starts_anew(self, sides: Sides, other: ServerProcess) -> None:
        snapshot_id, before = completed(sides.here, {0: A, 1: B, 2: C}), sides.ids_there()
        with Breaking(other, after=2, error=UnreachableError("gone")) as target, pytest.raises(UnreachableError):
            sides.copy(snapshot_id, target)
        (left,) = sides.ids_there() - before
        sides.there_ec2.delete_snapshot(SnapshotId=left)
        (kept,) = JournalStore(sides.state.journals).list()
        with DigestTable.open(kept.path, writable=True) as table:
            table.set_facts({**table.facts, "started_at": 0.0})  # Long ago: what is unknown by now is gone.
        copied = sides.copy(snapshot_id)
        assert (copied.resumed_count, copied.sent_count) == (0, 3)
        assert sides.holds(copied) == {0: A, 1: B, 2: C}

    def test_not_resuming_starts_anew(self, sides: Sides, other: ServerProcess) -> None:
        snapshot_id = completed(sides.here, {0: A, 1: B, 2: C})
        with Breaking(other, after=2, error=UnreachableError("gone")) as target, pytest.raises(UnreachableError):
            sides.copy(snapshot_id, target)
        assert sides.copy(snapshot_id, resume=False).resumed_count == 0

    def test_a_seal_that_was_not_seen_to_its_end_is_recognized(self, sides: Sides, other: ServerProcess) -> None:
        class Forgetful(Breaking):
            """Completes, and then does not say so."""

            def complete_snapshot(
                self, snapshot_id: str, changed_block_count: int, aggregate: Digest, *, recent: bool = False
            ) -> str:
                super().complete_snapshot(snapshot_id, changed_block_count, aggregate)
                raise UnreachableError("the answer was lost")

        snapshot_id, before = completed(sides.here, {0: A, 1: B}), sides.ids_there()
        with Forgetful(other, after=0, error=None) as target, pytest.raises(UnreachableError):
            sides.copy(snapshot_id, target)
        copied = sides.copy(snapshot_id)
        assert sides.ids_there() - before == {copied.snapshot_id}
        assert (copied.sent_count, copied.resumed_count) == (0, 0), "nothing of it is looked at again"
        assert sides.holds(copied) == {0: A, 1: B}

    def test_blocks_that_somebody_else_wrote_are_noticed_by_the_seal(self, sides: Sides, other: ServerProcess) -> None:
        snapshot_id, before = completed(sides.here, {0: A, 1: B}), sides.ids_there()
        with Breaking(other, after=1, error=UnreachableError("gone")) as target, pytest.raises(UnreachableError):
            sides.copy(snapshot_id, target)
        (left,) = sides.ids_there() - before
        put(sides.there, left, 9, C)
        with pytest.raises(RemoteError, match="ended in error"):
            sides.copy(snapshot_id)
        assert sides.ids_there() == before

    def test_a_parent_that_vanished_before_the_start_leaves_nothing(self, sides: Sides, other: ServerProcess) -> None:
        class Starting(Service):
            """Loses the parent just before the start."""

            def start_snapshot(self, request: object) -> str:
                raise NotFoundError("the parent is not there")

        parent = completed(sides.here, {0: A})
        sides.copy(parent)
        child = completed(sides.here, {1: B}, ParentSnapshotId=parent)
        with Starting(endpoint_of(other)) as target, pytest.raises(NotFoundError):
            sides.copy(child, target)
        assert "cannot be built on" in sides.memory.messages("plan")[-1]
        assert JournalStore(sides.state.journals).list() == []

    def test_a_stop_ends_it_and_leaves_it_resumable(self, sides: Sides) -> None:
        stop = StopSignal()
        stop.set()
        snapshot_id = completed(sides.here, {0: A})
        with pytest.raises(InterruptedTransferError):
            sides.copy(snapshot_id, stop=stop)
        assert len(JournalStore(sides.state.journals).list()) == 1
        assert sides.copy(snapshot_id).snapshot_id is not None


class TestDryRun:
    def test_it_counts_and_begins_nothing(self, sides: Sides) -> None:
        parent = completed(sides.here, {0: A, 1: A})
        sides.copy(parent)
        before = sides.ids_there()
        child = completed(sides.here, {1: B}, ParentSnapshotId=parent)
        copied = sides.copy(child, dry_run=True)
        assert (copied.snapshot_id, copied.kind, copied.sent_count) == (None, "incremental", 1)
        assert sides.copy(child, dry_run=True, parent_id=None).sent_count == 2
        assert sides.ids_there() == before
