"""The doctor: what it says when all is well, and what is amiss when it is not."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest

from snapstone.cli.commands import endpoint_checks, local_checks
from snapstone.cli.commands import endpoint_checks as server_checks
from snapstone.cli.commands.local_checks import CheckStatus
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.journal import JournalStore
from tests.server_process import ServerProcess
from tests.unit.cli.running import Client, on_terminal

OPERATIONS = {
    "ec2:DescribeSnapshots",
    "ebs:ListSnapshotBlocks",
    "ebs:ListChangedBlocks",
    "ebs:GetSnapshotBlock",
    "ebs:StartSnapshot",
    "ebs:PutSnapshotBlock",
    "ebs:CompleteSnapshot",
    "ec2:DeleteSnapshot",
    "ec2:CreateTags",
    "ec2:DeleteTags",
}


def findings(client: Client, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = client.run("doctor", "--json", *arguments)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def of_check(found: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    return [finding for finding in found if finding["check"] == check]


def with_variables(client: Client, **variables: str) -> Client:
    return Client({**client.environment, **variables}, client.folder)


def test_all_is_well_and_nothing_is_changed(client: Client, server: ServerProcess) -> None:
    before = server.client("ec2").describe_snapshots()["Snapshots"]
    code, found = findings(client)
    assert code == 0
    assert {finding["message"] for finding in of_check(found, "right")} == OPERATIONS
    assert all(finding["health"] == "ok" for finding in found if finding["check"] not in ("tools", "space"))
    assert ":root" in of_check(found, "identity")[0]["message"]
    assert [finding["message"] for finding in of_check(found, "server")] == ["ready, and reports no problem"]
    assert server.client("ec2").describe_snapshots()["Snapshots"] == before
    assert list(client.folder.iterdir()) == []


def test_lines_are_for_people_and_coloured_on_a_terminal_alone(client: Client) -> None:
    lines = client.output("doctor").splitlines()
    assert all(line.split()[0] in ("ok", "warn", "fail") for line in lines)
    code, shown = on_terminal(client, "doctor")
    assert code == 0
    assert "snapstone" in shown


def test_rights_that_are_missing_are_warned_of(client: Client, server: ServerProcess) -> None:
    iam = server.client("iam")
    name = f"doctors-{uuid4().hex[:8]}"  # the server is shared with tests that make users too
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/SnapstoneReadOnly")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    reader = with_variables(client, AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"])
    code, found = findings(reader)
    rights = of_check(found, "right")
    permitted = {finding["message"] for finding in rights if finding["health"] == "ok"}
    assert permitted == {
        "ec2:DescribeSnapshots",
        "ebs:ListSnapshotBlocks",
        "ebs:ListChangedBlocks",
        "ebs:GetSnapshotBlock",
    }
    denied = {finding["message"].split(": ")[0] for finding in rights if finding["health"] == "warn"}
    assert denied == OPERATIONS - permitted
    assert code == 0


class Lax(BaseHTTPRequestHandler):
    """An endpoint that permits everything, and starts snapshots on whatever parent."""

    calls: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode("latin-1")
        self.calls.append(dict(parse_qsl(body)).get("Action", self.path))
        if self.path == "/snapshots":
            self.answer(201, "application/json", '{"SnapshotId": "snap-0123456789abcdef0"}')
        elif "GetCallerIdentity" in body:
            arn = "arn:aws:iam::111122223333:user/lax"
            self.answer(200, "text/xml", f"<A><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult></A>")
        else:
            self.answer(200, "text/xml", "<A/>")

    do_GET = do_PUT = do_POST  # noqa: N815 - http.server looks for these names

    def answer(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def test_a_snapshot_that_should_not_have_been_started_is_deleted(client: Client) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Lax) as lax:
        threading.Thread(target=lax.serve_forever, daemon=True).start()
        code, found = findings(client, "--endpoint-url", f"http://127.0.0.1:{lax.server_port}")
        lax.shutdown()
    [started] = [finding for finding in of_check(found, "right") if "StartSnapshot" in finding["message"]]
    assert (code, started["health"]) == (0, "warn")
    assert started["message"] == "ebs:StartSnapshot: the endpoint accepts a parent that does not exist"
    assert Lax.calls[Lax.calls.index("/snapshots") + 1] == "DeleteSnapshot"


class Troubled(Lax):
    """A Snapstone server that says of itself what it is told to; it has an identity, and else refuses."""

    ready: ClassVar[tuple[int, str]] = (200, "")
    identity: ClassVar[tuple[int, str]] = (
        200,
        "<A><GetCallerIdentityResult><Arn>me</Arn></GetCallerIdentityResult></A>",
    )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode("latin-1")
        if self.path == "/ready":
            assert "Authorization" not in self.headers
            self.answer(self.ready[0], "application/json", self.ready[1])
        elif "GetCallerIdentity" in body:
            self.answer(self.identity[0], "text/xml", self.identity[1])
        else:
            code = "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>"
            self.answer(403, "text/xml", code if self.path == "/" else '{"__type": "AccessDeniedException"}')

    do_GET = do_PUT = do_POST  # noqa: N815 - http.server looks for these names


def test_an_answer_that_is_none_is_a_failure_of_the_endpoint(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Troubled, "identity", (200, "no XML at all"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Troubled) as troubled:
        threading.Thread(target=troubled.serve_forever, daemon=True).start()
        code, found = findings(client, "--endpoint-url", f"http://127.0.0.1:{troubled.server_port}")
        troubled.shutdown()
    assert (code, of_check(found, "endpoint")[0]["health"]) == (1, "fail")


CLOCK = {"subject": "clock", "message": "The clock was set back by 3600 s: set it right."}
SPACE = {"subject": "space", "message": "2 % are free: make room."}


@pytest.mark.parametrize(
    ("status", "document", "health", "messages", "code"),
    [
        (200, {"status": "ok"}, "ok", ["ready, and reports no problem"], 0),
        (
            200,
            {"status": "degraded", "problems": [CLOCK, SPACE]},
            "warn",
            ["clock: The clock was set back by 3600 s: set it right.", "space: 2 % are free: make room."],
            0,
        ),
        (
            503,
            {"status": "unavailable", "failed": ["catalog"], "problems": [SPACE]},
            "fail",
            ["the catalog does not answer", "space: 2 % are free: make room."],
            1,
        ),
        (503, {"status": "unavailable"}, "fail", ["reports unavailable, without a reason"], 1),
        (200, {"status": "of a later release"}, "warn", ["reports of a later release, without a reason"], 0),
        (200, {"problems": [CLOCK]}, "", [], 0),
        (404, {"message": "no such page"}, "", [], 0),
        (200, [], "", [], 0),
    ],
)
def test_what_the_server_says_is_wrong_with_it_is_told(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    document: object,
    health: str,
    messages: list[str],
    code: int,
) -> None:
    monkeypatch.setattr(Troubled, "ready", (status, json.dumps(document)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Troubled) as troubled:
        threading.Thread(target=troubled.serve_forever, daemon=True).start()
        ended, found = findings(client, "--endpoint-url", f"http://127.0.0.1:{troubled.server_port}")
        troubled.shutdown()
    told = of_check(found, "server")
    assert [finding["message"] for finding in told] == messages
    assert {finding["health"] for finding in told} <= {health}
    assert all(finding["advice"] for finding in told if health != "ok")
    assert ended == code


def test_a_server_that_fails_is_not_taken_for_a_wrong_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Troubled, "identity", (500, "<A><Error><Code>InternalFailure</Code></Error></A>"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Troubled) as troubled:
        threading.Thread(target=troubled.serve_forever, daemon=True).start()
        code, found = findings(client, "--endpoint-url", f"http://127.0.0.1:{troubled.server_port}")
        troubled.shutdown()
    [identity] = of_check(found, "identity")
    assert (code, identity["health"]) == (1, "fail")
    assert identity["advice"] == "the endpoint fails; fix that first, then run snapstone doctor again"


@pytest.mark.parametrize(
    "host", ["ebs.eu-central-1.amazonaws.com", "ebs.eu-central-1.api.aws", "ebs.cn-north-1.amazonaws.com.cn"]
)
def test_aws_is_not_asked_for_a_page_that_it_has_not(host: str) -> None:
    asked: list[str] = []

    class Recorded:
        url = f"https://{host}"

        @property
        def proxy(self) -> None:
            asked.append(host)

    assert list(server_checks.server_checks(Recorded())) == []  # type: ignore[arg-type]
    assert asked == []


def test_a_wrong_secret_is_a_failure_with_advice(client: Client) -> None:
    code, found = findings(with_variables(client, AWS_SECRET_ACCESS_KEY="wrong"))
    assert code == 1
    [identity] = of_check(found, "identity")
    assert (identity["health"], "secret" in identity["advice"]) == ("fail", True)
    assert of_check(found, "right") == []


def test_an_endpoint_that_is_not_there_is_a_failure(client: Client) -> None:
    code, found = findings(client, "--endpoint-url", "http://127.0.0.1:1")
    assert code == 1
    assert found[-1]["check"] == "endpoint"
    assert found[-1]["health"] == "fail"


def test_without_configuration_it_says_what_to_do(client: Client) -> None:
    bare = {name: value for name, value in client.environment.items() if not name.startswith("AWS_")}
    bare["AWS_EC2_METADATA_DISABLED"] = "true"
    code, found = findings(Client(bare, client.folder))
    assert (code, found[-1]["check"], found[-1]["health"]) == (1, "configuration", "fail")
    assert "snapstone env" in found[-1]["advice"]


def test_tools_that_are_missing_are_warned_of(client: Client, tmp_path: Path) -> None:
    _, found = findings(with_variables(client, PATH=str(tmp_path)))
    [tools] = of_check(found, "tools")
    assert (tools["health"], "qemu-utils" in tools["advice"]) == ("warn", True)


@pytest.mark.parametrize(
    ("skew", "health"),
    [
        (0.0, CheckStatus.OK),
        (29.0, CheckStatus.OK),
        (31.0, CheckStatus.WARN),
        (-299.0, CheckStatus.WARN),
        (301.0, CheckStatus.FAIL),
        (-301.0, CheckStatus.FAIL),
    ],
)
def test_clocks_that_differ_are_said(skew: float, health: CheckStatus) -> None:
    # Tue, 24 Nov 2026 12:00:00 GMT is 1795521600 seconds after 1970 began.
    sent_at = 1_795_521_600.5 - skew
    finding = endpoint_checks._clock("Tue, 24 Nov 2026 12:00:00 GMT", sent_at)
    assert finding.health is health
    if health is not CheckStatus.OK:
        assert f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'}" in finding.words


def test_a_state_folder_that_others_can_write_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    monkeypatch.setenv("SNAPSTONE_STATE", str(state))
    found = {finding.check: finding for finding in local_checks.state_folder()}
    assert found["state folder"].health is CheckStatus.FAIL
    assert found["state folder"].advice == f"chmod 700 {state}"


def test_a_state_folder_that_is_a_file_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").touch()
    monkeypatch.setenv("SNAPSTONE_STATE", str(tmp_path / "state"))
    assert next(local_checks.state_folder()).health is CheckStatus.FAIL


def test_a_state_folder_that_can_be_made_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPSTONE_STATE", str(tmp_path / "a" / "b"))
    assert next(local_checks.state_folder()).health is CheckStatus.OK
    assert list(tmp_path.iterdir()) == []


def test_unfinished_transfers_are_listed_and_those_under_way_are_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAPSTONE_STATE", str(tmp_path / "state"))
    folders = Folders.standard()
    folders.prepare()
    store = JournalStore(folders.journals)
    with store.open_or_create({"kind": "upload", "source": "/disk"}, 8):
        [held] = [finding for finding in local_checks.state_folder() if finding.check == "journal"]
        assert held.health is CheckStatus.OK
        assert "is in use: another thread of this process" in held.words
    [left] = [finding for finding in local_checks.state_folder() if finding.check == "journal"]
    assert left.health is CheckStatus.WARN
    assert "kind upload, source /disk" in left.words
    assert "same command to resume" in left.advice


def test_a_damaged_journal_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPSTONE_STATE", str(tmp_path / "state"))
    folders = Folders.standard()
    folders.prepare()
    damaged = folders.journals / "0.journal"
    damaged.write_bytes(b"no journal")
    [finding] = [finding for finding in local_checks.state_folder() if finding.check == "journal"]
    assert (finding.health, finding.advice) == (CheckStatus.WARN, f"remove {damaged}")
