"""The line to hold puts against: `cp` of an image of the same size and `sync` of the copy, as anybody would do it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from bench.blocks import DistinctBlocks
from bench.report import Line
from bench.run import Run, new_seed, settle

REPEAT_COUNT: Final = 3


def measure(run: Run) -> list[Line]:
    """Copy an image whose bytes are in memory already, as a put's are."""
    count = run.sizes.copy_block_count
    with run.folder("copying") as folder:
        _make_image(folder / "image", count)
        rates = [count / _copy_seconds(folder) for _ in range(REPEAT_COUNT)]
    return [Line(f"cp and sync of {count / 2048:.1f} GiB, as blocks of 512 KiB", "/s", rates)]


def _make_image(image: Path, block_count: int) -> None:
    blocks = DistinctBlocks(new_seed())
    with image.open("wb") as file:
        for number in range(block_count):
            file.writelines(blocks.pieces(number))


def _copy_seconds(folder: Path) -> float:
    copy = folder / "copy"
    settle()
    begun = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", str(folder / "image"), str(copy)], check=True)
    subprocess.run(["sync", str(copy)], check=True)
    seconds = time.perf_counter() - begun
    copy.unlink()
    return seconds
