"""The audit log: one line for each call, in a file that all server processes append to and that is rotated by size.

A line has the shape of CloudTrail's records: ids and names, no secrets and no data.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from snapstone.core.policy.principals import Principal, PrincipalKind
from snapstone.system.locks import Turn
from snapstone.wire.http import Call, Request, Response

EVENT_VERSION: Final = "1.11"
MOST_TEXT: Final = 512
"""Characters of one value."""
MOST_ENTRIES: Final = 20
"""Elements of a list, and members of a structure, that are kept."""
MOST_DEPTH: Final = 4

DATA_EVENTS: Final = frozenset({"GetSnapshotBlock", "PutSnapshotBlock", "ListSnapshotBlocks", "ListChangedBlocks"})
"""Operations of EBS on blocks, which AWS classifies as data events."""

_READING: Final = ("Describe", "Get", "List", "Lookup", "Simulate")

_KEPT_PARTS: Final = (
    "Id", "Ids", "Arn", "Name", "Names", "Index", "Size", "Count", "Region", "Zone", "State", "Type", "Description",
    "MaxResults", "Attribute", "OperationType", "DryRun", "Encrypted", "DataLength", "Timeout", "Mode", "Duration",
    "DurationSeconds", "Path", "KeyUsage", "KeySpec", "Status", "Enabled", "Days", "PolicyDocument",
    "Policy",
)  # fmt: skip
"""Ends of the names of members whose values are recorded; the others are named, with their value hidden."""

RESPONSE_MEMBERS: Final = frozenset({
    "SnapshotId", "KeyId", "KeyArn", "KmsKeyArn", "KmsKeyId", "AliasArn", "TargetKeyId", "UserName", "UserId",
    "RoleName", "RoleId", "AssumedRoleId", "AccessKeyId", "PolicyName", "PolicyArn", "PolicyId", "Arn", "Identifier",
    "RuleArn", "Status", "State", "KeyState", "LockState",
})  # fmt: skip
"""Members of an answer that are recorded; none of them is a secret."""

_ISSUING: Final = ("GetSessionToken", "GetFederationToken")
"""Operations that create credentials, whatever their names suggest."""

LEAST_SECRET: Final = 8
"""Characters of a hidden value that an error's words must not repeat; shorter ones are found in any sentence."""

HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"


def is_data_event(service: str, operation: str) -> bool:
    """Whether a call reads or writes blocks."""
    return service == "ebs" and operation in DATA_EVENTS


def record_of(request: Request, call: Call | None, response: Response, now_ms: int, event_id: str) -> dict[str, object]:
    """One record. Without an operation it has what the request claims: service, region, access key."""
    claimed = response.log
    service = call.service if call else str(claimed.get("service", ""))
    operation = call.operation if call else str(claimed.get("operation", ""))
    is_data = is_data_event(service, operation)
    record: dict[str, object] = {
        "eventVersion": EVENT_VERSION,
        "userIdentity": _identity(call, claimed),
        "eventTime": _iso(now_ms),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": operation,
        "awsRegion": str(call.caller.region) if call else str(claimed.get("region", "")),
        "sourceIPAddress": request.peer,
        "userAgent": request.headers.get("user-agent", "")[:MOST_TEXT],
        "requestParameters": _shown_members(call.members) if call else None,
        "responseElements": None if call is None else _response_elements(call),
        "requestID": request.request_id,
        "eventID": event_id,
        "readOnly": operation.startswith(_READING),
        "eventType": "AwsApiCall",
        "managementEvent": not is_data,
        "eventCategory": "Data" if is_data else "Management",
    }
    if call is not None:
        record["recipientAccountId"] = str(call.caller.account_id)
        snapshot_id = call.members.get("SnapshotId")
        if isinstance(snapshot_id, str):
            arn = f"arn:aws:ec2:{call.caller.region}::snapshot/{snapshot_id[:MOST_TEXT]}"
            record["resources"] = [{"type": "AWS::EC2::Snapshot", "ARN": arn}]
    if response.fault is not None:
        record["errorCode"] = response.fault.code
        record["errorMessage"] = _error_message(response.fault.message, call)
    return record


def _error_message(message: str, call: Call | None) -> str:
    """An error's words, unless they repeat a value that is not to be shown, such as a block's token."""
    if call is None:
        # What breaks its member's rules is quoted, and may be a secret in the wrong place.
        return HIDDEN if "Value '" in message or "Value (" in message else message[:MOST_TEXT]
    hidden = [
        value for name, value in call.members.items() if not name.endswith(_KEPT_PARTS) and isinstance(value, str)
    ]
    repeated = any(len(value) >= LEAST_SECRET and value[:LEAST_SECRET] in message for value in hidden)
    return HIDDEN if repeated else message[:MOST_TEXT]


