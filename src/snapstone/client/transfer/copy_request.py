"""What a copy is to be: the source as it is known, what was asked for, and the request that starts the new snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from snapstone.client.api.service import Service
from snapstone.client.api.values import SnapshotInfo, StartRequest
from snapstone.client.errors import DeniedError, NotFoundError, UsageError
from snapstone.client.events import Note, Observer
from snapstone.client.transfer.counterparts import COPIED_FROM, Counterpart, Counterparts, origin_value
from snapstone.client.transfer.pending import new_client_token
from snapstone.client.transfer.upload_request import SIZE_TAG, TIMEOUT_MINUTES
from snapstone.core.blocks import BLOCK_SIZE
from snapstone.core.tags import MAX_TAGS, is_reserved

AUTO: Final = "auto"
"""Look for a parent on the other side."""


@dataclass(frozen=True)
class Asked:
    """What somebody asks of a copy."""

    snapshot_id: str
    parent_id: str | None = AUTO
    source_parent_id: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    carry_tags: bool = True
    encrypted: bool | None = None
    kms_key_arn: str | None = None

    @property
    def has_key(self) -> bool:
        """Whether something was said about encryption."""
        return self.encrypted is not None or self.kms_key_arn is not None

    def check(self) -> None:
        """Raise UsageError for what does not go together."""
        if self.parent_id not in (None, AUTO) and self.has_key:
            raise UsageError(
                f"an incremental copy takes the key of its parent, {self.parent_id}: leave encryption and KMS key "
                "away, or ask for a full copy"
            )
        if self.source_parent_id is not None and self.parent_id in (None, AUTO):
            raise UsageError(
                f"{self.source_parent_id} is said to be what the parent is a copy of, but no parent is named: "
                "name the snapshot on the other side, too"
            )


@dataclass(frozen=True)
class SourceSnapshot:
    """The snapshot that is copied, as far as its endpoint tells."""

    snapshot_id: str
    volume_size_gib: int
    info: SnapshotInfo | None
    """None where it may be read but not described."""

    @property
    def present_count(self) -> int | None:
        """Blocks that are present, where the endpoint says so."""
        return None if self.info is None or self.info.full_size is None else self.info.full_size // BLOCK_SIZE


@dataclass(frozen=True)
class Plan:
    """How the copy is made."""

    counterpart: Counterpart | None
    reason: str
    rejected: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Snapshots there that were looked at and cannot be the parent, each with the reason."""

    @property
    def kind(self) -> str:
        """`full` or `incremental`."""
        return "full" if self.counterpart is None else "incremental"

    @property
    def parent_id(self) -> str | None:
        """On the target's side."""
        return None if self.counterpart is None else self.counterpart.target_id

    @property
    def source_parent_id(self) -> str | None:
        """On the source's side."""
        return None if self.counterpart is None else self.counterpart.source_id


def look_at(service: Service, snapshot_id: str, observer: Observer) -> SourceSnapshot:
    """The snapshot to be copied. Raises UsageError where it is not completed, NotFoundError where it is not there."""
    try:
        info = next(iter(service.describe([snapshot_id], owner=None)), None)
    except DeniedError as error:
        if error.resumable:
            raise
        info = None
        message = f"{snapshot_id} may not be described, so description and tags are not carried over ({error})"
        observer.note(Note("warning", message))
    except NotFoundError:
        info = None  # The endpoint of the blocks has the last word, in the next call.
    if info is not None and info.state != "completed":
        raise UsageError(f"{snapshot_id} is {info.state}: only a completed snapshot can be copied")
    return SourceSnapshot(snapshot_id, service.volume_size_gib(snapshot_id), info)


def plan_for(asked: Asked, counterparts: Counterparts) -> Plan:
    """Full or incremental, and why. Raises UsageError where the parent that was named cannot be used."""
    if asked.parent_id is None:
        return Plan(None, "that was asked for")
    if asked.parent_id == AUTO:
        if asked.has_key:
            return Plan(None, "encryption was asked for, and an incremental copy takes its parent's key")
        search = counterparts.search()
        return Plan(search.found, search.why, search.rejected)
    pair = counterparts.named(asked.parent_id, asked.source_parent_id)
    return Plan(pair, pair.why)


def request_for(asked: Asked, source: SourceSnapshot, plan: Plan, region: str) -> StartRequest:
    """The request that starts the copy; `region` is the source's."""
    info = source.info
    carried = {} if info is None else dict(info.tags)
    if not asked.carry_tags:
        carried = {name: value for name, value in carried.items() if name == SIZE_TAG}
    tags = {name: value for name, value in carried.items() if not is_reserved(name)} | dict(asked.tags)
    tags[COPIED_FROM] = origin_value(source.snapshot_id, region, "" if info is None else info.owner_id)
    if len(tags) > MAX_TAGS:
        raise UsageError(
            f"the copy would have {len(tags)} tags, of which one says what it is a copy of, and {MAX_TAGS} are "
            "allowed: carry none over, or take one off the source"
        )
    description = asked.description
    if description is None:
        description = "" if info is None else info.description
    return StartRequest(
        volume_size_gib=source.volume_size_gib,
        client_token=new_client_token(),
        parent_id=plan.parent_id,
        description=description,
        tags=tags,
        encrypted=asked.encrypted,
        kms_key_arn=asked.kms_key_arn,
        timeout_minutes=TIMEOUT_MINUTES,
    )


def facts_of(plan: Plan) -> dict[str, object]:
    """A plan as JSON values, for a journal."""
    return {"reason": plan.reason, "counterpart": None if plan.counterpart is None else asdict(plan.counterpart)}


def plan_in(facts: Mapping[str, object]) -> Plan | None:
    """The plan in a journal, where there is one yet."""
    reason, pair = facts.get("reason"), facts.get("counterpart")
    if reason is None:
        return None
    return Plan(Counterpart(**pair) if isinstance(pair, dict) else None, str(reason))
