"""A data folder that is taken away under a running server: nothing is acknowledged that would not be there again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.conformance.given import A, B, completed, content, put, started
from tests.server_process import ServerProcess
from tests.unit.server.loopback import RawClient

NOTICE_SECONDS = 3.0
"""The folder is checked once a second; the rest is for a machine under load."""

READY = b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n"


def refused(call: Callable[[], object]) -> bool:
    """Whether a call is refused because the folder is lost."""
    try:
        call()
    except ClientError as error:
        is_unavailable = error.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503)
        return is_unavailable and "data folder is gone or was replaced" in error.response["Error"]["Message"]
    return False


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def readiness(server: ServerProcess) -> tuple[int, list[str]]:
    """Status and subjects of problems of `/ready`."""
    with RawClient(server.address[1]) as client:
        answer = client.ask(READY)
    return answer.status, [problem["subject"] for problem in json.loads(answer.body).get("problems", [])]


def remove_folder(data: Path) -> None:
    shutil.rmtree(data)


def move_folder(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def replace_folder(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))
    shutil.copytree(data.with_name("elsewhere"), data, dirs_exist_ok=True)


def unlink(name: str) -> Callable[[Path], None]:
    def unlink_it(data: Path) -> None:
        (data / name).unlink()

    unlink_it.__name__ = f"unlink_{name}"
    return unlink_it


def copy_over(data: Path) -> None:
    """What an editor, a restore or `sed -i` does to a file: another one of the same content in its place."""
    shutil.copy(data / "catalog.db", data / "new")
    (data / "new").rename(data / "catalog.db")


def move_segments(data: Path) -> None:
    (data / "objects" / "segments").rename(data / "segments-moved")


LOSSES = [
    remove_folder,
    move_folder,
    replace_folder,
    copy_over,
    move_segments,
    *map(unlink, ["catalog.db", "catalog.db-wal", "server.lock", "objects/index.db"]),
]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_nothing_is_acknowledged_once_the_folder_is_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    data = tmp_path / "data"
    workers = "2" if lose in (remove_folder, copy_over) else "1"
    with ServerProcess(data, ["--workers", workers]) as server:
        ebs = server.client("ebs")
        pending, done = started(ebs), completed(ebs, {0: A})
        put(ebs, pending, 0, A)
        lose(data)
        time.sleep(NOTICE_SECONDS)
        for _ in range(4):  # Each client has a connection of its own, and so comes to either worker.
            assert refused(lambda: put(server.client("ebs"), pending, 1, B))
            assert readiness(server) == (503, ["data folder"])
        assert refused(lambda: ebs.complete_snapshot(SnapshotId=pending, ChangedBlocksCount=1))
        assert refused(lambda: started(ebs))
        assert refused(lambda: server.client("ec2").delete_snapshot(SnapshotId=done))
        assert refused(lambda: server.client("kms").create_key())
        snapshots = server.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert {snapshot["SnapshotId"] for snapshot in snapshots} == {pending, done}  # Reading goes on.
        assert '"event": "problem", "subject": "data folder"' in server.log_path.read_text()


def test_the_same_folder_is_known_again_and_everything_is_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, ["--workers", "2"]) as server:
        ebs = server.client("ebs")
        pending = started(ebs)
        put(ebs, pending, 0, A)
        data.rename(tmp_path / "elsewhere")
        assert eventually(lambda: refused(lambda: put(ebs, pending, 1, B)))
        (tmp_path / "elsewhere").rename(data)
        assert eventually(lambda: readiness(server) == (200, []))
        time.sleep(NOTICE_SECONDS)
        for index in range(1, 5):
            put(server.client("ebs"), pending, index, B)
    with ServerProcess(data) as server:
        ebs = server.client("ebs")
        ebs.complete_snapshot(SnapshotId=pending, ChangedBlocksCount=5)
        assert content(ebs, pending) == {0: A, 1: B, 2: B, 3: B, 4: B}


def test_one_process_alone_notices_too_and_says_so_at_its_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = ServerProcess(data)
    ebs = server.client("ebs")
    pending = started(ebs)
    data.rename(tmp_path / "elsewhere")
    assert eventually(lambda: refused(lambda: put(ebs, pending, 0, A)))
    assert server.stop() == 1
    assert "snapstone: the data folder is gone" in server.log_path.read_text()


def test_a_worker_that_falls_meanwhile_makes_nothing_new(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, ["--workers", "2"]) as server:
        ebs = server.client("ebs")
        pending = started(ebs)
        children = Path(f"/proc/{server.process_id}/task/{server.process_id}/children")
        before = set(map(int, children.read_text().split()))
        data.rename(tmp_path / "elsewhere")
        data.mkdir()
        fallen = min(before)
        os.kill(fallen, signal.SIGKILL)
        assert eventually(lambda: "worker not started" in server.log_path.read_text())
        time.sleep(2)
        assert list(data.iterdir()) == []
        data.rmdir()
        (tmp_path / "elsewhere").rename(data)
        assert eventually(lambda: len(children.read_text().split()) == 2, 40)
        assert eventually(lambda: not refused(lambda: put(server.client("ebs"), pending, 0, A)), 20)
