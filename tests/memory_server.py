"""An endpoint in memory, for tests of the client: the EBS direct APIs, and what EC2, KMS and STS add.

It is used as a `ServerProcess` is (`client`, `endpoint`, `key`), by the client through `MemoryEndpoint` and
`MemoryBlocks`. What it answers follows docs/aws-behaviour/: states, counts, checksums, lineages, idempotent starts and
the codes of refusals. It checks no signatures and no permissions, and encrypts nothing. The same tests also run at a
real server (`make test`), which shows that the two agree.
"""

from __future__ import annotations

import io
import json
import threading
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import uuid4

from botocore.exceptions import ClientError

from snapstone.client.api.block_calls import BlockCalls, Signer
from snapstone.client.api.connection import Remote
from snapstone.client.api.endpoint import AccessKey, Endpoint
from snapstone.client.api.faults import ApiFault, FaultError, fault_of_response
from snapstone.core.blocks import BLOCK_SIZE, BLOCKS_PER_GIB, Digest, checksum_from_digest, digest_of, linear_aggregate
from tests.server_process import REGION, AccessKeyPair

ACCOUNT: Final = "111122223333"
KEY: Final = AccessKeyPair("AKIAMEMORYMEMORYMEMO", "secret")


def refusal(code: str, message: str, status: int = 400, reason: str | None = None) -> ClientError:
    """An error answer, as botocore raises it."""
    answer: dict[str, Any] = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}},
    }
    return ClientError(answer | ({"Reason": reason} if reason else {}), "call")


@dataclass
class StoredSnapshot:
    """One snapshot: its own blocks, and those of its ancestors."""

    snapshot_id: str
    request: Mapping[str, Any]
    lineage: str
    volume_size_gib: int
    inherited: Mapping[int, bytes]
    tags: dict[str, str]
    encrypted: bool
    state: str = "pending"
    written: dict[int, bytes] = field(default_factory=dict)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def blocks(self) -> dict[int, bytes]:
        """Block index to content, of all that is present."""
        return {**self.inherited, **self.written}


class MemoryServer:
    """Snapshots by region. Safe from many threads."""

    key = KEY
    _numbers = count(1)

    def __init__(self) -> None:
        self.endpoint = f"http://memory-{next(self._numbers)}.invalid"
        self.lock = threading.RLock()
        self.snapshots: dict[tuple[str, str], StoredSnapshot] = {}
        self.encrypted_regions: set[str] = set()

    def client(self, service: str, region: str = REGION, key: AccessKeyPair | None = None) -> Any:
        """What boto3's client of a service is."""
        return MemoryClient(self, region)


