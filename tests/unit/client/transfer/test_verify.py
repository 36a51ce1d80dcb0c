"""Verification: every block is looked at, and each that is wrong is reported, not only the first."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from snapstone.client.api.retrying import Interruption, Options
from snapstone.client.api.service import Service
from snapstone.client.errors import DamagedError, NotFoundError, SourceChangedError, UnreachableError, UsageError
from snapstone.client.transfer import verify
from snapstone.client.transfer.verify import Mismatch, verify_image, verify_snapshot
from snapstone.core.blocks import Digest
from tests.conformance.given import ZERO, A, B, C, completed
from tests.server_process import Client, ServerProcess
from tests.unit.client.transfer.two_sides import Memory, MemoryImage, endpoint_of, service_of

GIB = 2**30


@pytest.fixture(scope="module")
def ebs(server: ServerProcess) -> Client:
    return server.client("ebs")


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> Iterator[Service]:
    with service_of(server) as made:
        yield made


@pytest.fixture(scope="module")
def snapshot_id(ebs: Client) -> str:
    """Blocks 0 to 29."""
    return completed(ebs, dict.fromkeys(range(30), A))


class Harmed(Service):
    """An endpoint some of whose blocks are not what their checksums say, and some of which it cannot read."""

    def __init__(self, server: ServerProcess, damaged: set[int], unreadable: set[int], is_up: bool = True) -> None:
        super().__init__(endpoint_of(server), Options(max_in_flight=4))
        self.damaged = damaged
        self.unreadable = unreadable
        self.is_up = is_up

    def get_block(
        self, snapshot_id: str, block_index: int, token: str, into: memoryview, *, stop: Interruption | None = None
    ) -> Digest:
        if block_index in self.damaged:
            raise DamagedError(f"get block {block_index}: the checksum should be x, and is y")
        if block_index in self.unreadable:
            raise UnreachableError(f"get block {block_index}: InternalServerException")
        return super().get_block(snapshot_id, block_index, token, into, stop=stop)

    def volume_size_gib(self, snapshot_id: str) -> int:
        if not self.is_up:
            raise UnreachableError("no answer")
        return super().volume_size_gib(snapshot_id)


class TestSnapshot:
    def test_a_sound_snapshot_passes(self, service: Service, snapshot_id: str) -> None:
        memory = Memory()
        verified = verify_snapshot(service, snapshot_id, observer=memory)
        assert verified.passed
        assert (verified.listed_count, verified.checked_count, verified.findings) == (30, 30, ())
        assert [(tally.visited_count, tally.expected_count) for tally in memory.ended] == [(30, 30)]

    def test_an_empty_snapshot_passes(self, service: Service, ebs: Client) -> None:
        verified = verify_snapshot(service, completed(ebs, {}))
        assert (verified.passed, verified.checked_count) == (True, 0)

    def test_every_damaged_block_is_found_and_the_rest_is_checked(
        self, server: ServerProcess, snapshot_id: str
    ) -> None:
        with Harmed(server, damaged={7, 21}, unreadable={3}) as harmed:
            verified = verify_snapshot(harmed, snapshot_id)
        assert not verified.passed
        assert (verified.checked_count, verified.finding_count) == (30, 3)
        assert [(finding.block_index, finding.verdict) for finding in verified.findings] == [
            (3, "damaged"),
            (7, "damaged"),
            (21, "damaged"),
        ]
        assert "InternalServerException" in verified.findings[0].message

    def test_an_endpoint_that_does_not_answer_is_no_damage(self, server: ServerProcess, snapshot_id: str) -> None:
        with Harmed(server, damaged=set(), unreadable={3}, is_up=False) as harmed, pytest.raises(UnreachableError):
            verify_snapshot(harmed, snapshot_id)

    def test_findings_beyond_the_limit_are_counted(
        self, server: ServerProcess, snapshot_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verify, "MAX_FINDING_COUNT", 4)
        with Harmed(server, damaged=set(range(10)), unreadable=set()) as harmed:
            verified = verify_snapshot(harmed, snapshot_id)
        assert (verified.finding_count, len(verified.findings)) == (10, 4)

    def test_an_unknown_snapshot_is_not_found(self, service: Service) -> None:
        with pytest.raises(NotFoundError):
            verify_snapshot(service, "snap-0123456789abcdef0")


class TestSample:
    def test_a_sample_checks_some_of_the_blocks(self, service: Service, snapshot_id: str) -> None:
        class Alternating(random.Random):
            """Says 0.0 and 0.9 in turn."""

            turn = 0

            def random(self) -> float:
                self.turn += 1
                return 0.0 if self.turn % 2 else 0.9

        verified = verify_snapshot(service, snapshot_id, sample_percent=50, chance=Alternating())
        assert (verified.listed_count, verified.checked_count) == (30, 15)

    def test_all_of_it_is_a_sample_of_100_percent(self, service: Service, snapshot_id: str) -> None:
        verified = verify_snapshot(service, snapshot_id, sample_percent=100)
        assert verified.checked_count == 30

    @pytest.mark.parametrize("percent", [0, -1, 100.5])
    def test_other_percentages_are_refused(self, service: Service, snapshot_id: str, percent: float) -> None:
        with pytest.raises(UsageError, match="is not possible"):
            verify_snapshot(service, snapshot_id, sample_percent=percent)

    def test_a_stream_is_not_sampled(self, service: Service, snapshot_id: str) -> None:
        image = MemoryImage({}, GIB, sequential=True)
        with pytest.raises(UsageError, match="a stream is always read completely"):
            verify_image(service, snapshot_id, image, sample_percent=10)


class TestImage:
    def test_the_same_image_passes(self, service: Service, ebs: Client) -> None:
        blocks = {0: A, 1: ZERO, 2: B, 2047: C}
        assert verify_image(service, completed(ebs, blocks), MemoryImage(blocks, GIB)).passed

    def test_each_difference_is_found(self, service: Service, ebs: Client) -> None:
        snapshot_id = completed(ebs, {0: A, 1: B, 2: C})
        verified = verify_image(service, snapshot_id, MemoryImage({0: B, 1: B, 5: A}, GIB))
        assert verified.findings == (Mismatch(0, "changed"), Mismatch(2, "removed"), Mismatch(5, "added"))
        assert verified.checked_count == 4

    def test_damage_of_the_snapshot_is_told_from_differences(self, server: ServerProcess, snapshot_id: str) -> None:
        image = MemoryImage({**dict.fromkeys(range(30), A), 4: B}, GIB)
        with Harmed(server, damaged={9}, unreadable=set()) as harmed:
            verified = verify_image(harmed, snapshot_id, image)
        assert [(finding.block_index, finding.verdict) for finding in verified.findings] == [
            (4, "changed"),
            (9, "damaged"),
        ]

    def test_an_image_written_to_meanwhile_is_said(self, service: Service, snapshot_id: str) -> None:
        class Busy(MemoryImage):
            """Changes whenever it is read."""

            def read(self, block_index: int, into: memoryview) -> None:
                super().read(block_index, into)
                self.version += 1

        with pytest.raises(SourceChangedError):
            verify_image(service, snapshot_id, Busy({0: A}, GIB))
