"""A client for servers that fail: one connection, every call tried once, and answers told apart by what they prove.

Written apart from boto3 because a bench makes a hundred thousand calls; signed by `bench.signing`.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from bench.connection import Answer, Connection, WrongAnswerError
from bench.signing import EMPTY_PAYLOAD_HASH, UNSIGNED_PAYLOAD, Endpoint, Signer, canonical_query

BLOCK_SIZE: Final = 524_288
TIMEOUT_SECONDS: Final = 300
"""A call that is given up and carried out later could undo what is written in between: busy machines get long."""

ZERO_STAMP: Final = 0
"""The stamp of the zero block, which a server never stores."""


@lru_cache(maxsize=64)
def block(stamp: int) -> bytes:
    """A block of its own for each stamp: all of its bytes count."""
    if stamp == ZERO_STAMP:
        return bytes(BLOCK_SIZE)
    return hashlib.sha256(stamp.to_bytes(8, "little")).digest() * (BLOCK_SIZE // 32)


@lru_cache(maxsize=65_536)
def digest(stamp: int) -> bytes:
    """SHA-256 of a block."""
    return hashlib.sha256(block(stamp)).digest()


@dataclass(eq=False)
class RefusedError(Exception):
    """The server answered, and not with success."""

    status: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class GoneError(Exception):
    """No answer: whether the call was carried out is not known."""


@dataclass(frozen=True)
class Described:
    """What DescribeSnapshots says of one snapshot."""

    state: str
    message: str
    tags: Mapping[str, str]


class Client:
    """One connection. Not for several threads."""

    def __init__(self, endpoint: Endpoint, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._endpoint = endpoint
        self._now = now
        self._connection = Connection(endpoint.host, endpoint.port, TIMEOUT_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    # -- EBS direct APIs --

    def start(self, parent: str | None = None, key: str | None = None, *, encrypted: bool = False) -> str:
        """A pending snapshot of one GiB; returns its id."""
        request: dict[str, object] = {"VolumeSize": 1, "Timeout": 60}
        if parent is not None:
            request["ParentSnapshotId"] = parent
        elif key is not None or encrypted:
            request |= {"Encrypted": True} | ({} if key is None else {"KmsKeyArn": key})
        body = json.dumps(request).encode()
        return str(self._json("ebs", "POST", "/snapshots", body=body)["SnapshotId"])

    def put(self, snapshot_id: str, block_index: int, stamp: int) -> None:
        """Write a block."""
        headers = {
            "x-amz-checksum": b64encode(digest(stamp)).decode(),
            "x-amz-checksum-algorithm": "SHA256",
            "x-amz-data-length": str(BLOCK_SIZE),
        }
        path = f"/snapshots/{snapshot_id}/blocks/{block_index}"
        self._call("ebs", "PUT", path, headers=headers, body=block(stamp), payload_hash=UNSIGNED_PAYLOAD)

    def complete(self, snapshot_id: str, stamps: Mapping[int, int]) -> str:
        """Close a snapshot that was given these blocks; returns its status."""
        aggregate = hashlib.sha256(b"".join(digest(stamps[index]) for index in sorted(stamps))).digest()
        headers = {
            "x-amz-changedblockscount": str(len(stamps)),
            "x-amz-checksum": b64encode(aggregate).decode(),
            "x-amz-checksum-algorithm": "SHA256",
            "x-amz-checksum-aggregation-method": "LINEAR",
        }
        return str(self._json("ebs", "POST", f"/snapshots/completion/{snapshot_id}", headers=headers)["Status"])

    def tokens(self, snapshot_id: str) -> dict[int, str]:
        """The blocks that are present, with a token for each."""
        entries = self._pages(f"/snapshots/{snapshot_id}/blocks", {}, "Blocks")
        return {entry["BlockIndex"]: entry["BlockToken"] for entry in entries}

    def changed(self, first_id: str, second_id: str) -> set[int]:
        """The block indexes at which two snapshots differ."""
        query = {"firstSnapshotId": first_id}
        return {
            entry["BlockIndex"]
            for entry in self._pages(f"/snapshots/{second_id}/changedblocks", query, "ChangedBlocks")
        }

    def get(self, snapshot_id: str, block_index: int, token: str) -> bytes:
        """Read a block."""
        path = f"/snapshots/{snapshot_id}/blocks/{block_index}"
        return bytes(self._call("ebs", "GET", path, {"blockToken": token}).body)

    # -- EC2, KMS, the server itself --

    def describe(self) -> dict[str, Described]:
        """The caller's snapshots, by id."""
        text = self._ec2("DescribeSnapshots", {"Owner.1": "self"})
        found = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", text)).iterfind("snapshotSet/item")
        return {item.findtext("snapshotId", ""): _described(item) for item in found}

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot."""
        self._ec2("DeleteSnapshot", {"SnapshotId": snapshot_id})

    def copy(self, snapshot_id: str, key: str | None = None) -> str:
        """Copy a snapshot within its region, under a key where one is given; returns the copy's id."""
        values = {"SourceRegion": self._endpoint.region, "SourceSnapshotId": snapshot_id}
        if key is not None:
            values |= {"Encrypted": "true", "KmsKeyId": key}
        return _between(self._ec2("CopySnapshot", values), "snapshotId")

    def lock(self, snapshot_id: str, days: int) -> None:
        """Keep a snapshot from being deleted for so many days."""
        values = {"SnapshotId": snapshot_id, "LockMode": "governance", "LockDuration": str(days)}
        self._ec2("LockSnapshot", values)

    def keep_deleted(self, name: str, value: str, days: int) -> None:
        """Let deleted snapshots with this tag go into the recycle bin for so many days."""
        rule = {
            "ResourceType": "EBS_SNAPSHOT",
            "RetentionPeriod": {"RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS"},
            "ResourceTags": [{"ResourceTagKey": name, "ResourceTagValue": value}],
        }
        headers = {"content-type": "application/json"}
        self._call("rbin", "POST", "/rules", headers=headers, body=json.dumps(rule).encode())

    def restore(self, snapshot_id: str) -> None:
        """Take a snapshot back out of the recycle bin."""
        self._ec2("RestoreSnapshotFromRecycleBin", {"SnapshotId": snapshot_id})

    def tag(self, snapshot_id: str, name: str, value: str) -> None:
        """Give a snapshot a tag."""
        self._ec2("CreateTags", {"ResourceId.1": snapshot_id, "Tag.1.Key": name, "Tag.1.Value": value})

    def create_key(self) -> str:
        """A new KMS key; returns its ARN."""
        return str(self._kms("CreateKey", {})["KeyMetadata"]["Arn"])

    def schedule_key_deletion(self, key: str, days: int = 7) -> None:
        """Let a KMS key be destroyed in so many days."""
        self._kms("ScheduleKeyDeletion", {"KeyId": key, "PendingWindowInDays": days})

    def keep_key(self, key: str) -> None:
        """Take a KMS key's deletion back, and let it be used again."""
        self._kms("CancelKeyDeletion", {"KeyId": key})
        self._kms("EnableKey", {"KeyId": key})

    def key_state(self, key: str) -> str:
        """Such as `Enabled`."""
        return str(self._kms("DescribeKey", {"KeyId": key})["KeyMetadata"]["KeyState"])

    def ready(self) -> dict[str, Any]:
        """What /ready says; it needs no signature."""
        answer = self._exchange([b"GET /ready HTTP/1.1\r\nHost: bench\r\n\r\n"])
        parsed: dict[str, Any] = json.loads(bytes(answer.body))
        return parsed

    # -- requests --

    def _ec2(self, action: str, values: Mapping[str, str]) -> str:
        body = urlencode({"Action": action, "Version": "2016-11-15", **values}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        return bytes(self._call("ec2", "POST", "/", headers=headers, body=body).body).decode()

    def _kms(self, operation: str, request: Mapping[str, object]) -> Any:
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{operation}"}
        return self._json("kms", "POST", "/", headers=headers, body=json.dumps(request).encode())

    def _pages(self, path: str, query: dict[str, str], member: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            page = self._json("ebs", "GET", path, query)
            entries += page[member]
            if not page.get("NextToken"):
                return entries
            query["pageToken"] = page["NextToken"]

    def _json(self, *call: Any, **members: Any) -> Any:
        return json.loads(bytes(self._call(*call, **members).body) or b"{}")

    def _call(
        self,
        service: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload_hash: str | None = None,
    ) -> Answer:
        signer = Signer(replace(self._endpoint, service=service), self._now())
        digest_of_body = payload_hash or (hashlib.sha256(body).hexdigest() if body else EMPTY_PAYLOAD_HASH)
        length = len(body) if method != "GET" else None
        head = signer.head(method, quote(path), canonical_query(query or {}), headers, digest_of_body, length)
        answer = self._exchange([head, body] if body else [head])
        if answer.status >= 300:
            raise _refusal(answer)
        return answer

    def _exchange(self, pieces: list[bytes]) -> Answer:
        try:
            return self._connection.exchange(pieces)
        except (OSError, WrongAnswerError, ValueError, IndexError) as error:
            self._connection.close()
            raise GoneError(str(error)) from error


def _refusal(answer: Answer) -> RefusedError:
    text = bytes(answer.body).decode(errors="replace")
    if "x-amzn-errortype" in answer.headers:
        return RefusedError(answer.status, answer.headers["x-amzn-errortype"].partition(":")[0], text)
    if text.startswith("{"):
        parsed = json.loads(text)
        return RefusedError(answer.status, str(parsed.get("__type")), text)
    return RefusedError(answer.status, _between(text, "Code"), _between(text, "Message"))


def _between(text: str, element: str) -> str:
    found = re.search(f"<{element}>([^<]*)</{element}>", text)
    return found[1] if found else ""


def _described(item: ElementTree.Element) -> Described:
    tags = {tag.findtext("key", ""): tag.findtext("value", "") for tag in item.iterfind("tagSet/item")}
    return Described(item.findtext("status", ""), item.findtext("statusMessage", ""), tags)
