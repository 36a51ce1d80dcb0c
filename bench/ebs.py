"""The EBS direct APIs as the benchmark calls them: request heads, and the calls that are not under load."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

from bench.blocks import BLOCK_SIZE
from bench.connection import Answer, Connection, WrongAnswerError
from bench.signing import UNSIGNED_PAYLOAD, Endpoint, Signer, canonical_query

SEAL_TIMEOUT_SECONDS: Final = 120.0


def put_head(signer: Signer, snapshot_id: str, block_index: int, digest: bytes) -> bytes:
    """The head of a PutSnapshotBlock, signed the way SDKs sign it: the checksum, not the payload."""
    headers = {
        "x-amz-checksum": b64encode(digest).decode(),
        "x-amz-checksum-algorithm": "SHA256",
        "x-amz-data-length": str(BLOCK_SIZE),
    }
    path = f"/snapshots/{snapshot_id}/blocks/{block_index}"
    return signer.head("PUT", path, "", headers, UNSIGNED_PAYLOAD, BLOCK_SIZE)


def get_head(signer: Signer, snapshot_id: str, block_index: int, block_token: str) -> bytes:
    """The head of a GetSnapshotBlock."""
    query = canonical_query({"blockToken": block_token})
    return signer.head("GET", f"/snapshots/{snapshot_id}/blocks/{block_index}", query)


def list_head(signer: Signer, snapshot_id: str, **parameters: str) -> bytes:
    """The head of a ListSnapshotBlocks."""
    return signer.head("GET", f"/snapshots/{snapshot_id}/blocks", canonical_query(parameters))


def changed_head(signer: Signer, first_snapshot_id: str, second_snapshot_id: str, **parameters: str) -> bytes:
    """The head of a ListChangedBlocks."""
    query = canonical_query({"firstSnapshotId": first_snapshot_id, **parameters})
    return signer.head("GET", f"/snapshots/{second_snapshot_id}/changedblocks", query)


class Client:
    """One connection to one endpoint, signing each call as it is made."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.connection = Connection(endpoint.host, endpoint.port)

    def signer(self) -> Signer:
        """A signer as of now."""
        return Signer(self._endpoint)

    def start_snapshot(self, volume_size_gib: int, parent_id: str | None = None, *, encrypted: bool = False) -> str:
        """StartSnapshot, under the region's default key where encrypted; returns the new snapshot's id."""
        request: dict[str, object] = {"VolumeSize": volume_size_gib, "Timeout": 60}
        if encrypted:
            request["Encrypted"] = True
        if parent_id is not None:
            request["ParentSnapshotId"] = parent_id
        body = json.dumps(request).encode()
        content_type = {"content-type": "application/json"}
        payload_hash = hashlib.sha256(body).hexdigest()
        head = self.signer().head("POST", "/snapshots", "", content_type, payload_hash, len(body))
        return str(self._answered(self.connection.exchange([head, body]), 201)["SnapshotId"])

    def complete_snapshot(self, snapshot_id: str, changed_block_count: int) -> float:
        """CompleteSnapshot, repeated until it answers `completed`; returns the seconds that took."""
        headers = {"x-amz-changedblockscount": str(changed_block_count)}
        begun = time.perf_counter()
        while True:
            head = self.signer().head("POST", f"/snapshots/completion/{snapshot_id}", "", headers, content_length=0)
            status = self._answered(self.connection.exchange([head]), 202)["Status"]
            seconds = time.perf_counter() - begun
            if status == "completed":
                return seconds
            if status != "pending" or seconds > SEAL_TIMEOUT_SECONDS:
                raise WrongAnswerError(f"{snapshot_id} is {status} {seconds:.1f} s after CompleteSnapshot")
            time.sleep(0.005)

    def put_block(self, snapshot_id: str, block_index: int, block: bytes) -> None:
        """PutSnapshotBlock of one block."""
        head = put_head(self.signer(), snapshot_id, block_index, hashlib.sha256(block).digest())
        self._answered(self.connection.exchange([head, block]), 201)

    def block_tokens(self, snapshot_id: str) -> Iterator[tuple[int, str]]:
        """Index and token of every block of a snapshot, page by page."""
        parameters: dict[str, str] = {}
        while True:
            page = self.page(list_head(self.signer(), snapshot_id, **parameters))
            for entry in page["Blocks"]:
                yield int(entry["BlockIndex"]), str(entry["BlockToken"])
            if page.get("NextToken") is None:
                return
            parameters["pageToken"] = page["NextToken"]

    def page(self, head: bytes) -> dict[str, Any]:
        """One page of a listing."""
        return self._answered(self.connection.exchange([head]), 200)

    def _answered(self, answer: Answer, expected_status: int) -> dict[str, Any]:
        text = bytes(answer.body)
        if answer.status != expected_status:
            raise WrongAnswerError(f"answered {answer.status} in place of {expected_status}: {text[:300]!r}")
        parsed: dict[str, Any] = json.loads(text)
        return parsed
