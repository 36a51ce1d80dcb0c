"""`make trace`: which files a request, or an uploaded block, enters, and how often it changes between them.

It counts modules too. A newcomer has to read the files of a path to follow it: few are better.

The server is a real one, in a process of its own, with a profile function in each thread; so is the client's upload.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, Final

from snapstone.core.blocks import BLOCK_SIZE
from tests.server_process import ServerProcess
from tests.tidy.imports import ROOT, SOURCE, circles, imports, modules, packages

HERE: Final = str(SOURCE / ROOT) + os.sep
REPEATS: Final = 5
SMALL_LINES: Final = 60
"""A module below this needs a reason."""

AIMS: Final = {"PutSnapshotBlock, warm": 22, "GetSnapshotBlock": 20, "one block of an upload": 12}
"""Files that these paths should enter at most."""

Trip = dict[str, Any]


class Recorder:
    """Records what one thread does between the entry and the exit of one function."""

    def __init__(self, entry: Callable[..., object], report: Callable[[Trip], None]) -> None:
        self._entry = entry.__code__
        self._report = report
        self._local = threading.local()

    def install(self) -> None:
        """Watch every thread that starts from now on."""
        threading.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        code, local = frame.f_code, self._local
        if event not in ("call", "return"):
            return
        if code is self._entry:
            if event == "return":
                self._report(_summary(local.files, local.calls))
                local.files = None
                return
            local.files, local.calls = [], Counter()
        if getattr(local, "files", None) is None or not code.co_filename.startswith(HERE):
            return
        name = code.co_filename[len(HERE) :]
        if event == "call":
            local.calls[name] += 1
        if not local.files or local.files[-1] != name:
            local.files.append(name)


def _summary(files: list[str], calls: Counter[str]) -> Trip:
    floors = Counter(name.split(os.sep)[0] for name in calls)
    return {"files": sorted(calls), "changes": len(files) - 1, "calls": calls.total(), "floors": dict(floors)}


def serve(trips: str, arguments: list[str]) -> None:
    """A server whose every answer is recorded as a line of the file `trips`."""
    from snapstone.cli.main import main
    from snapstone.server.http.connection import ServerConnection

    descriptor = os.open(trips, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    Recorder(ServerConnection._answer, lambda trip: _write(descriptor, trip)).install()
    sys.exit(main(["serve", *arguments]))


def _write(descriptor: int, trip: Trip) -> None:
    os.write(descriptor, json.dumps(trip).encode() + b"\n")


class Traced:
    """A traced server, and the trips of the calls that are made of it."""

    def __init__(self, folder: Path) -> None:
        self._trips = folder / "trips"
        self._trips.touch()
        self.server = ServerProcess(folder / "data", program=("tests.tidy.trace", "serve", str(self._trips)))

    def trip(self, call: Callable[[], object], requests: int = 1) -> Trip:
        """The trip of the last of the requests that a call makes: a server writes it after it has answered."""
        before = self._trips.stat().st_size
        call()
        lines = b""
        while lines.count(b"\n") < requests:
            with self._trips.open("rb") as file:
                file.seek(before)
                lines = file.read()
        trip: Trip = json.loads(lines.splitlines()[-1])
        return trip


def server_trips(folder: Path) -> Iterator[tuple[str, Trip]]:
    """Trips of the requests that matter, by name."""
    traced = Traced(folder)
    with traced.server as server:
        ebs, kms = server.client("ebs"), server.client("kms")
        number = iter(range(1, 1_000))

        def put(snapshot_id: str, index: int) -> None:
            block = next(number).to_bytes(8, "big") * (BLOCK_SIZE // 8)
            ebs.put_snapshot_block(
                SnapshotId=snapshot_id,
                BlockIndex=index,
                BlockData=block,
                DataLength=BLOCK_SIZE,
                Checksum=b64encode(sha256(block).digest()).decode(),
                ChecksumAlgorithm="SHA256",
            )

        def get(snapshot_id: str) -> None:
            listed = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"][0]
            ebs.get_snapshot_block(
                SnapshotId=snapshot_id, BlockIndex=listed["BlockIndex"], BlockToken=listed["BlockToken"]
            )["BlockData"].read()

        def repeated(call: Callable[[], object], requests: int = 1) -> Trip:
            trips = [traced.trip(call, requests) for _ in range(REPEATS)]
            return sorted(trips, key=lambda trip: len(trip["files"]))[len(trips) // 2]

        key = kms.create_key()["KeyMetadata"]["Arn"]
        for suffix, members in (("", {}), (", encrypted", {"Encrypted": True, "KmsKeyArn": key})):
            first = ebs.start_snapshot(VolumeSize=1, **members)["SnapshotId"]
            yield f"PutSnapshotBlock{suffix}, first", traced.trip(lambda first=first: put(first, 0))  # type: ignore[misc]
            yield f"PutSnapshotBlock{suffix}, warm", repeated(lambda first=first: put(first, 1))  # type: ignore[misc]
            yield (
                f"CompleteSnapshot{suffix}",
                traced.trip(lambda first=first: ebs.complete_snapshot(SnapshotId=first, ChangedBlocksCount=2)),  # type: ignore[misc]
            )
            yield f"GetSnapshotBlock{suffix}", repeated(lambda first=first: get(first), requests=2)  # type: ignore[misc]
            second = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=first)["SnapshotId"]
            put(second, 1)
            ebs.complete_snapshot(SnapshotId=second, ChangedBlocksCount=1)
            yield (
                f"ListChangedBlocks{suffix}",
                repeated(
                    lambda first=first, second=second: ebs.list_changed_blocks(  # type: ignore[misc]
                        FirstSnapshotId=first, SecondSnapshotId=second
                    )
                ),
            )


def upload_trip(folder: Path) -> Trip:
    """The trip of one block of an upload: the median by files."""
    from snapstone.client.session import connect
    from snapstone.client.transfer.upload import Sending

    folder.mkdir()
    image = folder / "image"
    image.write_bytes(os.urandom(64 * BLOCK_SIZE))
    trips: list[Trip] = []
    with ServerProcess(folder / "data") as server:
        Recorder(Sending._look, trips.append).install()
        try:
            with (
                _environment(
                    AWS_ACCESS_KEY_ID=server.key.access_key_id, AWS_SECRET_ACCESS_KEY=server.key.secret_access_key
                ),
                connect(endpoint_url=server.endpoint, region="eu-central-1", state_folder=folder / "state") as client,
            ):
                client.upload(image)
        finally:
            threading.setprofile(None)
    return sorted(trips, key=lambda trip: len(trip["files"]))[len(trips) // 2]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def counts() -> Iterator[str]:
    """Lines about the modules."""
    sizes = {name: len(path.read_text().splitlines()) for name, path in modules().items() if path.name != "__init__.py"}
    small = [name for name, lines in sizes.items() if lines < SMALL_LINES]
    yield f"modules: {len(sizes)}, {sum(sizes.values()):,} lines, median {median(sizes.values()):.0f}"
    yield f"below {SMALL_LINES} lines: {len(small)}, one in {len(sizes) / max(1, len(small)):.1f}"
    of_packages = circles(packages(1)) + circles(packages(2))
    yield f"circles of modules: {len(circles(imports()))}, of packages: {len(of_packages)}"


def main() -> None:
    """Print the table; with `--files`, the files of each trip too."""
    print("\n".join(counts()))
    print("\n| trip | files | aim | changes of file | calls | by floor |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        trips = [*server_trips(Path(scratch)), ("one block of an upload", upload_trip(Path(scratch, "client")))]
    for name, trip in trips:
        floors = ", ".join(f"{floor} {count}" for floor, count in trip["floors"].items())
        aim = AIMS.get(name, "")
        print(f"| {name} | {len(trip['files'])} | {aim} | {trip['changes']} | {trip['calls']} | {floors} |")
        if "--files" in sys.argv:
            print("    " + ", ".join(trip["files"]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], sys.argv[3:])
    else:
        main()
