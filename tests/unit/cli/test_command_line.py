"""The command line as a person meets it: as a process, by its output and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snapstone import __version__
from snapstone.cli.main import COMMANDS
from tests.server_process import ServerProcess

LIMIT_SECONDS = 30.0


def snapstone(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SNAPSTONE_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "snapstone", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env=inherited | environ,
        check=False,
    )


def test_help_lists_commands_and_exit_codes() -> None:
    commands = (["--help"], ["serve", "--help"], ["env", "--help"], ["key", "rotate", "--help"], ["upload", "--help"])
    for arguments in commands:
        done = snapstone(*arguments)
        assert done.returncode == 0
        assert "exit codes:" in done.stdout
        assert "130  interrupted" in done.stdout
    assert "serve" in snapstone("--help").stdout


def test_version_is_the_packages() -> None:
    assert snapstone("--version").stdout == f"snapstone {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["env", "--data", "/nowhere"],
        ["user", "rm", "--help"],
        ["upload"],
        ["cat", "snap-12345678", "--offset", "x"],
        *([command.__name__.rpartition(".")[2], "--help"] for command in COMMANDS),
    ],
)
def test_nothing_heavy_is_imported_to_say_little(arguments: list[str]) -> None:
    program = (
        "import contextlib, json, sys\n"
        "from snapstone.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):\n"
        f"    main({arguments!r})\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        *("argcomplete", "botocore", "boto3", "httptools", "rich", "sqlite3", "ssl", "xxhash"),
        *("snapstone.wire", "snapstone.storage", "snapstone.client.session"),
        *(f"snapstone.client.{room}" for room in ("api", "images", "library", "transfer")),
    }
    assert heavy & set(json.loads(done.stdout)) == set()


def test_no_command_or_an_unknown_one_is_wrong_usage() -> None:
    assert snapstone().returncode == 2
    done = snapstone("frobnicate")
    assert (done.returncode, "frobnicate" in done.stderr) == (2, True)


def test_wrong_usage_is_one_line_that_says_where_help_is() -> None:
    done = snapstone("upload", "disk.img", "--size", "5 apples")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "snapstone upload: argument --size: '5 apples' is not a size, such as 4096, 50M (= 50MiB), 50MB or 1.5GiB "
        "(see snapstone upload --help)\n"
    )


def test_options_have_no_abbreviations() -> None:
    done = snapstone("rm", "snap-12345678", "--dry")
    assert (done.returncode, "--dry" in done.stderr) == (2, True)


def test_a_wrong_option_is_named_in_one_line(tmp_path: Path) -> None:
    done = snapstone("serve", "--data", str(tmp_path / "data"), "--port", "http")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "snapstone: --port is 'http', which is not a whole number from 0 to 65535\n"
    assert not (tmp_path / "data").exists()


def test_a_folder_of_something_else_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    done = snapstone("serve", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "thesis.txt" in done.stderr


def test_env_without_a_folder_says_what_to_run(tmp_path: Path) -> None:
    folder = tmp_path / "no such"
    done = snapstone("env", "--data", str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    hint = f"start a server with: snapstone serve --data '{folder}'"
    assert done.stderr == f"snapstone: there is no data folder {folder}: {hint}\n"


def test_env_without_a_server_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "snapstone").mkdir()
    done = snapstone("env", XDG_DATA_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("start a server with: snapstone serve\n")
    assert "no server is running" in done.stderr


def test_serve_says_how_to_connect_and_env_prints_it(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    with ServerProcess(folder, ["--region", "eu-west-1"]) as server:
        assert server.ready_line == (
            f"Snapstone is listening on {server.endpoint} - connect with: eval \"$(snapstone env --data '{folder}')\"\n"
        )
        done = snapstone("env", SNAPSTONE_DATA=str(folder))
        assert (done.returncode, done.stderr) == (0, "")
        printed = subprocess.run(
            ["/bin/sh", "-c", done.stdout + 'echo "${AWS_SESSION_TOKEN-none}"; env'],
            capture_output=True,
            text=True,
            check=True,
            env={"AWS_SESSION_TOKEN": "left over"},
        ).stdout.splitlines()
        assert printed[0] == "none"
        assert {
            f"AWS_ENDPOINT_URL={server.endpoint}",
            f"AWS_ACCESS_KEY_ID={server.key.access_key_id}",
            f"AWS_SECRET_ACCESS_KEY={server.key.secret_access_key}",
            "AWS_DEFAULT_REGION=eu-west-1",
            "AWS_REGION=eu-west-1",
        } <= set(printed)
        server.kill()
    done = snapstone("env", "--data", str(folder))
    assert (done.returncode, "no server is running" in done.stderr) == (2, True)


def test_the_log_holds_no_secret(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", ["--log-level", "debug"]) as server:
        server.client("ebs").start_snapshot(VolumeSize=1)
    log = server.log_path.read_text()
    assert '"operation": "StartSnapshot"' in log
    assert server.key.secret_access_key not in log
    assert "Signature" not in log
