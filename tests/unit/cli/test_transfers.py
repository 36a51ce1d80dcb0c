"""upload and download as processes against a real server: results, messages, signals, and what goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import ServerProcess
from tests.unit.cli.running import LIMIT_SECONDS, Client, client_of, on_terminal

BLOCK_SIZE = 524_288
SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]{17}")


@pytest.fixture(scope="module")
def content() -> bytes:
    """Sixteen blocks: six of data, two that will be a hole, six of data, and two of zeros."""
    return os.urandom(6 * BLOCK_SIZE) + bytes(2 * BLOCK_SIZE) + os.urandom(6 * BLOCK_SIZE) + bytes(2 * BLOCK_SIZE)


@pytest.fixture
def image(client: Client, content: bytes) -> Path:
    """An image with data, a hole and zeros."""
    path = client.folder / "disk.img"
    with path.open("wb") as file:
        file.write(content[: 6 * BLOCK_SIZE])
        file.seek(8 * BLOCK_SIZE)
        file.write(content[8 * BLOCK_SIZE :])
    return path


@pytest.fixture(scope="module")
def uploaded(server: ServerProcess, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A snapshot of that image, whose tag says that it is not a whole number of GiB."""
    folder = tmp_path_factory.mktemp("uploaded")
    (folder / "disk.img").write_bytes(content)
    return client_of(server, folder).output("upload", "disk.img", "--quiet").strip()


def events_of(errors: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in errors.splitlines()]


def started_upload(client: Client, *arguments: str) -> subprocess.Popen[str]:
    """An upload that has a snapshot, and 12 blocks to send at four a second."""
    process = client.start("upload", "disk.img", "--limit-rate", "2MiB/s", *arguments)
    assert process.stderr is not None
    while "started" not in (line := process.stderr.readline()):
        assert line, "the upload ended before it started"
    return process


def test_upload_prints_the_id_and_nothing_else(client: Client, image: Path, server: ServerProcess) -> None:
    done = client.run(
        "upload", "disk.img", "--description", "a disk", "--tag", "Name=web", "--tag", "a=b=c", "--volume-size", "2"
    )
    assert done.returncode == 0
    assert SNAPSHOT_ID.fullmatch(done.stdout.rstrip("\n"))
    assert "full upload" in done.stderr
    [made] = server.client("ec2").describe_snapshots(SnapshotIds=[done.stdout.strip()])["Snapshots"]
    assert (made["State"], made["VolumeSize"], made["Description"]) == ("completed", 2, "a disk")
    assert {"Key": "Name", "Value": "web"} in made["Tags"]
    assert {"Key": "a", "Value": "b=c"} in made["Tags"]


def test_what_was_uploaded_comes_back_into_a_file_and_a_pipe(client: Client, image: Path) -> None:
    snapshot_id = client.output("upload", "disk.img", "--quiet").strip()
    assert client.output("download", snapshot_id, "copy.img", "--quiet") == ""
    assert (client.folder / "copy.img").read_bytes() == image.read_bytes()
    assert client.output_bytes("download", snapshot_id, "-") == image.read_bytes()


def test_a_child_sends_what_changed_and_is_applied_to_an_older_copy(client: Client, image: Path) -> None:
    parent = client.output("upload", "disk.img", "--quiet").strip()
    client.output("download", parent, "copy.img", "--quiet")
    with image.open("r+b") as file:
        file.seek(3 * BLOCK_SIZE)
        file.write(b"changed")
        file.seek(10 * BLOCK_SIZE)
        file.write(bytes(BLOCK_SIZE))
    done = client.run("upload", "disk.img", "--parent", parent, "--json")
    result = json.loads(done.stdout)
    assert (result["kind"], result["sent_count"], result["sent_bytes"]) == ("incremental", 2, 2 * BLOCK_SIZE)
    client.output("download", result["snapshot_id"], "copy.img", "--from", parent, "--quiet")
    assert (client.folder / "copy.img").read_bytes() == image.read_bytes()


def test_a_dirty_bitmap_says_what_is_read(client: Client, image: Path) -> None:
    parent = client.output("upload", "disk.img", "--quiet").strip()
    with image.open("r+b") as file:
        file.write(b"changed and said")
        file.seek(5 * BLOCK_SIZE)
        file.write(b"changed and not said")
    (client.folder / "dirty").write_text(f"0 {BLOCK_SIZE}\n")
    done = client.run("upload", "disk.img", "--parent", parent, "--dirty", "dirty", "--json")
    assert json.loads(done.stdout)["sent_count"] == 1


