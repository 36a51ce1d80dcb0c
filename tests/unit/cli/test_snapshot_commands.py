"""ls, show, tag, rm, wait and cat as processes against a real server."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.server_process import ServerProcess
from tests.unit.cli.conftest import MakeSnapshot
from tests.unit.cli.running import LIMIT_SECONDS, Client, client_of, on_terminal

ABSENT = "snap-0123456789abcdef0"
BLOCK_SIZE = 524_288


def in_shell(client: Client, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of snapstone's with a shell's redirections."""
    return subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -m snapstone {command}"],
        env=client.environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def lines_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_ls_has_a_line_with_tabs_for_each_snapshot_oldest_first(client: Client, make_snapshot: MakeSnapshot) -> None:
    first = make_snapshot({0: bytes(BLOCK_SIZE)}, description="a disk", tags={"Name": "web", "a": "b"})
    second = make_snapshot(volume_size_gib=2, complete=False)
    lines = lines_of(client.output("ls", "--filter", f"snapshot-id={first},{second}"))
    assert [line[0] for line in lines] == [first, second]
    assert lines[0][1:3] == ["1 GiB", "completed"]
    assert lines[0][4:] == ["100%", "a disk", "Name=web a=b"]
    assert lines[1][1:3] == ["2 GiB", "pending"]
    assert lines[1][5:] == ["-", "-"]


def test_ls_filters_as_ec2_does(client: Client, make_snapshot: MakeSnapshot) -> None:
    wanted = make_snapshot(tags={"of": "test_ls_filters"}, description="the one")
    make_snapshot(tags={"of": "test_ls_filters"}, description="another")
    listed = client.output("ls", "--filter", "tag:of=test_ls_filters", "--filter", "description=the*")
    assert [line[0] for line in lines_of(listed)] == [wanted]
    assert client.output("ls", "--filter", "tag:of=nothing") == ""


