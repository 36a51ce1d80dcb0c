"""kill -9 of the client at random moments of an upload and of a download, a polite end, and a server that goes away.

Every fourth kill comes some time after the start, whatever the client is at; the others once a random number of further
blocks have been answered. CLIENT_KILLS sets how many there are.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import sleep
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.client_command import LOGGING_ALL, ClientCommand, Requests, finish
from tests.conformance.given import BLOCK_SIZE, read, tokens
from tests.crash.survivor import block
from tests.server_process import ServerProcess

KILLS: Final = int(os.environ.get("CLIENT_KILLS", "20"))
BLOCK_COUNT: Final = 320
IN_FLIGHT: Final = 4
START_LIMIT_SECONDS: Final = 1.0
"""Moments of kills that look at the clock lie between the start and this."""
ENOUGH: Final = BLOCK_COUNT * 3 // 4
"""Blocks after which there is no further kill: the end has a test of its own."""
SLOWLY: Final = ("--max-in-flight", str(IN_FLIGHT), "--limit-rate", "40M")
"""80 blocks a second: a kill meets blocks in flight."""
INTERRUPTED: Final = 130
"""Exit code of a command that was asked to end, and goes on when it is given again."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of this test's own, which logs every block."""
    with ServerProcess(tmp_path / "data", LOGGING_ALL) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess, tmp_path: Path) -> ClientCommand:
    return ClientCommand(server, tmp_path / "state")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Blocks that all differ."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        for stamp in range(BLOCK_COUNT):
            file.write(block(stamp))
    return path


def stored(server: ServerProcess) -> list[dict[int, bytes]]:
    """The blocks of every snapshot that the server has, as boto3 reads them; all have to be completed."""
    ebs, found = server.client("ebs"), []
    for each in server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        assert each["State"] == "completed"
        snapshot_id = each["SnapshotId"]
        found.append(
            {
                block_index: read(ebs, snapshot_id, block_index, token)
                for block_index, token in tokens(ebs, snapshot_id).items()
            }
        )
    return found


def one_snapshot_of_the_image(server: ServerProcess) -> bool:
    """Whether the server has one snapshot, completed, of what `image` holds."""
    return stored(server) == [{block_index: block(block_index) for block_index in range(BLOCK_COUNT)}]


def has_ended(process: subprocess.Popen[str]) -> bool:
    return process.poll() is not None


