"""One run of the benchmark: how large everything is, where it may write, and the servers that its measures share."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.peers import MotoServer


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each measure does."""

    repeat_count: int
    put_count: int
    """Blocks of one put load on Snapstone, each 512 KiB."""
    get_pass_count: int
    peer_count: int
    """Blocks of one load on the peer, which is slower and keeps them in memory."""
    memory_block_count: int
    """Blocks put before the server's memory is read."""
    large_volume_gib: int
    small_volume_gib: int
    change_count: int
    listing_repeat_count: int
    seal_count: int
    snapshot_count: int
    crashed_put_count: int
    """Blocks of each connection to a server that is then killed."""
    copy_block_count: int
    image_block_count: int
    """Blocks of the image that the client and its peers move."""
    sparse_image_gib: int
    sparse_block_count: int
    """Blocks of data in the sparse image."""
    throttled_put_count: int
    """Puts under a quota."""


FULL = Sizes(
    repeat_count=5,
    put_count=2048,
    get_pass_count=2,
    peer_count=512,
    memory_block_count=8192,
    large_volume_gib=16_384,
    small_volume_gib=16,
    change_count=1000,
    listing_repeat_count=31,
    seal_count=10_000,
    snapshot_count=1000,
    crashed_put_count=30,
    copy_block_count=8192,
    image_block_count=4096,
    sparse_image_gib=8192,
    sparse_block_count=2048,
    throttled_put_count=2000,
)

QUICK = Sizes(
    repeat_count=2,
    put_count=128,
    get_pass_count=1,
    peer_count=48,
    memory_block_count=256,
    large_volume_gib=64,
    small_volume_gib=16,
    change_count=100,
    listing_repeat_count=5,
    seal_count=300,
    snapshot_count=30,
    crashed_put_count=4,
    copy_block_count=128,
    image_block_count=100,
    sparse_image_gib=64,
    sparse_block_count=40,
    throttled_put_count=300,
)


class Run:
    """What the measures of one run share; `close` stops the peer."""

    def __init__(self, sizes: Sizes, scratch: Path, *, with_peer: bool, before: Path | None = None) -> None:
        self.sizes = sizes
        self.before = before
        """Another checkout, whose server this one's is held against."""
        self.scratch = scratch
        self.with_peer = with_peer
        self._moto: MotoServer | None = None

    def moto(self) -> MotoServer | None:
        """The peer, started at its first use and empty; None if the run goes without."""
        if not self.with_peer:
            return None
        if self._moto is None:
            self._moto = MotoServer(peers.prepare(), self.scratch)
        self._moto.reset()
        return self._moto

    def stop_moto(self) -> None:
        """Stop the peer; a later measure starts it again."""
        if self._moto is not None:
            self._moto.process.stop()
            self._moto = None

    @contextlib.contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """An empty folder for one measure, removed with all in it afterwards."""
        path = self.scratch / name
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)


def new_seed() -> int:
    """A seed that no earlier load had: its blocks are new to every server."""
    return random.SystemRandom().getrandbits(63)


def settle() -> None:
    """Let what was written before reach the disk, so that the next measure does not wait for it."""
    os.sync()
    time.sleep(0.2)