def test_ls_long_has_more_columns_and_json_all_facts(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot({3: bytes(BLOCK_SIZE)}, tags={"Name": "x"})
    only = ("--filter", f"snapshot-id={made}")
    [line] = lines_of(client.output("ls", "--long", *only))
    assert line[8:] == ["no", "512.0 KiB", "standard", "-"]
    facts = json.loads(client.output("ls", "--json", *only))
    assert facts["snapshot_id"] == made
    assert (facts["tags"], facts["full_size_bytes"], facts["encrypted"]) == ({"Name": "x"}, BLOCK_SIZE, False)
    assert facts["owner_id"] == line[7]


def test_ls_owner_is_handed_on(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    only = ("--filter", f"snapshot-id={made}")
    assert client.output("ls", "--owner", "any", *only).startswith(made)
    assert client.output("ls", "--owner", "111122223333", *only) == ""


def test_ls_takes_a_filter_once(client: Client) -> None:
    done = client.run("ls", "--filter", "status=a", "--filter", "status=b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "given twice" in done.stderr


def test_ls_on_a_terminal_is_a_table_that_fits(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot(description="long " * 40)
    code, shown = on_terminal(client, "ls", "--filter", f"snapshot-id={made}", columns=80)
    head, line = shown.splitlines()
    assert code == 0
    assert head.split() == ["SNAPSHOT", "SIZE", "STATE", "STARTED", "PROGRESS", "DESCR…"]  # 74 columns lie before it
    assert line.startswith(made)
    assert len(line) <= 80
    assert line.endswith("…")


def test_show_says_every_fact_and_counts_blocks(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot({1: bytes(BLOCK_SIZE), 5: b"x" * BLOCK_SIZE}, description="disk", tags={"b": "2", "a": "1"})
    lines = client.output("show", made, "--blocks").splitlines()
    facts = dict(line.split(":", 1) for line in lines if not line.startswith("Tag"))
    assert {name: value.strip() for name, value in facts.items() if name in ("Snapshot", "State", "Blocks")} == {
        "Snapshot": made,
        "State": "completed",
        "Blocks": "2 of 2,048 present (1.0 MiB)",
    }
    assert [line.split()[1] for line in lines if line.startswith("Tag")] == ["a=1", "b=2"]
    shown = json.loads(client.output("show", made, "--blocks", "--json"))
    assert (shown["present_count"], shown["present_bytes"], shown["description"]) == (2, 1_048_576, "disk")


def test_show_of_a_pending_snapshot_counts_nothing(client: Client, make_snapshot: MakeSnapshot) -> None:
    shown = client.output("show", "--blocks", make_snapshot(complete=False))
    assert "State:        pending\n" in shown
    assert "Blocks" not in shown


def test_show_goes_on_after_one_that_is_not_there(client: Client, make_snapshot: MakeSnapshot) -> None:
    first, second = make_snapshot(), make_snapshot()
    done = client.run("show", first, ABSENT, second)
    assert done.returncode == 7
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Snapshot")] == [first, second]
    assert done.stderr.count("\n") == 1
    assert ABSENT in done.stderr


def test_tag_puts_on_replaces_and_takes_off(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot(tags={"old": "1", "kept": "2"})
    assert client.output("tag", made, "Name=web", "kept=3", "--remove", "old", "--remove", "never was") == ""
    assert json.loads(client.output("show", made, "--json"))["tags"] == {"Name": "web", "kept": "3"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to do"),
        (("a=1", "--remove", "a"), "'a' is both added and removed"),
        (("aws:a=1",), "is reserved"),
        (("no tag",), "'no tag' is not a tag (expected KEY=VALUE)"),
    ],
)
def test_tag_refuses_what_makes_no_sense(client: Client, arguments: tuple[str, ...], words: str) -> None:
    done = client.run("tag", ABSENT, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr


def test_rm_asks_nothing_in_scripts_and_goes_on_after_a_failure(client: Client, make_snapshot: MakeSnapshot) -> None:
    first, second = make_snapshot(), make_snapshot(complete=False)
    done = client.run("rm", first, ABSENT, second, first)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.splitlines()[0] == f"{first} deleted"
    assert done.stderr.splitlines()[2] == f"{second} deleted"
    assert client.run("show", first, second).returncode == 7


def test_rm_with_a_dry_run_deletes_nothing(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    done = client.run("rm", "--dry-run", made)
    assert (done.returncode, done.stderr) == (0, f"{made} would be deleted\n")
    assert json.loads(client.output("rm", "--dry-run", "--json", made)) == {"snapshot_id": made, "permitted": True}
    assert client.run("show", made).returncode == 0


@pytest.mark.parametrize(("typed", "code"), [("n\n", 1), ("\n", 1), ("yes\n", 0), ("Y\n", 0)])
def test_rm_asks_once_on_a_terminal(client: Client, make_snapshot: MakeSnapshot, typed: str, code: int) -> None:
    made = make_snapshot()
    ended, shown = on_terminal(client, "rm", made, typed=typed)
    assert (ended, shown.count(f"Delete {made}? [y/N] ")) == (code, 1)
    assert ("nothing was deleted" in shown) == (code == 1)
    assert client.run("show", made).returncode == (0 if code else 7)


def test_rm_with_force_does_not_ask_on_a_terminal(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    code, shown = on_terminal(client, "rm", "--force", made)
    assert (code, "Delete" in shown) == (0, False)
    assert client.run("show", made).returncode == 7


def test_wait_ends_when_the_snapshot_is_completed(
    client: Client, server: ServerProcess, make_snapshot: MakeSnapshot
) -> None:
    made = make_snapshot(complete=False)
    complete = threading.Timer(
        1.0, lambda: server.client("ebs").complete_snapshot(SnapshotId=made, ChangedBlocksCount=0)
    )
    complete.start()
    assert client.output("wait", made) == ""
    complete.join()
    facts = json.loads(client.output("wait", "--json", made))
    assert facts == {"snapshot_id": made, "state": "completed"}


def test_wait_has_a_time_out_and_knows_what_is_not_there(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot(complete=False)
    done = client.run("wait", "--timeout", "0.1s", made)
    assert (done.returncode, done.stdout) == (3, "")
    assert made in done.stderr
    assert client.run("wait", ABSENT).returncode == 7


def test_cat_gives_the_bytes_of_a_range(client: Client, make_snapshot: MakeSnapshot) -> None:
    block = os.urandom(BLOCK_SIZE)
    made = make_snapshot({2: block})
    around = client.output_bytes("cat", made, "--offset", "1023KiB", "--length", "514K")
    assert around == bytes(1024) + block + bytes(1024)
    assert client.output_bytes("cat", made, "--offset", "1GiB") == b""
    assert client.output_bytes("cat", made, "--offset", "1073741823") == b"\0"


def test_cat_refuses_a_range_beyond_the_end(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    for arguments in (("--offset", "1GiB", "--length", "1"), ("--offset", "2GiB")):
        done = client.run("cat", made, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{made} has 1073741824 bytes" in done.stderr


def test_cat_refuses_a_terminal(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    code, shown = on_terminal(client, "cat", made, "--length", "1")
    assert code == 2
    assert "use --force" in shown
    assert on_terminal(client, "cat", made, "--length", "1", "--force") == (0, "\0")


def test_a_reader_that_goes_away_ends_it_quietly(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    with client.start("cat", made) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert os.read(process.stdout.fileno(), 1) == b"\0"
        process.stdout.close()
        assert process.wait(LIMIT_SECONDS) == 141
        assert process.stderr.read() == ""


def test_standard_output_that_is_full_is_one_line(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    for command in (f"cat {made} --length 1", "ls"):
        done = in_shell(client, f"{command} > /dev/full")
        assert (done.returncode, done.stderr) == (1, "snapstone: [Errno 28] No space left on device\n")


def test_what_the_locale_does_not_have_is_escaped(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot(description="データ 😀")
    latin = Client({**client.environment, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}, client.folder)
    assert "\\u30c7\\u30fc\\u30bf \\U0001f600" in latin.output("show", made)
    assert json.loads(latin.output("show", "--json", made))["description"] == "データ 😀"


def test_closed_standard_streams_are_no_matter(client: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot()
    for closed in (">&-", "<&- >&- 2>&-"):
        done = in_shell(client, f"show {made} {closed}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("command", ["show", "rm", "wait", "cat", "tag"])
def test_what_is_no_id_is_refused_before_anything_is_asked(client: Client, command: str) -> None:
    done = client.run(command, "snap-123", "a=b" if command == "tag" else "snap-XYZ")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "'snap-123' is not a snapshot ID" in done.stderr


def test_who_is_denied_hears_it_and_gets_its_code(server: ServerProcess, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    wrong = Client({**client.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}, tmp_path)
    done = wrong.run("ls")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert "SignatureDoesNotMatch" in done.stderr or "AuthFailure" in done.stderr


def test_an_endpoint_that_is_not_there_is_unfinished_work(server: ServerProcess, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    done = client.run("ls", "--quiet", "--retry-time", "0", "--endpoint-url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "127.0.0.1:1" in done.stderr


def test_an_error_with_json_is_an_event(client: Client) -> None:
    done = client.run("show", "--json", ABSENT)
    event = json.loads(done.stderr)
    assert (done.returncode, done.stdout) == (7, "")
    assert (event["event"], event["exit_code"]) == ("error", 7)
    assert ABSENT in event["message"]


def test_no_region_is_wrong_usage_with_advice(client: Client) -> None:
    environment = {name: value for name, value in client.environment.items() if "REGION" not in name}
    done = Client(environment, client.folder).run("ls")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--region" in done.stderr
