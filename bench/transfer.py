"""A full image up and down through the client, next to `cp` and `sync`, restic and borg; then again, 1 % changed.

Whoever stores, stores bytes that the place does not hold yet: servers and repositories are new for each repeat. The
image is in memory for all alike, and everything is durable when the clock stops.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import backup_peers
from bench.blocks import BLOCK_SIZE
from bench.connection import WrongAnswerError
from bench.images import change_blocks, check_equal, make_full
from bench.report import Bound, Line
from bench.run import Run, settle
from bench.snapstone_client import ClientFailedError, SnapstoneClient
from bench.snapstone_server import SnapstoneServer

PEERS: Final[dict[str, tuple[Callable[[Path, Path], float], Bound]]] = {
    "cp and sync": (backup_peers.copy_seconds, Bound("≥", 1)),
    "restic backup": (backup_peers.restic_seconds, Bound("≥", 3)),
    "borg create": (backup_peers.borg_seconds, Bound("≥", 1.3)),
}
DOWNLOAD_RATIO: Final = Bound("≥", 1)
AGAIN_RATIO: Final = Bound("≥", 5)
CHANGED_PART: Final = 100
"""One block of so many is changed."""

Seconds = dict[str, list[float]]


def measure(run: Run) -> list[Line]:
    """Uploads, downloads and peers in turn."""
    missing = backup_peers.missing() if run.with_peer else []
    if missing:
        raise ClientFailedError(f"not installed: {', '.join(missing)} (`make bench` installs them)")
    taken: Seconds = defaultdict(list)
    with run.folder("transfer") as folder:
        image = folder / "image"
        make_full(image, run.sizes.image_block_count)
        for repeat in range(run.sizes.repeat_count):
            _move(image, folder / f"round-{repeat}", taken, repeat)
            for name, (peer, _) in PEERS.items():
                if run.with_peer or name == "cp and sync":
                    settle()
                    taken[name].append(peer(image, folder))
    return _lines(taken, run.sizes.image_block_count * BLOCK_SIZE / 2**20)


def _move(image: Path, folder: Path, taken: Seconds, repeat: int) -> None:
    """Upload, download, change and upload again, on a new server."""
    folder.mkdir()
    with SnapstoneServer(folder / "data") as server:
        client = SnapstoneClient(server.endpoint, folder / "state")
        settle()
        seconds, snapshot_id = client.upload(image)
        taken["upload"].append(seconds)
        settle()
        taken["download"].append(client.download(snapshot_id, folder / "downloaded"))
        check_equal(image, folder / "downloaded")
        (folder / "downloaded").unlink()
    changed = change_blocks(image, max(1, image.stat().st_size // BLOCK_SIZE // CHANGED_PART))
    with SnapstoneServer(folder / "data", arguments=["--log-level", "debug", "--log-format", "json"]) as server:
        settle()
        seconds, second_id = SnapstoneClient(server.endpoint, folder / "state").upload(image, parent_id=snapshot_id)
        taken["upload again"].append(seconds)
    _check_puts(server.log, second_id, changed)
    shutil.rmtree(folder)


def _check_puts(log: Path, snapshot_id: str, changed: set[int]) -> None:
    """Raise WrongAnswerError unless the server was sent the changed blocks, once each, and no others."""
    puts = put_counts(log, snapshot_id)
    if puts != Counter(changed):
        raise WrongAnswerError(
            f"{puts.total()} puts for {len(changed)} changed blocks: too many of {list(puts - Counter(changed))[:9]}, "
            f"none of {list(Counter(changed) - puts)[:9]}"
        )


def put_counts(log: Path, snapshot_id: str) -> Counter[int]:
    """How often each block was put into a snapshot, from a server's log of level debug."""
    start = f"/snapshots/{snapshot_id}/blocks/"
    counts: Counter[int] = Counter()
    for text in log.read_text().splitlines():
        if '"PUT"' in text and start in text:
            counts[int(json.loads(text)["target"].removeprefix(start))] += 1
    return counts


def _lines(taken: Seconds, size_mib: float) -> list[Line]:
    def rates(name: str) -> list[float]:
        return [size_mib / seconds for seconds in taken[name]]

    size = f"{size_mib / 1024:g} GiB" if size_mib >= 1024 else f"{size_mib:g} MiB"
    lines = [
        Line(f"upload of {size}", "MiB/s", rates("upload"), peer=name, peer_values=rates(name), ratio_target=bound)
        for name, (_, bound) in PEERS.items()
        if name in taken
    ]
    lines.append(
        Line(
            f"download of {size}",
            "MiB/s",
            rates("download"),
            peer="upload",
            peer_values=rates("upload"),
            ratio_target=DOWNLOAD_RATIO,
        )
    )
    lines.append(
        Line(
            f"upload again, 1 of {CHANGED_PART} blocks changed and only these sent",
            "MiB/s",
            rates("upload again"),
            peer="first upload",
            peer_values=rates("upload"),
            ratio_target=AGAIN_RATIO,
        )
    )
    return lines
