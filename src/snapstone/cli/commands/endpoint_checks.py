"""The doctor's checks of an endpoint: reachability, clock, identity, permissions.

Permissions are probed without side effects: EBS operations name a nonexistent snapshot, which is denied (403) or not
found (404); EC2's have a dry run. `/ready`, which only Snapstone has, needs no signature; one server process answers,
for itself only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError

from snapstone.cli.commands.local_checks import CheckResult, fail, ok, warn
from snapstone.client.api.endpoint import Endpoint
from snapstone.client.api.faults import FaultKind, fault_of_response, kind_of
from snapstone.client.api.values import ABSENT_ID
from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, checksum_from_digest

READY_PATH: Final = "/ready"
READY_SECONDS: Final = 10.0
"""Timeout for connecting and for each read."""

OK: Final = "ok"
UNAVAILABLE: Final = "unavailable"
"""Values of `status`, in addition to `degraded`."""

_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonwebservices.com.cn")
_ADVICE: Final = "fix it on the server; its log says when it began"


def server_checks(endpoint: Endpoint) -> Iterator[CheckResult]:
    """Problems that the server reports; none for endpoints without such a report."""
    if (urlsplit(endpoint.url).hostname or "").endswith(_AWS_HOSTS):
        return
    document = _asked(endpoint)
    status = document.get("status")
    if not isinstance(status, str):
        return
    found = list(_troubles(document))
    judge = fail if status == UNAVAILABLE else warn
    if status != OK and not found:
        found = [f"reports {status}, without a reason"]
    for words in found:
        yield judge("server", words, _ADVICE)
    if not found:
        yield ok("server", "ready, and reports no problem")


def _troubles(document: Mapping[str, object]) -> Iterator[str]:
    """A message for each part that does not answer, and for each problem."""
    failed, problems = document.get("failed"), document.get("problems")
    for name in failed if isinstance(failed, list) else ():
        yield f"the {name} does not answer"
    for problem in problems if isinstance(problems, list) else ():
        if isinstance(problem, Mapping):
            yield f"{problem.get('subject')}: {problem.get('message')}"


def _asked(endpoint: Endpoint) -> Mapping[str, object]:
    """The `/ready` document; empty if unavailable. The other checks report the reason."""
    proxy, scheme = endpoint.proxy, urlsplit(endpoint.url).scheme
    session = URLLib3Session(
        verify=endpoint.ca_bundle or True, proxies={scheme: proxy} if proxy else None, timeout=READY_SECONDS
    )
    try:
        answer = session.send(AWSRequest("GET", endpoint.url + READY_PATH).prepare())
        document = json.loads(answer.content)
    except (BotoCoreError, HTTPClientError, ValueError):
        return {}
    finally:
        session.close()
    return document if isinstance(document, dict) else {}


WARN_SKEW_SECONDS: Final = 30.0
FAIL_SKEW_SECONDS: Final = 300.0
"""Beyond this, signatures are refused (AWS: five minutes). This client corrects for skew; others do not."""

SLOW_SECONDS: Final = 1.0

_UNTOLD: Final = frozenset({FaultKind.BROKEN, FaultKind.THROTTLED, FaultKind.DAMAGED, FaultKind.FULL, FaultKind.LOST})
"""Errors that say nothing about the permission."""


@dataclass(frozen=True)
class Probe:
    """A call that shows whether an operation is permitted."""

    service: str
    method: str
    members: Mapping[str, object]
    needed_for: str


PROBES: Final = (
    Probe("ec2", "describe_snapshots", {"MaxResults": 5, "DryRun": True}, "ls, show, wait"),
    Probe("ebs", "list_snapshot_blocks", {"SnapshotId": ABSENT_ID, "MaxResults": 100}, "download, verify, cat, copy"),
    Probe(
        "ebs", "list_changed_blocks", {"SecondSnapshotId": ABSENT_ID, "MaxResults": 100}, "diff, download --from, copy"
    ),
    Probe(
        "ebs", "get_snapshot_block", {"SnapshotId": ABSENT_ID, "BlockIndex": 0, "BlockToken": "AAAA"}, "download, copy"
    ),
    Probe("ebs", "start_snapshot", {"VolumeSize": 1, "ParentSnapshotId": ABSENT_ID}, "upload, copy"),
    Probe(
        "ebs",
        "put_snapshot_block",
        {
            "SnapshotId": ABSENT_ID,
            "BlockIndex": 0,
            "BlockData": bytes(BLOCK_SIZE),
            "DataLength": BLOCK_SIZE,
            "Checksum": checksum_from_digest(ZERO_DIGEST),
            "ChecksumAlgorithm": "SHA256",
        },
        "upload, copy",
    ),
    Probe("ebs", "complete_snapshot", {"SnapshotId": ABSENT_ID, "ChangedBlocksCount": 0}, "upload, copy"),
    Probe("ec2", "delete_snapshot", {"SnapshotId": ABSENT_ID, "DryRun": True}, "rm, and removing a failed upload"),
    Probe(
        "ec2",
        "create_tags",
        {"Resources": [ABSENT_ID], "Tags": [{"Key": "doctor", "Value": ""}], "DryRun": True},
        "tag, upload --tag",
    ),
    Probe(
        "ec2", "delete_tags", {"Resources": [ABSENT_ID], "Tags": [{"Key": "doctor"}], "DryRun": True}, "tag --remove"
    ),
)


@dataclass
class _Reply:
    """How a call ended: with an answer (good or bad), or without one."""

    response: Mapping[str, Any] = field(default_factory=dict)
    broken: str | None = None
    """Why there was no answer."""
    refused: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return found

    @property
    def words(self) -> str:
        return self.broken or str(fault_of_response(self.response))

    @property
    def kind(self) -> FaultKind | None:
        """The kind of refusal; None if there was none."""
        return kind_of(fault_of_response(self.response)) if self.refused else None


def endpoint_checks(endpoint: Endpoint) -> Iterator[CheckResult]:
    """Run all checks; stop at the first that makes the rest pointless."""
    began_at, began = time.time(), time.monotonic()
    first = _call(endpoint, Probe("sts", "get_caller_identity", {}, ""))
    seconds = time.monotonic() - began
    if first.broken is not None:
        yield fail("endpoint", f"{endpoint.name}: {first.broken}", "check --endpoint-url, the network and the server")
        return
    yield _reached(endpoint, seconds)
    if (date := first.headers.get("date")) is not None:
        yield _clock(date, began_at + seconds / 2)
    yield from server_checks(endpoint)
    yield _identity(first)
    if first.kind is None:
        yield from _rights(endpoint)


def _rights(endpoint: Endpoint) -> Iterator[CheckResult]:
    """Probe permissions; a service that does not answer is tried only once."""
    silent: set[str] = set()
    for probe in PROBES:
        if probe.service in silent:
            continue
        reply = _call(endpoint, probe)
        if reply.broken is not None:
            silent.add(probe.service)
            yield fail(
                "endpoint", f"{probe.service}: {reply.broken}", "check the network, and the endpoint of this service"
            )
        elif probe.method == "start_snapshot" and not reply.refused:
            yield _undo(endpoint, str(reply.response["SnapshotId"]))
        else:
            yield _right(probe, reply)


def _undo(endpoint: Endpoint, snapshot_id: str) -> CheckResult:
    """No endpoint starts a child of a snapshot that is not there; one that does is broken, and its child is deleted."""
    gone = _call(endpoint, Probe("ec2", "delete_snapshot", {"SnapshotId": snapshot_id}, ""))
    left = f", and {snapshot_id} could not be deleted: {gone.words}" if gone.refused or gone.broken else ""
    words = f"ebs:StartSnapshot: the endpoint accepts a parent that does not exist{left}"
    return warn("right", words, "do not trust it with backups")


def _call(endpoint: Endpoint, probe: Probe) -> _Reply:
    try:
        return _Reply(getattr(endpoint.client(probe.service), probe.method)(**probe.members))
    except ClientError as error:
        return _Reply(error.response, refused=True)
    except (BotoCoreError, ResponseParserError) as error:
        return _Reply(broken=str(error).partition("\n")[0])


def _reached(endpoint: Endpoint, seconds: float) -> CheckResult:
    words = f"{endpoint.name} answers in {seconds * 1000:.0f} ms"
    if seconds > SLOW_SECONDS:
        return warn("endpoint", words, "slow; check the network and the server's load")
    return ok("endpoint", words)


def _clock(date: str, sent_at: float) -> CheckResult:
    """The Date header has whole seconds, so half a second is added as the best estimate."""
    skew = parsedate_to_datetime(date).timestamp() + 0.5 - sent_at
    words = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the endpoint's"
    if abs(skew) >= FAIL_SKEW_SECONDS:
        return fail("clock", f"this machine's clock is {words}: signatures are refused", "set the clock (timedatectl)")
    if abs(skew) >= WARN_SKEW_SECONDS:
        return warn("clock", f"this machine's clock is {words}", "set the clock (timedatectl)")
    return ok("clock", f"this machine's clock is within {abs(skew) + 0.5:.0f} s of the endpoint's")


def _identity(reply: _Reply) -> CheckResult:
    if reply.kind is None:
        return ok("identity", str(reply.response["Arn"]))
    if reply.kind in _UNTOLD:
        return fail("identity", reply.words, "the endpoint fails; fix that first, then run snapstone doctor again")
    if reply.kind is FaultKind.EXPIRED:
        return fail("identity", reply.words, "the credentials have expired; log in again")
    return fail("identity", reply.words, "check the access key, its secret, and that the endpoint is the right one")


def _right(probe: Probe, reply: _Reply) -> CheckResult:
    operation = "".join(word.capitalize() for word in probe.method.split("_"))
    name = f"{probe.service}:{operation}"
    if reply.kind in _UNTOLD:
        return warn("right", f"{name}: unknown: {reply.words}", "run snapstone doctor again")
    if reply.kind is FaultKind.DENIED:
        return warn("right", f"{name}: denied: {reply.words}", f"allow it; needed for: {probe.needed_for}")
    return ok("right", f"{name}")