class MemoryClient:
    """The operations of all services in one region; members and answers as boto3 has them."""

    def __init__(self, server: MemoryServer, region: str) -> None:
        self._server = server
        self._region = region

    # -- EBS direct APIs --

    def start_snapshot(self, **members: Any) -> dict[str, Any]:
        """EBS-START."""
        with self._server.lock:
            token = members.get("ClientToken")
            for known in self._all():
                if token is not None and known.request.get("ClientToken") == token:
                    if known.request != members:
                        raise refusal("ConflictException", "The client token was used with another request.", 409)
                    return {"SnapshotId": known.snapshot_id}
            parent = self._parent(members)
            size = members["VolumeSize"]
            if not (parent.volume_size_gib if parent else 1) <= size <= 65_536:
                raise refusal("ValidationException", "Invalid volume size", 400, "INVALID_VOLUME_SIZE")
            snapshot_id = f"snap-{uuid4().hex[:17]}"
            made = StoredSnapshot(
                snapshot_id=snapshot_id,
                request=dict(members),
                lineage=parent.lineage if parent else snapshot_id,
                volume_size_gib=size,
                inherited=parent.blocks if parent else {},
                tags={tag["Key"]: tag["Value"] for tag in members.get("Tags", ())},
                encrypted=parent.encrypted if parent else self._is_encrypted(members),
            )
            self._server.snapshots[self._region, snapshot_id] = made
            return {"SnapshotId": snapshot_id}

    def _is_encrypted(self, members: Mapping[str, Any]) -> bool:
        return bool(
            members.get("Encrypted") or members.get("KmsKeyArn") or self._region in self._server.encrypted_regions
        )

    def _parent(self, members: Mapping[str, Any]) -> StoredSnapshot | None:
        if (parent_id := members.get("ParentSnapshotId")) is None:
            return None
        if "Encrypted" in members or "KmsKeyArn" in members:
            text = "ParentSnapshotId and Encrypt cannot be specified together"
            raise refusal("ValidationException", text, 400, "INVALID_PARAMETER_VALUE")
        parent = self._known(parent_id)
        if parent.state == "pending":
            text = f"Parent snapshot {parent_id} is not complete"
            raise refusal("ValidationException", text, 400, "INVALID_SNAPSHOT_ID")
        if parent.state != "completed":
            raise self._absent(parent_id)
        if self._region in self._server.encrypted_regions and not parent.encrypted:
            text = "Encryption by default is enabled in this region"
            raise refusal("ValidationException", text, 400, "INVALID_PARAMETER_VALUE")
        return parent

    def put_snapshot_block(self, **members: Any) -> dict[str, Any]:
        """EBS-PUT."""
        block = bytes(members["BlockData"])
        checksum = members["Checksum"]
        with self._server.lock:
            snapshot = self._known(members["SnapshotId"])
            if snapshot.state != "pending":
                if snapshot.state != "completed":
                    raise self._absent(snapshot.snapshot_id)
                raise refusal("ValidationException", "Snapshot is already completed", 400, "INVALID_SNAPSHOT_ID")
            if not 0 <= members["BlockIndex"] < snapshot.volume_size_gib * BLOCKS_PER_GIB:
                raise refusal("ValidationException", "Block index is beyond the volume", 400, "INVALID_BLOCK")
            if len(block) != BLOCK_SIZE or members["DataLength"] != BLOCK_SIZE:
                raise refusal("ValidationException", "Block data length is not valid", 400, "INVALID_BLOCK")
            if checksum_from_digest(digest_of(block)) != checksum:
                text = "Value passed for checksum does not match the checksum of the block"
                raise refusal("ValidationException", text, 400, "INVALID_BLOCK")
            snapshot.written[members["BlockIndex"]] = block
            return {"Checksum": checksum, "ChecksumAlgorithm": "SHA256"}

    def complete_snapshot(self, **members: Any) -> dict[str, Any]:
        """EBS-COMPLETE: a wrong count or aggregate ends in `error`; a repeat has the first outcome."""
        with self._server.lock:
            snapshot = self._known(members["SnapshotId"])
            if snapshot.state == "pending":
                written = snapshot.written
                aggregate = linear_aggregate([digest_of(written[index]) for index in sorted(written)])
                expected = members.get("Checksum")
                fits = members["ChangedBlocksCount"] == len(written) and (
                    expected is None or b64decode(expected) == aggregate
                )
                snapshot.state = "completed" if fits else "error"
            return {"Status": snapshot.state}

    def list_snapshot_blocks(self, **members: Any) -> dict[str, Any]:
        """EBS-LIST."""
        with self._server.lock:
            snapshot = self._completed(members["SnapshotId"])
            start, stop, answer = self._page(members, sorted(snapshot.blocks))
            entries = [
                {"BlockIndex": index, "BlockToken": self._token(snapshot, index)}
                for index in sorted(snapshot.blocks)
                if start <= index < stop
            ]
            return answer | {"Blocks": entries, "VolumeSize": snapshot.volume_size_gib, "BlockSize": BLOCK_SIZE}

    def list_changed_blocks(self, **members: Any) -> dict[str, Any]:
        """EBS-DIFF, by content."""
        with self._server.lock:
            first, second = (self._completed(members[name]) for name in ("FirstSnapshotId", "SecondSnapshotId"))
            if first.lineage != second.lineage:
                raise refusal("ValidationException", "The snapshots are unrelated", 400, "UNRELATED_SNAPSHOTS")
            sides = first.blocks, second.blocks
            differing = sorted(i for i in sides[0].keys() | sides[1].keys() if sides[0].get(i) != sides[1].get(i))
            start, stop, answer = self._page(members, differing)
            entries = []
            for index in differing:
                if start <= index < stop:
                    entry: dict[str, Any] = {"BlockIndex": index}
                    for name, side in (("FirstBlockToken", first), ("SecondBlockToken", second)):
                        if index in side.blocks:
                            entry[name] = self._token(side, index)
                    entries.append(entry)
            return answer | {"ChangedBlocks": entries, "VolumeSize": second.volume_size_gib, "BlockSize": BLOCK_SIZE}

    def get_snapshot_block(self, **members: Any) -> dict[str, Any]:
        """EBS-GET."""
        with self._server.lock:
            snapshot = self._completed(members["SnapshotId"])
            index = members["BlockIndex"]
            if members["BlockToken"] != self._token(snapshot, index) or index not in snapshot.blocks:
                raise refusal("ValidationException", "Invalid block token", 400, "INVALID_BLOCK_TOKEN")
            block = snapshot.blocks[index]
        return {"BlockData": io.BytesIO(block), "Checksum": checksum_from_digest(digest_of(block))}

    def _page(self, members: Mapping[str, Any], indexes: list[int]) -> tuple[int, int, dict[str, Any]]:
        """The first index of a page, the one behind its last, and the token of the next."""
        start = json.loads(members["NextToken"]) if "NextToken" in members else members.get("StartingBlockIndex", 0)
        length = members.get("MaxResults", 10_000)
        rest = [index for index in indexes if index >= start]
        if len(rest) <= length:
            return start, 1 << 27, {}
        return start, rest[length], {"NextToken": json.dumps(rest[length])}

    def _token(self, snapshot: StoredSnapshot, block_index: int) -> str:
        return f"{snapshot.snapshot_id}.{block_index}"

    # -- EC2, KMS and STS --

    def describe_snapshots(self, **members: Any) -> dict[str, Any]:
        """DESC: those named, or all that the filters let through, oldest first."""
        with self._server.lock:
            if "SnapshotIds" in members:
                found = [self._described(self._known_to_ec2(snapshot_id)) for snapshot_id in members["SnapshotIds"]]
            else:
                found = [self._described(snapshot) for snapshot in self._all()]
            filters = {it["Name"]: it["Values"] for it in members.get("Filters", ())}
            return {"Snapshots": [it for it in found if all(_passes(it, *pair) for pair in filters.items())]}

    def delete_snapshot(self, **members: Any) -> dict[str, Any]:
        """DEL, in any state."""
        with self._server.lock:
            self._known_to_ec2(members["SnapshotId"])
            if members.get("DryRun"):
                raise refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
            del self._server.snapshots[self._region, members["SnapshotId"]]
            return {}

    def create_tags(self, **members: Any) -> dict[str, Any]:
        """TAG."""
        with self._server.lock:
            for snapshot_id in members["Resources"]:
                self._known_to_ec2(snapshot_id).tags.update({tag["Key"]: tag["Value"] for tag in members["Tags"]})
            return {}

    def delete_tags(self, **members: Any) -> dict[str, Any]:
        """TAG."""
        with self._server.lock:
            for snapshot_id in members["Resources"]:
                for tag in members["Tags"]:
                    self._known_to_ec2(snapshot_id).tags.pop(tag["Key"], None)
            return {}

    def enable_ebs_encryption_by_default(self) -> dict[str, Any]:
        """ENC-DEFAULT."""
        self._server.encrypted_regions.add(self._region)
        return {"EbsEncryptionByDefault": True}

    def disable_ebs_encryption_by_default(self) -> dict[str, Any]:
        """ENC-DEFAULT."""
        self._server.encrypted_regions.discard(self._region)
        return {"EbsEncryptionByDefault": False}

    def create_key(self) -> dict[str, Any]:
        """KMS: a name to encrypt under."""
        return {"KeyMetadata": {"Arn": f"arn:aws:kms:{self._region}:{ACCOUNT}:key/{uuid4()}"}}

    def get_caller_identity(self) -> dict[str, Any]:
        """STS."""
        return {"Arn": f"arn:aws:iam::{ACCOUNT}:root", "Account": ACCOUNT, "UserId": ACCOUNT}

    # -- what is there --

    def _all(self) -> list[StoredSnapshot]:
        return [snapshot for (region, _), snapshot in self._server.snapshots.items() if region == self._region]

    def _known(self, snapshot_id: str) -> StoredSnapshot:
        snapshot = self._server.snapshots.get((self._region, snapshot_id))
        if snapshot is None:
            raise self._absent(snapshot_id)
        return snapshot

    def _completed(self, snapshot_id: str) -> StoredSnapshot:
        snapshot = self._known(snapshot_id)
        if snapshot.state != "completed":
            raise self._absent(snapshot_id)
        return snapshot

    def _known_to_ec2(self, snapshot_id: str) -> StoredSnapshot:
        snapshot = self._server.snapshots.get((self._region, snapshot_id))
        if snapshot is None:
            raise refusal("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
        return snapshot

    def _absent(self, snapshot_id: str) -> ClientError:
        text = f"The snapshot '{snapshot_id}' does not exist."
        return refusal("ResourceNotFoundException", text, 404, "SNAPSHOT_NOT_FOUND")

    def _described(self, snapshot: StoredSnapshot) -> dict[str, Any]:
        return {
            "SnapshotId": snapshot.snapshot_id,
            "State": snapshot.state,
            "VolumeSize": snapshot.volume_size_gib,
            "StartTime": snapshot.started_at,
            "Description": snapshot.request.get("Description", ""),
            "Tags": [{"Key": key, "Value": value} for key, value in snapshot.tags.items()],
            "Encrypted": snapshot.encrypted,
            "OwnerId": ACCOUNT,
            "Progress": "100%" if snapshot.state == "completed" else "0%",
            "FullSnapshotSizeInBytes": len(snapshot.blocks) * BLOCK_SIZE,
            "StorageTier": "standard",
        } | ({"KmsKeyId": snapshot.request["KmsKeyArn"]} if "KmsKeyArn" in snapshot.request else {})


def _passes(described: Mapping[str, Any], name: str, values: list[str]) -> bool:
    """FILTER, of which the client uses status and tags."""
    if name == "status":
        return described["State"] in values
    tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
    if name == "tag-key":
        return any(value in tags for value in values)
    if name.startswith("tag:"):
        pattern = [value.removesuffix("*") for value in values]
        return any(tags.get(name.removeprefix("tag:"), "\0").startswith(start) for start in pattern)
    raise refusal("InvalidParameterValue", f"The filter '{name}' is invalid")


class MemoryEndpoint(Endpoint):
    """A region of a server in memory, as the client sees an endpoint."""

    def __init__(self, server: MemoryServer, region: str) -> None:
        self.server = server
        self.region = region
        self.url = server.endpoint

    ca_bundle = None
    usual_bundle = ""
    proxy = None

    def access_key(self) -> AccessKey:
        """Always the same."""
        return AccessKey(KEY.access_key_id, KEY.secret_access_key, None)

    def renew_credentials(self, stale: AccessKey) -> bool:
        """There are no others."""
        return False

    def client(self, service: str) -> Any:
        """The operations."""
        return self.server.client(service, self.region)


class MemoryBlocks(BlockCalls):
    """Puts and gets without a connection."""

    def __init__(self, endpoint: MemoryEndpoint) -> None:
        super().__init__(Remote(endpoint.url, ca_bundle=None, usual_bundle="", proxy=None), Signer("", endpoint.region))
        self._client = endpoint.client("ebs")

    def put(self, snapshot_id: str, block_index: int, block: memoryview, digest: Digest, key: AccessKey) -> None:
        """As over a connection."""
        try:
            self._client.put_snapshot_block(
                SnapshotId=snapshot_id,
                BlockIndex=block_index,
                BlockData=block,
                DataLength=len(block),
                Checksum=checksum_from_digest(digest),
                ChecksumAlgorithm="SHA256",
            )
        except ClientError as error:
            raise FaultError(_fault(error)) from None

    def get(self, snapshot_id: str, block_index: int, token: str, into: memoryview, key: AccessKey) -> Digest:
        """As over a connection."""
        try:
            answer = self._client.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=block_index, BlockToken=token)
        except ClientError as error:
            raise FaultError(_fault(error)) from None
        into[:] = answer["BlockData"].read()
        return digest_of(into)


def _fault(error: ClientError) -> ApiFault:
    return fault_of_response(error.response)