def _response_elements(call: Call) -> dict[str, object] | None:
    """The IDs that a changing call has created or changed; None for other calls, and if there are none."""
    if call.output is None or (call.operation.startswith(_READING) and call.operation not in _ISSUING):
        return None
    return _named(call.output, 1) or None


def _named(output: Mapping[str, object], depth: int) -> dict[str, object]:
    """The members that are ids, ARNs and states; structures are gone through, and left out if nothing remains."""
    found: dict[str, object] = {}
    for name, value in output.items():
        shown: object = None
        if isinstance(value, Mapping) and depth < MOST_DEPTH:
            shown = _named(value, depth + 1)
        elif isinstance(value, list) and depth < MOST_DEPTH:
            entries = [_named(entry, depth + 1) for entry in value[:MOST_ENTRIES] if isinstance(entry, Mapping)]
            shown = [entry for entry in entries if entry]
        elif isinstance(value, str) and name in RESPONSE_MEMBERS:
            shown = value[:MOST_TEXT]
        if shown:
            found[name[:1].lower() + name[1:]] = shown
    return found


def _identity(call: Call | None, claimed: Mapping[str, object]) -> dict[str, object]:
    if call is None:
        return {"type": "Unknown", "accessKeyId": str(claimed.get("access_key_id", ""))[:128]}
    principal = call.caller.principal
    kinds = {PrincipalKind.ROOT: "Root", PrincipalKind.USER: "IAMUser", PrincipalKind.ROLE: "AssumedRole"}
    identity: dict[str, object] = {
        "type": kinds[principal.kind],
        "principalId": principal.user_id,
        "arn": principal.arn,
        "accountId": str(principal.account_id),
        "accessKeyId": call.caller.access_key_id,
    }
    if principal.kind is PrincipalKind.USER:
        identity["userName"] = principal.name
    if principal.kind is PrincipalKind.ROLE:
        identity["sessionContext"] = _session(principal)
    return identity


def _session(principal: Principal) -> dict[str, object]:
    issuer = {
        "type": "Role",
        "principalId": principal.user_id.partition(":")[0],
        "arn": principal.role_arn,
        "accountId": str(principal.account_id),
        "userName": principal.name,
    }
    issued_at_ms = principal.session_issued_at_ms
    attributes = {"mfaAuthenticated": "false"} | ({} if issued_at_ms is None else {"creationDate": _iso(issued_at_ms)})
    return {"sessionIssuer": issuer, "attributes": attributes}


def _shown_members(members: Mapping[str, object], depth: int = 0) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name, value in list(members.items())[:MOST_ENTRIES]:
        kept = name.endswith(_KEPT_PARTS)
        shown[name[:1].lower() + name[1:]] = _shown(value, depth + 1) if kept or _is_structure(value) else HIDDEN
    return shown


def _is_structure(value: object) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and all(isinstance(element, Mapping) for element in value)
    )


def _shown(value: object, depth: int) -> object:
    if depth > MOST_DEPTH:
        return HIDDEN
    if isinstance(value, Mapping):
        return _shown_members(value, depth)
    if isinstance(value, list):
        return [_shown(element, depth + 1) for element in value[:MOST_ENTRIES]]
    if isinstance(value, str):
        return value[:MOST_TEXT]
    return value if isinstance(value, bool | int | float) else HIDDEN


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


NAME: Final = "audit.jsonl"

_log = logging.getLogger(__name__)


class AuditFile:
    """Appends whole lines; safe from many threads and processes."""

    def __init__(self, folder: Path, size_limit: int, file_count: int) -> None:
        """Files of about `size_limit` bytes; of those that are full, `file_count` are kept."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path, self._size_limit, self._file_count = folder / NAME, size_limit, file_count
        self._turn = Turn(folder / "lock")

    def append(self, line: bytes) -> None:
        """Add one line, which ends in a line feed. Raises OSError."""
        with self._turn:
            self._append(line)

    def _append(self, line: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(file, line)
            size = os.fstat(file).st_size
            if written < len(line):
                os.ftruncate(file, size - written)
                raise OSError("a line was written only in part and was removed")
        finally:
            os.close(file)
        if size >= self._size_limit:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(self._file_count - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{NAME}.{number}")


class Audit:
    """A hook that records calls; those on blocks only if `data_events` is true."""

    def __init__(
        self,
        file: AuditFile,
        data_events: bool,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._file, self._data_events = file, data_events
        self._now_ms, self._new_id = now_ms, new_id

    def __call__(self, request: Request, call: Call | None, response: Response) -> None:
        """Record an answer. A record that cannot be written is logged: the call has been done."""
        if call is not None and not self._data_events and is_data_event(call.service, call.operation):
            return
        record = record_of(request, call, response, self._now_ms(), self._new_id())
        try:
            self._file.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            fields = {"request_id": request.request_id, "problem": str(error)}
            _log.error("a call is missing from the audit log", extra={"fields": fields})
