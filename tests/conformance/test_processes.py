"""What clients see is the same from several server processes on one data folder, and after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conformance.faults import expect_invalid, expect_snapshot_not_found
from tests.conformance.given import A, B, C, block, complete, completed, content, put, read, started, tokens
from tests.conformance.raw_client import RawClient
from tests.server_process import Client, ServerProcess


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of two processes."""
    with ServerProcess(tmp_path_factory.mktemp("workers") / "data", ["--workers", "2"]) as server:
        yield server


class TestRestart:
    def test_snapshots_tokens_and_keys_outlive_the_server(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data") as server:
            ebs, key = server.client("ebs"), server.key
            parent = completed(ebs, {0: A, 5: B})
            child = completed(ebs, {5: C}, ParentSnapshotId=parent)
            token = tokens(ebs, child)[5]
        with ServerProcess(tmp_path / "data") as server:
            ebs = server.client("ebs", key=key)
            assert read(ebs, child, 5, token) == C
            assert content(ebs, parent) == {0: A, 5: B}
            answer = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)
            assert [entry["BlockIndex"] for entry in answer["ChangedBlocks"]] == [5]

    def test_a_pending_snapshot_goes_on_after_a_restart(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data") as server:
            snapshot_id = started(server.client("ebs"))
            put(server.client("ebs"), snapshot_id, 0, A)
        with ServerProcess(tmp_path / "data") as server:
            ebs = server.client("ebs")
            put(ebs, snapshot_id, 1, B)
            assert complete(ebs, snapshot_id, {0: A, 1: B}) == "completed"
            assert content(ebs, snapshot_id) == {0: A, 1: B}

    def test_a_client_token_outlives_the_server(self, tmp_path: Path) -> None:
        token = uuid4().hex
        with ServerProcess(tmp_path / "data") as server:
            snapshot_id = started(server.client("ebs"), ClientToken=token)
        with ServerProcess(tmp_path / "data") as server:
            assert started(server.client("ebs"), ClientToken=token) == snapshot_id

    def test_states_and_deletions_outlive_the_server(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data") as server:
            ebs = server.client("ebs")
            failed, gone = started(ebs), completed(ebs, {0: A})
            ebs.complete_snapshot(SnapshotId=failed, ChangedBlocksCount=1)
            server.client("ec2").delete_snapshot(SnapshotId=gone)
        with ServerProcess(tmp_path / "data") as server:
            (left,) = server.client("ec2").describe_snapshots()["Snapshots"]
            assert (left["SnapshotId"], left["State"]) == (failed, "error")
            with expect_snapshot_not_found(gone):
                server.client("ebs").list_snapshot_blocks(SnapshotId=gone)

    def test_a_graceful_stop_ends_with_0(self, tmp_path: Path) -> None:
        assert ServerProcess(tmp_path / "data").stop() == 0


class TestWorkers:
    """Each raw request has a connection of its own, and so comes to either process."""

    def test_blocks_put_through_either_process_make_one_snapshot(self, pair: ServerProcess) -> None:
        ebs = pair.client("ebs")
        blocks = {index: block(str(index % 7)) for index in range(64)}
        snapshot_id = started(ebs)
        with ThreadPoolExecutor(16) as threads:
            for done in [threads.submit(put, pair.client("ebs"), snapshot_id, *item) for item in blocks.items()]:
                done.result()
        assert complete(ebs, snapshot_id, blocks) == "completed"
        assert content(pair.client("ebs"), snapshot_id) == blocks

    def test_each_step_is_seen_by_the_other_process_at_once(self, pair: ServerProcess) -> None:
        raw = RawClient(pair.address, pair.key)
        for _ in range(10):
            body = json.dumps({"VolumeSize": 1}).encode()
            snapshot_id = raw.request("POST", "/snapshots", {}, body).json["SnapshotId"]
            headers = {"x-amz-ChangedBlocksCount": "0"}
            completion = raw.request("POST", f"/snapshots/completion/{snapshot_id}", headers)
            assert (completion.status, completion.json["Status"]) == (202, "completed")
            assert raw.request("GET", f"/snapshots/{snapshot_id}/blocks").status == 200
            assert raw.action("DeleteSnapshot", f"SnapshotId={snapshot_id}").status == 200
            assert raw.request("GET", f"/snapshots/{snapshot_id}/blocks").status == 404

    def test_racing_requests_with_one_token_make_one_snapshot(self, pair: ServerProcess) -> None:
        raw = RawClient(pair.address, pair.key)
        body = json.dumps({"VolumeSize": 1, "ClientToken": uuid4().hex}).encode()
        with ThreadPoolExecutor(8) as threads:
            running = [threads.submit(raw.request, "POST", "/snapshots", {}, body) for _ in range(16)]
            assert len({done.result().body for done in running}) == 1

    def test_a_token_of_one_process_opens_the_block_in_the_other(self, pair: ServerProcess) -> None:
        raw = RawClient(pair.address, pair.key)
        snapshot_id = completed(pair.client("ebs"), {0: A})
        for _ in range(10):
            listing = raw.request("GET", f"/snapshots/{snapshot_id}/blocks").json
            token = listing["Blocks"][0]["BlockToken"]
            assert raw.request("GET", f"/snapshots/{snapshot_id}/blocks/0?blockToken={token}").body == A

    def test_a_completed_snapshot_is_closed_in_both_processes(self, pair: ServerProcess) -> None:
        snapshot_id = completed(pair.client("ebs"), {0: A})
        for _ in range(10):
            other: Client = pair.client("ebs")
            with expect_invalid("INVALID_SNAPSHOT_ID", "Snapshot is already completed"):
                put(other, snapshot_id, 0, B)
