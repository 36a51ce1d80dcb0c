"""`snapstone copy` as a person meets it, inside one server: options, result, messages, exit codes."""

from __future__ import annotations

import json

import pytest

from tests.conformance.given import A, B, completed, content
from tests.server_process import ServerProcess
from tests.unit.cli.running import Client

ELSEWHERE = ("--to-region", "us-west-2")


@pytest.fixture
def snapshot_id(server: ServerProcess) -> str:
    return completed(server.client("ebs"), {0: A, 5: B}, Description="original", Tags=[{"Key": "Name", "Value": "x"}])


def test_the_new_id_and_nothing_else_is_printed(client: Client, server: ServerProcess, snapshot_id: str) -> None:
    done = client.run("copy", snapshot_id, *ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert content(server.client("ebs", region="us-west-2"), done.stdout.strip()) == {0: A, 5: B}
    assert "full copy: " in done.stderr


def test_quietly_nothing_is_said(client: Client, snapshot_id: str) -> None:
    assert client.output("copy", snapshot_id, *ELSEWHERE, "--quiet").startswith("snap-")


def test_an_increment_says_on_what(client: Client, server: ServerProcess, snapshot_id: str) -> None:
    parent = client.output("copy", snapshot_id, *ELSEWHERE, "--quiet").strip()
    child = completed(server.client("ebs"), {1: B}, ParentSnapshotId=snapshot_id)
    done = client.run("copy", child, *ELSEWHERE)
    assert f"incremental copy: {parent} on the target is a copy of {snapshot_id}" in done.stderr
    facts = json.loads(client.run("copy", child, *ELSEWHERE, "--parent", parent, "--json").stdout)
    assert (facts["kind"], facts["parent_id"], facts["sent_count"]) == ("incremental", parent, 1)
    facts = json.loads(client.run("copy", child, *ELSEWHERE, "--full", "--json").stdout)
    assert (facts["kind"], facts["sent_bytes"]) == ("full", 3 * 524_288)


def test_description_and_tags(client: Client, server: ServerProcess, snapshot_id: str) -> None:
    options = ("--description", "copy", "--tag", "Name=y", "--no-tags")
    new = client.output("copy", snapshot_id, *ELSEWHERE, "--quiet", *options).strip()
    ec2 = server.client("ec2", region="us-west-2")
    (found,) = ec2.describe_snapshots(SnapshotIds=[new])["Snapshots"]
    assert found["Description"] == "copy"
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]}["Name"] == "y"


def test_a_dry_run_prints_no_id(client: Client, snapshot_id: str) -> None:
    done = client.run("copy", snapshot_id, *ELSEWHERE, "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 blocks would be copied" in done.stderr


def test_a_parent_and_a_key_do_not_go_together(client: Client, snapshot_id: str) -> None:
    done = client.run("copy", snapshot_id, *ELSEWHERE, "--parent", snapshot_id, "--encrypted")
    assert (done.returncode, "uses the key of its parent" in done.stderr) == (2, True)
    assert client.run("copy", snapshot_id, "--parent", snapshot_id, "--full").returncode == 2


def test_an_unknown_snapshot_ends_with_7(client: Client) -> None:
    assert client.run("copy", "snap-0123456789abcdef0", *ELSEWHERE).returncode == 7
