"""Images for tests, made and read by QEMU's own tools."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from snapstone.client.images.contract import Source
from snapstone.core.blocks import BLOCK_SIZE

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-nbd") is None or shutil.which("qemu-img") is None, reason="qemu-utils is not installed"
)


def tool(*command: str | Path) -> str:
    """The output of a command, which has to end well."""
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def raw_disk(path: Path, size: int, seed: int = 1, stretches: int = 30) -> Path:
    """A sparse raw disk with random stretches of random bytes."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(size)
        for _ in range(stretches):
            length = chance.randrange(1, 200_000)
            file.seek(chance.randrange(max(1, size - length)))
            file.write(chance.randbytes(min(length, size)))
    return path


def convert(raw: Path, image: Path, image_format: str, *options: str) -> Path:
    """An image in one of QEMU's formats, with the content of a raw disk."""
    tool("qemu-img", "convert", "-f", "raw", "-O", image_format, *options, raw, image)
    return image


def raw_bytes(image: Path, image_format: str) -> bytes:
    """What qemu-img takes an image for."""
    raw = image.with_name(image.name + ".as-raw")
    tool("qemu-img", "convert", "-f", image_format, "-O", "raw", image, raw)
    content = raw.read_bytes()
    raw.unlink()
    return content


def source_bytes(source: Source) -> bytes:
    """A source, read as an upload reads it: blocks of its ranges, the rest zeros."""
    content = bytearray(source.size)
    block = memoryview(bytearray(BLOCK_SIZE))
    end = 0
    for found in source.ranges():
        assert found.start > end or (found.start == 0 == end), "ranges ascend, and do not touch"
        assert found
        end = found.stop
        for block_index in found:
            block[:] = b"\xee" * BLOCK_SIZE
            source.read(block_index, block)
            inside = min(BLOCK_SIZE, source.size - block_index * BLOCK_SIZE)
            content[block_index * BLOCK_SIZE : block_index * BLOCK_SIZE + inside] = block[:inside]
            assert not any(block[inside:]), "zeros behind the end"
    return bytes(content)
