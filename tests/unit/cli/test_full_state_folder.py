"""A state folder on a full disk: transfers end with a sentence, and go on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapstone.client.transfer.folders import STATE_VARIABLE
from tests.server_process import ServerProcess
from tests.unit.cli.running import Client
from tests.unit.client.images.conftest import run_as_root

BLOCK_COUNT = 40
"""50 apart in 1 GiB, so that the entries of the journal take 16 pages of 4 KiB; the two slots of its facts take two."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    run_as_root("mount", "-t", "tmpfs", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def until_done(client: Client, disk: Path, room: str, *arguments: str) -> str:
    """What a command prints that first has too little room for its state, and then enough."""
    subprocess.run(["rm", "-r", "-f", str(disk / "state")], check=True)
    run_as_root("mount", "-o", f"remount,{room}", str(disk))
    refused = client.run(*arguments)
    assert refused.returncode == 3, refused.stderr
    last = refused.stderr.splitlines()[-1]
    assert last.startswith(f"snapstone: {disk}/state")
    assert last.endswith(f"free some space there, or set {STATE_VARIABLE} to another directory")
    run_as_root("mount", "-o", "remount,size=10m,nr_inodes=100", str(disk))
    done = client.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("room", ["size=4k", "size=8k", "size=12k", "size=16k", "nr_inodes=2", "nr_inodes=5"])
def test_transfers_end_with_a_sentence_and_go_on_once_there_is_room(
    client: Client, server: ServerProcess, disk: Path, room: str
) -> None:
    client = Client({**client.environment, STATE_VARIABLE: str(disk / "state")}, client.folder)
    with (client.folder / "image").open("wb") as file:
        for number in range(BLOCK_COUNT):
            file.seek(number * 50 * 524_288)
            file.write(os.urandom(524_288))
        file.truncate(1 << 30)
    snapshot_id = until_done(client, disk, room, "upload", "image")
    until_done(client, disk, room, "download", snapshot_id, "copy")
    assert subprocess.run(["cmp", "image", "copy"], cwd=client.folder, check=False).returncode == 0