def test_standard_input_is_uploaded_with_its_size(client: Client, image: Path) -> None:
    command = [sys.executable, "-m", "snapstone", "upload", "-", "--size", "8MiB", "--quiet"]
    done = subprocess.run(
        command,
        input=image.read_bytes(),
        env=client.environment,
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    snapshot_id = done.stdout.decode().strip()
    assert client.output_bytes("cat", snapshot_id, "--length", "8MiB") == image.read_bytes()


def test_json_is_events_on_standard_error_and_a_result_on_standard_output(client: Client, image: Path) -> None:
    done = client.run("upload", "disk.img", "--json")
    result = json.loads(done.stdout)
    assert SNAPSHOT_ID.fullmatch(result["snapshot_id"])
    assert (result["kind"], result["sent_count"]) == ("full", 12)
    events = events_of(done.stderr)
    assert {"plan", "begin", "end"} <= {event["event"] for event in events}
    assert [event["moved_count"] for event in events if event["event"] == "end"] == [12]
    to_pipe = client.run("download", result["snapshot_id"], "copy.img", "--json")
    assert json.loads(to_pipe.stdout)["received_count"] == 12


def test_json_of_a_download_to_standard_output_is_aside(client: Client, uploaded: str, content: bytes) -> None:
    command = [sys.executable, "-m", "snapstone", "download", uploaded, "-", "--json"]
    done = subprocess.run(command, env=client.environment, capture_output=True, timeout=LIMIT_SECONDS, check=True)
    assert done.stdout == content
    [result] = [event for event in events_of(done.stderr.decode()) if event["event"] == "result"]
    assert result["received_count"] == 12


def test_a_dry_run_counts_and_leaves_nothing(client: Client, image: Path, uploaded: str, server: ServerProcess) -> None:
    before = server.client("ec2").describe_snapshots()["Snapshots"]
    done = client.run("upload", "disk.img", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "12 blocks (6.0 MiB) would be sent" in done.stderr
    assert server.client("ec2").describe_snapshots()["Snapshots"] == before
    done = client.run("download", uploaded, "copy.img", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "12 blocks would be received" in done.stderr
    assert not (client.folder / "copy.img").exists()


def test_a_terminal_sees_the_plan_a_summary_and_the_id(client: Client, image: Path) -> None:
    code, shown = on_terminal(client, "upload", "disk.img")
    lines = shown.splitlines()
    assert code == 0
    assert lines[0].startswith("full upload")
    assert any(re.search(r"upload: .*12 sent \(6\.0 MiB", line) for line in lines)
    assert SNAPSHOT_ID.fullmatch(lines[-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_hears_how_to_go_on_and_goes_on(client: Client, image: Path, number: signal.Signals) -> None:
    with started_upload(client) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, output) == (130, "")
    assert "run the same command to resume" in errors
    assert "Traceback" not in errors
    done = client.run("upload", "disk.img")
    assert done.returncode == 0
    assert client.output_bytes("download", done.stdout.strip(), "-") == image.read_bytes()
    assert "resuming" in done.stderr


def test_quiet_says_how_to_go_on_too(client: Client, image: Path) -> None:
    process = client.start("upload", "disk.img", "--limit-rate", "1MiB/s", "--quiet")
    journals = client.folder / ".local" / "state" / "snapstone" / "journals"
    while not list(journals.glob("*.journal")):
        assert process.poll() is None
    with process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("snapstone: ")
    assert len(errors.splitlines()) <= 2


def test_sigusr1_shows_progress_at_once(client: Client, image: Path) -> None:
    with started_upload(client) as process:
        assert process.stderr is not None
        for _ in range(100):
            process.send_signal(signal.SIGUSR1)
            line = process.stderr.readline()
            if "no transfer in progress" not in line:  # the upload has begun
                break
        process.terminate()
        process.communicate(timeout=LIMIT_SECONDS)
    assert "blocks" in line


def test_a_terminal_gets_no_image(client: Client, uploaded: str) -> None:
    code, shown = on_terminal(client, "download", uploaded, "-")
    assert (code, "standard output is a terminal" in shown) == (2, True)


def test_a_reader_of_a_download_that_goes_away_ends_it_quietly(client: Client, uploaded: str) -> None:
    with client.start("download", uploaded, "-", "--quiet") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(LIMIT_SECONDS) == 141
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("upload", "no.img"), 7, "no.img"),
        (("upload", "disk.img", "--dirty", "no"), 7, "no"),
        (("upload", "disk.img", "--parent", "snap-0123456789abcdef0"), 7, "snap-0123456789abcdef0"),
        (("upload", "disk.img", "--volume-size", "0"), 2, "from 1 to 65536"),
        (("upload", "-"), 2, "--size"),
        (("download", "snap-0123456789abcdef0", "x"), 7, "snap-0123456789abcdef0"),
        (("download", "snapshot", "x"), 2, "'snapshot' is not a snapshot ID"),
        (("download", "snap-0123456789abcdef0", "x", "--limit-rate", "0"), 2, "must be more than 0"),
        (("download", "snap-0123456789abcdef0", "x", "--max-in-flight", "0"), 2, "from 1 to 512"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    client: Client, image: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = client.run(*arguments, "--quiet")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_file_that_is_there_is_not_overwritten_without_force(client: Client, uploaded: str, content: bytes) -> None:
    (client.folder / "copy.img").write_text("precious")
    done = client.run("download", uploaded, "copy.img", "--quiet")
    assert (done.returncode, "--force" in done.stderr) == (2, True)
    assert (client.folder / "copy.img").read_text() == "precious"
    client.output("download", uploaded, "copy.img", "--force", "--quiet")
    assert (client.folder / "copy.img").read_bytes() == content
