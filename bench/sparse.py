"""A sparse image of 8 TiB with 1 GiB of data up and down: how long, and with how much memory."""

from __future__ import annotations

from typing import Final

from bench.blocks import BLOCK_SIZE
from bench.images import check_equal, make_sparse
from bench.report import Bound, Line
from bench.run import Run, settle
from bench.snapstone_client import SnapstoneClient
from bench.snapstone_server import SnapstoneServer

TARGET_SECONDS: Final = Bound("<", 60)
TARGET_MIB: Final = Bound("<", 300)


def measure(run: Run) -> list[Line]:
    """Once: what is asked is far from what noise could decide. The downloaded image has to be as sparse."""
    sizes = run.sizes
    with run.folder("sparse") as folder, SnapstoneServer(folder / "data") as server:
        image, copy = folder / "image", folder / "copy"
        make_sparse(image, sizes.sparse_image_gib, sizes.sparse_block_count)
        client = SnapstoneClient(server.endpoint, folder / "state")
        settle()
        up_seconds, snapshot_id, up_mib = client.watched(client.upload_command(image))
        settle()
        down_seconds, _, down_mib = client.watched(client.download_command(snapshot_id, copy))
        check_equal(image, copy)
    data_mib = sizes.sparse_block_count * BLOCK_SIZE // 2**20
    what = f"a sparse image of {sizes.sparse_image_gib:,} GiB with {data_mib:,} MiB of data"
    return [
        Line(f"upload of {what}", "s", [up_seconds], TARGET_SECONDS),
        Line(f"download of {what}", "s", [down_seconds], TARGET_SECONDS),
        Line("peak memory of that upload", "MiB", [up_mib], TARGET_MIB),
        Line("peak memory of that download", "MiB", [down_mib], TARGET_MIB),
    ]
