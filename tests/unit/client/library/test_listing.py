"""Which blocks are present: requested around the place that is read, remembered within limits, renewed when old."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from snapstone.client import Client
from snapstone.client.api.retrying import Options
from snapstone.client.api.values import BlockPage, ListedBlock
from snapstone.client.errors import RemoteError
from snapstone.client.library.listing import MAX_WINDOW_COUNT, TOKEN_LIFETIME_SECONDS, WINDOW_ALIGNMENT, Listing
from snapstone.core.blocks import BLOCK_SIZE, Digest
from tests.conformance.given import A, B, completed
from tests.server_process import Client as Boto3Client
from tests.unit.client.library.counting import Misleading


class Paged:
    """Answers in pages as short and as empty as the API permits; the real server fills them."""

    options = Options()

    def __init__(self, present: range, page_length: int = 100, *, empty_between: bool = False) -> None:
        self.present = present
        self.page_length = page_length
        self.empty_between = empty_between
        self.fetched: list[int] = []
        """Where listings began."""
        self.page_count = 0

    def volume_size_gib(self, snapshot_id: str) -> int:
        return 65_536

    def get_block(self, snapshot_id: str, block_index: int, token: str, into: memoryview) -> Digest:
        raise AssertionError("no block is read here")

    def block_pages(self, snapshot_id: str, starting_block_index: int = 0) -> Iterator[BlockPage]:
        self.fetched.append(starting_block_index)
        found = [index for index in self.present if index >= starting_block_index]
        for start in range(0, len(found) + 1, self.page_length):
            if self.empty_between:
                self.page_count += 1
                yield BlockPage(65_536, ())
            self.page_count += 1
            some = found[start : start + self.page_length]
            yield BlockPage(65_536, tuple(ListedBlock(index, f"t{index}") for index in some))


def test_only_the_pages_around_a_block_are_fetched() -> None:
    service = Paged(range(0, 1_000_000, 10), page_length=10_000)
    listing = Listing(service, "snap-1")
    assert listing.block_count == 134_217_728
    assert listing.token(500_000) == "t500000"
    assert listing.token(500_001) is None
    assert listing.token(590_000) == "t590000"
    assert (len(service.fetched), service.page_count) == (1, 1)


def test_short_and_empty_pages_are_followed_to_the_block() -> None:
    service = Paged(range(0, 3_000, 2), page_length=100, empty_between=True)
    listing = Listing(service, "snap-1")
    assert listing.token(1_022) == "t1022"
    assert listing.token(1_021) is None
    assert service.fetched == [0]


def test_behind_the_last_block_everything_is_known_to_be_absent() -> None:
    service = Paged(range(5))
    listing = Listing(service, "snap-1")
    assert not listing.is_known_absent(134_217_727)
    assert listing.token(7) is None
    assert listing.is_known_absent(134_217_727)
    assert not listing.is_known_absent(4)
    assert len(service.fetched) == 1


def test_reading_backwards_does_not_list_for_every_block() -> None:
    service = Paged(range(4 * WINDOW_ALIGNMENT), page_length=100)
    listing = Listing(service, "snap-1")
    for index in range(4 * WINDOW_ALIGNMENT - 1, -1, -1):
        assert listing.token(index) == f"t{index}"
    assert service.fetched == [3 * WINDOW_ALIGNMENT, 2 * WINDOW_ALIGNMENT, WINDOW_ALIGNMENT, 0]


def test_windows_are_remembered_up_to_the_limit_and_the_oldest_goes() -> None:
    service = Paged(range(0, 2**27, 2**20), page_length=1)
    listing = Listing(service, "snap-1")
    places = [place * 2**20 for place in range(MAX_WINDOW_COUNT + 1)]
    for place in places[:-1] + places[:1] + places[-1:]:
        listing.token(place)
    count = len(service.fetched)
    assert count == MAX_WINDOW_COUNT + 1
    listing.token(places[0])
    assert len(service.fetched) == count
    listing.token(places[1])
    assert len(service.fetched) == count + 1


def test_old_tokens_are_fetched_anew() -> None:
    now = 1_000.0
    service = Paged(range(5))
    listing = Listing(service, "snap-1", clock=lambda: now)
    listing.token(3)
    now += TOKEN_LIFETIME_SECONDS - 1
    listing.token(3)
    assert len(service.fetched) == 1
    now += 1
    assert not listing.is_known_absent(100)
    assert listing.token(3) == "t3"
    assert len(service.fetched) == 2


def test_a_refused_token_is_fetched_anew_once(client: Client, ebs: Boto3Client) -> None:
    into = memoryview(bytearray(BLOCK_SIZE))
    service = Misleading(client.service)
    listing = Listing(service, completed(ebs, {0: A, 1: B}))
    assert listing.read(1, into) == hashlib.sha256(B).digest()
    assert into == B
    assert listing.read(2, into) is None

    service = Misleading(client.service)
    service.bad_listing_count = 2
    listing = Listing(service, completed(ebs, {0: A}))
    with pytest.raises(RemoteError, match="INVALID_BLOCK_TOKEN"):
        listing.read(0, into)
    assert len(service.page_starts) == 2