def kill_again_and_again(requests: Requests, method: str, client: ClientCommand, *arguments: str | Path) -> int:
    """Start the command and kill it, `KILLS` times; returns how often that was."""
    moments = random.Random(KILLS)
    for kill in range(KILLS):
        if len(requests.done(method)) > ENOUGH:
            return kill
        with client.start(*arguments, *SLOWLY) as process:
            if kill % 4 == 0:
                sleep(moments.uniform(0.0, START_LIMIT_SECONDS))
            else:
                more = moments.randint(1, BLOCK_COUNT // KILLS - 1)
                answered_count = requests.done(method).total()
                requests.wait_for(method, answered_count + more, partial(has_ended, process))
            assert process.poll() is None, process.communicate()
            process.kill()
    return KILLS


def test_an_upload_killed_at_random_moments_ends_right_and_sends_no_acknowledged_block_again(
    server: ServerProcess, client: ClientCommand, image: Path
) -> None:
    requests = Requests(server.log_path)
    kill_count = kill_again_and_again(requests, "PUT", client, "upload", image)
    client.run("upload", image)
    assert one_snapshot_of_the_image(server)
    puts = requests.done("PUT")
    assert puts.total() <= BLOCK_COUNT + kill_count * IN_FLIGHT
    assert kill_count > KILLS // 2


def test_a_download_killed_at_random_moments_ends_right_and_fetches_no_written_block_again(
    server: ServerProcess, client: ClientCommand, image: Path, tmp_path: Path
) -> None:
    snapshot_id = client.run("upload", image)
    folder = tmp_path / "target"
    folder.mkdir()
    requests = Requests(server.log_path)
    kill_count = kill_again_and_again(requests, "GET", client, "download", snapshot_id, folder / "copy")
    assert not (folder / "copy").exists(), "a download shows its file only when it is whole"
    client.run("download", snapshot_id, folder / "copy")
    assert (folder / "copy").read_bytes() == image.read_bytes()
    assert os.listdir(folder) == ["copy"]
    assert requests.done("GET").total() <= BLOCK_COUNT + kill_count * IN_FLIGHT
    assert kill_count > KILLS // 2


def test_an_upload_killed_at_its_end_leaves_nothing_pending(
    server: ServerProcess, client: ClientCommand, tmp_path: Path
) -> None:
    small, moments = tmp_path / "small", random.Random(KILLS)
    for attempt in range(KILLS // 2):
        small.write_bytes(block(attempt))
        requests = Requests(server.log_path)
        with client.start("upload", small) as process:
            requests.wait_for("PUT", 1, partial(has_ended, process))
            sleep(moments.uniform(0.0, 0.1))
            process.kill()
        client.run("upload", small)
    found = stored(server)
    assert all(len(blocks) == 1 for blocks in found)
    assert {blocks[0] for blocks in found} == {block(attempt) for attempt in range(KILLS // 2)}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_upload_ended_politely_says_how_to_go_on_and_does(
    server: ServerProcess, client: ClientCommand, image: Path, sent: signal.Signals
) -> None:
    requests = Requests(server.log_path)
    with client.start("upload", image, *SLOWLY) as process:
        requests.wait_for("PUT", BLOCK_COUNT // 3, partial(has_ended, process))
        process.send_signal(sent)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (INTERRUPTED, ""), errors
    assert "run the same command to resume" in errors
    client.run("upload", image)
    assert one_snapshot_of_the_image(server)
    assert requests.done("PUT").total() <= BLOCK_COUNT + IN_FLIGHT


def test_a_download_ended_by_ctrl_c_goes_on(
    server: ServerProcess, client: ClientCommand, image: Path, tmp_path: Path
) -> None:
    snapshot_id = client.run("upload", image)
    requests = Requests(server.log_path)
    with client.start("download", snapshot_id, tmp_path / "copy", *SLOWLY) as process:
        requests.wait_for("GET", BLOCK_COUNT // 3, partial(has_ended, process))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    client.run("download", snapshot_id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == image.read_bytes()
    assert requests.done("GET").total() <= BLOCK_COUNT + IN_FLIGHT


def test_a_server_killed_and_started_again_in_the_middle_is_waited_for(tmp_path: Path, image: Path) -> None:
    with ServerProcess(tmp_path / "data", LOGGING_ALL) as server:
        port = urlsplit(server.endpoint).port
        client = ClientCommand(server, tmp_path / "state")
        requests = Requests(server.log_path)
        upload = client.start("upload", image, *SLOWLY)
        await_and_kill(server, requests, "PUT", upload)
    sleep(0.5)
    arguments = [*LOGGING_ALL, "--port", str(port)]
    with ServerProcess(tmp_path / "data", arguments) as server:
        snapshot_id = finish(upload)
        assert one_snapshot_of_the_image(server)
        assert requests.done("PUT").total() <= BLOCK_COUNT + IN_FLIGHT
        download = client.start("download", snapshot_id, tmp_path / "copy", *SLOWLY)
        await_and_kill(server, requests, "GET", download)
    with ServerProcess(tmp_path / "data", arguments):
        finish(download)
    assert (tmp_path / "copy").read_bytes() == image.read_bytes()


def await_and_kill(server: ServerProcess, requests: Requests, method: str, process: subprocess.Popen[str]) -> None:
    """Kill the server once the client has moved a third."""
    earlier = requests.done(method).total()
    requests.wait_for(method, earlier + BLOCK_COUNT // 3, partial(has_ended, process))
    assert process.poll() is None, "the client was over before the server was killed: nothing was tested"
    server.kill()


def test_a_source_that_changed_between_the_runs_is_uploaded_as_it_is_now(
    server: ServerProcess, client: ClientCommand, image: Path
) -> None:
    requests = Requests(server.log_path)
    with client.start("upload", image, *SLOWLY) as process:
        requests.wait_for("PUT", BLOCK_COUNT // 3, partial(has_ended, process))
        process.kill()
    with image.open("r+b") as file:
        for block_index in (0, 7):
            file.seek(block_index * BLOCK_SIZE)
            file.write(block(BLOCK_COUNT + block_index))
    client.run("upload", image)
    changed = {block_index: block(BLOCK_COUNT + block_index) for block_index in (0, 7)}
    assert stored(server) == [{block_index: block(block_index) for block_index in range(BLOCK_COUNT)} | changed]
