"""Blocks one after the other: those that are present, in order, with bytes and digest."""

from __future__ import annotations

import hashlib

import pytest

from snapstone.client import Client
from snapstone.client.errors import DamagedError, NotFoundError, RemoteError
from snapstone.client.library.listing import WORKER_COUNT, iterate_blocks
from tests.conformance.given import ZERO, A, B, C, completed, started
from tests.server_process import Client as Boto3Client
from tests.unit.client.library.counting import Counting, Misleading


def test_present_blocks_come_in_order_with_bytes_and_digest(client: Client, ebs: Boto3Client) -> None:
    snapshot_id = completed(ebs, {2047: C, 0: A, 7: ZERO})
    blocks = list(client.blocks(snapshot_id))
    assert [(block.index, block.data) for block in blocks] == [(0, A), (7, ZERO), (2047, C)]
    assert [block.digest for block in blocks] == [hashlib.sha256(data).digest() for data in (A, ZERO, C)]


def test_a_range_begins_at_start_and_ends_before_stop(client: Client, ebs: Boto3Client) -> None:
    snapshot_id = completed(ebs, dict.fromkeys((1, 2, 3, 9), B))
    assert [block.index for block in client.blocks(snapshot_id, 2, 9)] == [2, 3]
    assert [block.index for block in client.blocks(snapshot_id, stop=2)] == [1]
    assert list(client.blocks(snapshot_id, 10)) == []
    assert list(client.blocks(snapshot_id, 3, 3)) == []


def test_blocks_of_the_parent_are_among_them(client: Client, ebs: Boto3Client) -> None:
    parent_id = completed(ebs, {0: A, 1: A})
    snapshot_id = completed(ebs, {1: B}, ParentSnapshotId=parent_id)
    assert [(block.index, block.data) for block in client.blocks(snapshot_id)] == [(0, A), (1, B)]


def test_a_hundred_blocks_keep_their_order_whoever_is_faster(client: Client, ebs: Boto3Client) -> None:
    snapshot_id = completed(ebs, {index: bytes([index]) * len(A) for index in range(100)})
    seen = [(block.index, block.data[0], block.data[-1]) for block in client.blocks(snapshot_id)]
    assert seen == [(index, index, index) for index in range(100)]


def test_who_stops_early_has_caused_no_more_than_a_window_of_reads(client: Client, ebs: Boto3Client) -> None:
    snapshot_id = completed(ebs, {index: bytes([index]) * len(A) for index in range(100)})
    service = Counting(client.service)
    blocks = iterate_blocks(service, snapshot_id)
    assert next(blocks).index == 0
    blocks.close()
    assert len(service.got) <= 3 * WORKER_COUNT
    assert service.most_in_flight <= WORKER_COUNT


def test_tokens_that_expired_meanwhile_are_fetched_anew(client: Client, ebs: Boto3Client) -> None:
    service = Misleading(client.service)
    snapshot_id = completed(ebs, {0: A, 5: B})
    assert [(block.index, block.data) for block in iterate_blocks(service, snapshot_id)] == [(0, A), (5, B)]
    assert service.got.count(0) == service.got.count(5) == 2

    service = Misleading(client.service)
    service.bad_listing_count = 9
    with pytest.raises(RemoteError, match="INVALID_BLOCK_TOKEN"):
        list(iterate_blocks(service, snapshot_id))


def test_damage_ends_the_iteration(client: Client, ebs: Boto3Client) -> None:
    service = Counting(client.service)
    service.failures[1] = DamagedError("block 1")
    with pytest.raises(DamagedError, match="block 1"):
        list(iterate_blocks(service, completed(ebs, {0: A, 1: A, 2: A})))


def test_a_pending_snapshot_is_not_found(client: Client, ebs: Boto3Client) -> None:
    with pytest.raises(NotFoundError):
        list(client.blocks(started(ebs)))
