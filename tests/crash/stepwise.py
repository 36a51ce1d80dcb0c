"""Transfers killed before and after each step that changes something, here or there: a child for each, by fork.

A program of its own, `python -m tests.crash.stepwise KIND FOLDER`: it has one thread when it forks, and has prepared
the client once for all children. Prints, as JSON, what went wrong at which step, and how many steps there were.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from snapstone.client.api.endpoint import Endpoint, resolve
from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.images.part_file import FileTarget
from snapstone.client.images.sources import open_source
from snapstone.client.transfer.digests import DigestTable
from snapstone.client.transfer.download import download
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.upload import upload
from snapstone.core.blocks import BLOCK_SIZE
from tests.crash.survivor import block

BLOCK_COUNT: Final = 4
NOW: Final = {0: 100, 1: 1, 3: 103}
"""Stamps of the image's blocks after the kill, in `changed`: two others, one gone."""
MOST_STEPS: Final = 400
ENDED_WELL: Final = 0


class Steps:
    """Counts what a child does, and ends it at one of them as kill -9 would."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._count = 0
        self._lock = threading.Lock()

    def wrap(self, owner: Any, name: str) -> None:
        """Count the beginning and the end of each call of a function."""
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self._step()
            outcome = original(*arguments, **named)
            self._step()
            return outcome

        setattr(owner, name, counted)

    def _step(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], None], last: int = 0) -> int:
    """Do `work` in a child, killed at its step number `last`; its exit status, -9 if it was killed."""
    child = os.fork()
    if child == 0:
        steps = Steps(last)
        for name in ("start_snapshot", "put_block", "get_block", "complete_snapshot", "delete_snapshot"):
            steps.wrap(Service, name)
        for name in ("fsync", "fdatasync", "rename", "unlink"):
            steps.wrap(os, name)
        steps.wrap(DigestTable, "record")
        steps.wrap(FileTarget, "write")
        steps.wrap(FileTarget, "commit")
        status = 1
        try:
            work()
            status = ENDED_WELL
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepared() -> Endpoint:
    """An endpoint with its botocore clients made."""
    endpoint = resolve()
    for name in ("ebs", "ec2"):
        endpoint.client(name)
    return endpoint


OF_CHILDREN: Final = prepared()
"""Never used before a fork, so it has no connection that two processes would share."""

OWN: Final = prepared()


def service(endpoint: Endpoint = OF_CHILDREN) -> Service:
    return Service(endpoint, Options(retry_seconds=20, max_in_flight=2))


def write_image(path: Path, stamps: dict[int, int]) -> None:
    """An image of BLOCK_COUNT blocks, written in place."""
    with path.open("r+b" if path.exists() else "wb") as file:
        for block_index in range(BLOCK_COUNT):
            file.write(block(stamps[block_index]) if block_index in stamps else bytes(BLOCK_SIZE))


def content(snapshot_id: str) -> dict[int, bytes]:
    """The blocks of a snapshot that are not zero."""
    found, buffer = {}, memoryview(bytearray(BLOCK_SIZE))
    with service(OWN) as reader:
        for page in reader.block_pages(snapshot_id):
            for entry in page.blocks:
                reader.get_block(snapshot_id, entry.block_index, entry.token, buffer)
                found[entry.block_index] = bytes(buffer)
    return {block_index: data for block_index, data in found.items() if any(data)}


def states() -> dict[str, str]:
    with service(OWN) as reader:
        return {each.snapshot_id: each.state for each in reader.describe()}


def upload_to(image: Path, state: Path, said: Path) -> None:
    """Upload, and write down the id."""
    with service() as sender, closing(open_source(image)) as source:
        said.write_text(str(upload(sender, source, state=Folders(state)).snapshot_id))


def upload_faults(folder: Path, last: int, *, changed: bool) -> Iterator[str]:
    """Kill an upload at a step, resume it, and tell what is wrong, or that it ran through."""
    image, state, said = folder / "image", folder / "state", folder / "said"
    before = states()
    stamps = {block_index: block_index for block_index in range(BLOCK_COUNT)}
    write_image(image, stamps)
    status = in_child(lambda: upload_to(image, state, said), last)
    if status != -signal.SIGKILL:
        yield "ran through" if status == ENDED_WELL else f"exit status {status}"
        return
    if changed:
        stamps = NOW
        write_image(image, stamps)
    if (status := in_child(lambda: upload_to(image, state, said))) != ENDED_WELL:
        yield f"resumed with exit status {status}"
        return
    new = {snapshot_id: found for snapshot_id, found in states().items() if snapshot_id not in before}
    if set(new.values()) != {"completed"}:
        yield f"states {sorted(new.values())}"
    if content(said.read_text()) != {block_index: block(stamp) for block_index, stamp in stamps.items()}:
        yield "the snapshot that was named holds another image"
    yield from journals_left(state)


def download_faults(folder: Path, last: int, snapshot_id: str) -> Iterator[str]:
    """The same for a download."""
    image, state = folder / "copy", folder / "state"

    def work() -> None:
        with service() as reader:
            download(reader, snapshot_id, str(image), state=Folders(state))

    status = in_child(work, last)
    if status != -signal.SIGKILL:
        yield "ran through" if status == ENDED_WELL else f"exit status {status}"
        return
    was_done = image.exists() and not list((state / "journals").glob("*.journal"))
    status = in_child(work)
    if was_done:
        status = ENDED_WELL  # it was only not told: a second download is refused, for the file is there
    if status != ENDED_WELL:
        yield f"resumed with exit status {status}"
        return
    if image.read_bytes() != b"".join(block(stamp) for stamp in range(BLOCK_COUNT)):
        yield "another image"
    if sorted(path.name for path in folder.iterdir()) != ["copy", "state"]:
        yield f"left behind: {sorted(path.name for path in folder.iterdir())}"
    yield from journals_left(state)


def journals_left(state: Path) -> Iterator[str]:
    left = [path.name for path in (state / "journals").iterdir() if path.suffix == ".journal"]
    if left:
        yield f"journals left: {left}"


def main() -> int:
    """Step after step, until one run is not killed any more."""
    kind, base = sys.argv[1], Path(sys.argv[2])
    snapshot_id = ""
    if kind == "download":
        write_image(base / "image", {block_index: block_index for block_index in range(BLOCK_COUNT)})
        assert in_child(lambda: upload_to(base / "image", base / "state", base / "said")) == ENDED_WELL
        snapshot_id = (base / "said").read_text()
    wrong: dict[int, list[str]] = {}
    for last in range(1, MOST_STEPS):
        folder = base / f"step-{last}"
        folder.mkdir()
        if kind == "download":
            found = list(download_faults(folder, last, snapshot_id))
        else:
            found = list(upload_faults(folder, last, changed=kind == "changed"))
        if found == ["ran through"]:
            break
        if found:
            wrong[last] = found
    json.dump({"step_count": last - 1, "wrong": wrong}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
