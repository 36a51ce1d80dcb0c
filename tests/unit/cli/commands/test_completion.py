"""Completion by a real bash, of the command as it is installed."""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from snapstone.cli import snapshot_arguments
from snapstone.cli.main import build_parser
from snapstone.client.api.values import SnapshotInfo
from tests.server_process import SOURCE, ServerProcess
from tests.unit.cli.conftest import MakeSnapshot
from tests.unit.cli.running import LIMIT_SECONDS, Client, client_of

_COMPLETE = """\
set -e
source <(snapstone completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function_name=$(complete -p snapstone | sed -E 's/.*-F ([^ ]+).*/\\1/')
$function_name snapstone "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def installed(client: Client, tmp_path: Path) -> Client:
    """A client whose PATH begins with a `snapstone` as pip writes it."""
    script = tmp_path / "bin" / "snapstone"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(SOURCE))} exec {shlex.quote(sys.executable)} -m snapstone "$@"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = f"{script.parent}{os.pathsep}{client.environment['PATH']}"
    return Client({**client.environment, "PATH": path}, tmp_path)


def completed(client: Client, line: str) -> list[str]:
    """What bash offers for the end of a line."""
    done = subprocess.run(
        ["bash", "--norc", "-c", _COMPLETE, "bash", line],
        env=client.environment,
        cwd=client.folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(word.strip() for word in done.stdout.splitlines() if word.strip())


def test_commands_and_options_complete(installed: Client) -> None:
    assert completed(installed, "snapstone do") == ["doctor", "download"]
    assert completed(installed, "snapstone upload --no-") == ["--no-resume", "--no-wait"]
    assert completed(installed, "snapstone completion ") == ["bash", "fish", "zsh"]


def test_snapshot_ids_complete(installed: Client, make_snapshot: MakeSnapshot) -> None:
    made = make_snapshot(description="to be completed")
    for line in (f"snapstone show {made[:12]}", f"snapstone upload disk.img --parent {made[:12]}"):
        assert completed(installed, line) == [made]
    assert made in completed(installed, "snapstone download snap-")


def test_an_id_that_was_given_is_not_offered_again(installed: Client, make_snapshot: MakeSnapshot) -> None:
    first, second = make_snapshot(), make_snapshot()
    offered = completed(installed, f"snapstone rm {first} snap-")
    assert second in offered
    assert first not in offered


def test_file_names_complete(installed: Client) -> None:
    (installed.folder / "disk-1.img").touch()
    assert completed(installed, "snapstone upload disk") == ["disk-1.img"]


def test_the_options_on_the_line_say_which_endpoint_is_asked(
    installed: Client, make_snapshot: MakeSnapshot, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "other") as other:
        elsewhere = other.client("ebs").start_snapshot(VolumeSize=1)["SnapshotId"]
        here = make_snapshot()
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".aws" / "credentials").write_text(
            f"[other]\naws_access_key_id={other.key.access_key_id}\n"
            f"aws_secret_access_key={other.key.secret_access_key}\n"
        )
        configured = {
            name: value
            for name, value in installed.environment.items()
            if name not in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")
        }
        client = Client(configured, tmp_path)
        line = f"snapstone show --profile other --endpoint-url {other.endpoint} snap-"
        assert completed(client, line) == [elsewhere]
        assert here in completed(client, "snapstone show snap-")


def test_an_endpoint_that_does_not_answer_offers_nothing_and_says_nothing(installed: Client) -> None:
    client = Client({**installed.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, installed.folder)
    assert completed(client, "snapstone show snap-") == []


def test_an_endpoint_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(snapshot_arguments, "ANSWER_SECONDS", 0.1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        line = ["ls", "--region", "eu-west-1", "--endpoint-url", f"http://127.0.0.1:{port}"]
        assert snapshot_arguments.known_snapshots(build_parser().parse_args(line)) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_code_that_names_the_command(client: Client, shell: str) -> None:
    assert "snapstone" in client.output("completion", shell)


def test_an_unknown_shell_is_wrong_usage(client: Client) -> None:
    done = client.run("completion", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bash" in done.stderr


def test_answers_are_kept_for_a_few_seconds_for_this_user_alone(
    server: ServerProcess, tmp_path: Path, make_snapshot: MakeSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in client_of(server, tmp_path).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    first = make_snapshot(tags={"Name": "first"})
    options = build_parser().parse_args(["show", first])
    known = snapshot_arguments.known_snapshots(options)
    assert known[first] == "first"
    second = make_snapshot()
    assert second not in snapshot_arguments.known_snapshots(options)
    [kept] = (tmp_path / ".cache" / "snapstone" / "completion").iterdir()
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    old = time.time() - snapshot_arguments.CACHE_SECONDS - 1
    os.utime(kept, (old, old))
    assert second in snapshot_arguments.known_snapshots(options)
    kept.write_text("no json")
    assert second in snapshot_arguments.known_snapshots(options)
    kept.write_text(json.dumps([second]))
    assert second in snapshot_arguments.known_snapshots(options)


def test_words_about_a_snapshot_are_its_name_its_description_or_its_size() -> None:
    def words(description: str, **tags: str) -> str:
        started = datetime(2026, 11, 24, tzinfo=UTC)
        snapshot = SnapshotInfo("snap-1", "completed", 8, started, description, tags, False, "1", "100%")
        return snapshot_arguments.words_about(snapshot)

    assert words("a disk", Name="web") == "web"
    assert words("a disk") == "a disk"
    assert words("two\nlines\v") == "two\\nlines\\x0b"
    assert words("") == "8 GiB of 2026-11-24"
    assert words("x" * 300) == "x" * snapshot_arguments.MAX_WORDS_LENGTH
