"""A snapshot as a stream: in order, zeros between, cut at the image's size."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from snapstone.client.events import NullObserver, Tally
from snapstone.client.transfer.folders import Folders
from snapstone.client.transfer.stream_out import write_out
from snapstone.client.transfer.upload import upload
from snapstone.core.blocks import BLOCK_SIZE
from tests.unit.client.transfer.test_upload import MIB, block, image
from tests.unit.client.transfer.two_sides import AnyServer, service_of


@pytest.mark.parametrize("size", [1, BLOCK_SIZE, 4 * MIB, 4 * MIB + 1, 6 * MIB])
def test_it_is_the_image_in_order(server: AnyServer, tmp_path: Path, size: int) -> None:
    blocks = {1: block("a"), 2: block("b"), 8: block("c")}
    whole = b"".join(blocks.get(index, bytes(BLOCK_SIZE)) for index in range(12))
    with service_of(server) as service:
        uploaded = upload(service, image(blocks), state=Folders(tmp_path / "state"))
        path = tmp_path / "out"
        with path.open("wb") as file:
            write_out(service, str(uploaded.snapshot_id), size, file.fileno(), Tally("download"), NullObserver())
    assert path.read_bytes() == whole[:size]


def test_a_reader_that_goes_away_ends_it(server: AnyServer, tmp_path: Path) -> None:
    with service_of(server) as service:
        blocks = {index: block(chr(97 + index)) for index in range(20)}
        uploaded = upload(service, image(blocks), state=Folders(tmp_path / "state"))
        reading, writing = os.pipe()
        os.close(reading)
        before = threading.active_count()
        with pytest.raises(BrokenPipeError):
            write_out(service, str(uploaded.snapshot_id), 20 * BLOCK_SIZE, writing, Tally("download"), NullObserver())
        os.close(writing)
        assert threading.active_count() == before
