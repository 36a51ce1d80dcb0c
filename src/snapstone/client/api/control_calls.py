"""The calls that are few, by botocore: one attempt each, its errors turned into faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import botocore.exceptions
import botocore.parsers

from snapstone.client.api.endpoint import Endpoint
from snapstone.client.api.faults import ApiFault, FaultError, fault_of_response
from snapstone.client.api.values import BlockPage, ChangedBlock, ChangePage, ListedBlock, SnapshotInfo, StartRequest
from snapstone.client.errors import ExpiredCredentialsError, UsageError
from snapstone.core.blocks import Digest, checksum_from_digest

LONGEST_PAGE: Final = 10_000
"""Entries requested per page of blocks: the maximum."""

SHORTEST_PAGE: Final = 100
DESCRIBED_AT_ONCE: Final = 1_000

ALWAYS_ANSWERED: Final = {
    "start_snapshot": "SnapshotId",
    "complete_snapshot": "Status",
    "list_snapshot_blocks": "Blocks",
    "list_changed_blocks": "ChangedBlocks",
    "describe_snapshots": "Snapshots",
    "get_caller_identity": "Arn",
}
"""A member of each answer without which it is none.

botocore takes an answer whose connection was cut after the head for one without members: a listing would be empty.
"""


class ControlCalls:
    """One attempt at each; raises FaultError or OSError, and ClientError if the request itself cannot be made."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def start(self, request: StartRequest) -> str:
        """StartSnapshot; the new snapshot's id."""
        members: dict[str, Any] = {
            "VolumeSize": request.volume_size_gib,
            "ClientToken": request.client_token,
            "Timeout": request.timeout_minutes,
            "ParentSnapshotId": request.parent_id,
            "Description": request.description or None,
            "Tags": _tag_list(request.tags) or None,
            "Encrypted": request.encrypted,
            "KmsKeyArn": request.kms_key_arn,
        }
        answer = self._call("ebs", "start_snapshot", members)
        return str(answer["SnapshotId"])

    def complete(self, snapshot_id: str, changed_block_count: int, aggregate: Digest) -> str:
        """CompleteSnapshot, always with the aggregated checksum; the status."""
        members = {
            "SnapshotId": snapshot_id,
            "ChangedBlocksCount": changed_block_count,
            "Checksum": checksum_from_digest(aggregate),
            "ChecksumAlgorithm": "SHA256",
            "ChecksumAggregationMethod": "LINEAR",
        }
        return str(self._call("ebs", "complete_snapshot", members)["Status"])

    def block_page(
        self, snapshot_id: str, start: int, page_token: str | None, length: int = LONGEST_PAGE
    ) -> tuple[BlockPage, str | None]:
        """One page of ListSnapshotBlocks, and the token of the next."""
        members = {
            "SnapshotId": snapshot_id,
            "NextToken": page_token,
            "MaxResults": length,
            "StartingBlockIndex": start,
        }
        answer = self._call("ebs", "list_snapshot_blocks", members)
        blocks = tuple(ListedBlock(entry["BlockIndex"], entry["BlockToken"]) for entry in answer.get("Blocks", ()))
        return BlockPage(int(answer.get("VolumeSize") or 0), blocks), answer.get("NextToken") or None

    def changed_page(
        self, first_id: str, second_id: str, start: int, page_token: str | None
    ) -> tuple[ChangePage, str | None]:
        """One page of ListChangedBlocks, and the token of the next."""
        members = {
            "FirstSnapshotId": first_id,
            "SecondSnapshotId": second_id,
            "NextToken": page_token,
            "MaxResults": LONGEST_PAGE,
            "StartingBlockIndex": start,
        }
        answer = self._call("ebs", "list_changed_blocks", members)
        blocks = tuple(
            ChangedBlock(entry["BlockIndex"], entry.get("FirstBlockToken"), entry.get("SecondBlockToken"))
            for entry in answer.get("ChangedBlocks", ())
        )
        return ChangePage(int(answer.get("VolumeSize") or 0), blocks), answer.get("NextToken") or None

    def describe(
        self,
        snapshot_ids: Sequence[str],
        filters: Mapping[str, Sequence[str]],
        owner: str | None,
        page_token: str | None,
    ) -> tuple[list[SnapshotInfo], str | None]:
        """One page of DescribeSnapshots, and the token of the next."""
        members: dict[str, Any] = {
            "Filters": [{"Name": name, "Values": list(values)} for name, values in filters.items()] or None,
            "NextToken": page_token,
        }
        if snapshot_ids:
            members["SnapshotIds"] = list(snapshot_ids)
        else:
            members["MaxResults"] = DESCRIBED_AT_ONCE
            members["OwnerIds"] = [owner] if owner else None
        answer = self._call("ec2", "describe_snapshots", members)
        return [_described(snapshot) for snapshot in answer.get("Snapshots", ())], answer.get("NextToken") or None

    def delete(self, snapshot_id: str, *, dry_run: bool) -> None:
        """DeleteSnapshot."""
        self._call("ec2", "delete_snapshot", {"SnapshotId": snapshot_id, "DryRun": dry_run or None})

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        """CreateTags."""
        self._call("ec2", "create_tags", {"Resources": [snapshot_id], "Tags": _tag_list(tags)})

    def untag(self, snapshot_id: str, names: Sequence[str]) -> None:
        """DeleteTags."""
        self._call("ec2", "delete_tags", {"Resources": [snapshot_id], "Tags": [{"Key": name} for name in names]})

    def caller_arn(self) -> str:
        """GetCallerIdentity."""
        return str(self._call("sts", "get_caller_identity", {})["Arn"])

    def _call(self, service: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        client = self._endpoint.client(service)
        with _faults():
            answer: Mapping[str, Any] = getattr(client, operation)(
                **{name: value for name, value in members.items() if value is not None}
            )
        if operation in ALWAYS_ANSWERED and ALWAYS_ANSWERED[operation] not in answer:
            raise ConnectionError(f"the answer to {operation} ends before its {ALWAYS_ANSWERED[operation]}")
        return answer


@contextmanager
def _faults() -> Iterator[None]:
    """Turn botocore's errors into faults, connection errors, and errors of the request."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise FaultError(fault_of_response(error.response)) from None
    except botocore.exceptions.ParamValidationError as error:
        raise UsageError(f"{error}") from None
    except (
        botocore.exceptions.NoCredentialsError,
        botocore.exceptions.CredentialRetrievalError,
        botocore.exceptions.SSOError,
    ) as error:
        raise ExpiredCredentialsError(f"{error}") from None
    except botocore.parsers.ResponseParserError as error:
        raise FaultError(ApiFault("UnreadableAnswer", str(error), 502)) from None
    except botocore.exceptions.BotoCoreError as error:
        raise ConnectionError(str(error)) from None


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _described(snapshot: Mapping[str, Any]) -> SnapshotInfo:
    return SnapshotInfo(
        snapshot_id=snapshot["SnapshotId"],
        state=snapshot["State"],
        volume_size_gib=snapshot["VolumeSize"],
        started_at=snapshot["StartTime"],
        description=snapshot.get("Description", ""),
        tags={tag["Key"]: tag["Value"] for tag in snapshot.get("Tags", ())},
        encrypted=snapshot.get("Encrypted", False),
        owner_id=snapshot["OwnerId"],
        progress=snapshot.get("Progress", ""),
        kms_key_arn=snapshot.get("KmsKeyId"),
        state_message=snapshot.get("StateMessage") or None,
        full_size=snapshot.get("FullSnapshotSizeInBytes"),
        storage_tier=snapshot.get("StorageTier"),
    )
