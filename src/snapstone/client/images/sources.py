"""Which source a path means: standard input, a block device, a raw file, an image in one of QEMU's formats.

Standard input is read once, front to back, up to a size that was given beforehand.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from snapstone.client.errors import UsageError, refusal
from snapstone.client.images.block_file import RawSource, block_count_of
from snapstone.client.images.contract import Source, State
from snapstone.client.images.device import DeviceSource
from snapstone.client.images.qemu import detect_format, open_qemu_source
from snapstone.client.images.qemu_img import check_self_contained
from snapstone.core.blocks import BLOCK_SIZE

RANGE_BLOCK_COUNT: Final = 128
"""Blocks in one of the ranges that a stream names: 64 MiB. They touch; where the stream ends, no more follow."""


class StreamSource:
    """Owns an open descriptor, read in order. Where it ends early zeros follow; it must not be longer than said."""

    sequential = True

    def __init__(self, fd: int, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._fd = fd
        self._next_index = 0
        self._ended = False
        self._lock = threading.Lock()

    def ranges(self) -> Iterator[range]:
        """All blocks, a few at a time, for as long as the stream has not ended."""
        block_count = block_count_of(self.size)
        for start in range(0, block_count, RANGE_BLOCK_COUNT):
            if self._ended:
                return
            yield range(start, min(start + RANGE_BLOCK_COUNT, block_count))

    def read(self, block_index: int, into: memoryview) -> None:
        """Fill `into` with the next block; blocks that are left out are read and thrown away.

        Raises UsageError for a block that has gone by, and where the stream goes on past its size.
        """
        with self._lock:
            if block_index < self._next_index:
                raise UsageError(
                    f"block {block_index} of {self.name} was already read: a stream is read once, in order"
                )
            while self._next_index <= block_index:
                self._read_next(into)

    def state(self) -> State:
        """Nothing can be known."""
        return {}

    def close(self) -> None:
        """Close the descriptor; again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_next(self, into: memoryview) -> None:
        wanted_size = max(0, min(BLOCK_SIZE, self.size - self._next_index * BLOCK_SIZE))
        got_size = self._fill(into[:wanted_size])
        into[got_size:] = bytes(len(into) - got_size)
        self._next_index += 1
        if self._next_index >= block_count_of(self.size) and self._fill(memoryview(bytearray(1))):
            raise UsageError(f"{self.name} has more than the {self.size} bytes given as its size; give its full size")

    def _fill(self, into: memoryview) -> int:
        got_size = 0
        while got_size < len(into) and not self._ended:
            try:
                count = os.readv(self._fd, [into[got_size:]])
            except OSError as error:
                raise refusal(error, self.name, "be read") from error
            self._ended = count == 0
            got_size += count
        return got_size


RAW: Final = "raw"
STREAM: Final = "-"
_STANDARD_INPUT: Final = 0


def open_source(path: str | os.PathLike[str], *, format: str | None = None, size: int | None = None) -> Source:
    """Open an image for reading.

    `-` is standard input, which needs `size` if it is not a file. Format None tells a file's format by its first bytes,
    `raw` takes them as they are: right for a raw disk that somebody else may have written a head of qcow2 to. So an
    image that refers to other files is read only where its format is said.
    A device is raw unless another format is said.

    Raises UsageError, NotFoundError, DeniedError.
    """
    if os.fspath(path) == STREAM:
        return _open_stream(format, size)
    name = os.path.abspath(path)
    try:
        mode = os.stat(name).st_mode
        _check_kind(name, mode)
        image_format = detect_format(name) if format is None and stat.S_ISREG(mode) else format
        if image_format not in (None, RAW):
            if format is None:
                check_self_contained(Path(os.path.realpath(name)), image_format)
            source = open_qemu_source(name, image_format)
        else:
            source = _open_plain(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), name)
    except OSError as error:
        raise refusal(error, name, "be opened for reading") from error
    if size is not None and size != source.size:
        source.close()
        raise UsageError(f"{name} has {source.size} bytes, not {size}; a size is given only for standard input")
    return source


Image = str | os.PathLike[str] | Source
"""A path (`-` is standard input), or a source that somebody else opened and closes."""


@contextmanager
def opened_image(image: Image, *, format: str | None = None, size: int | None = None) -> Iterator[Source]:
    """The source of an image, closed at the end if it was opened here. Raises as `open_source`."""
    if not isinstance(image, str | os.PathLike):
        if format is not None or size is not None:
            raise UsageError(f"{image.name} is open already, with its own format and size")
        yield image
        return
    source = open_source(image, format=format, size=size)
    try:
        yield source
    finally:
        source.close()


def _open_plain(fd: int, name: str) -> Source:
    """A source that owns the descriptor."""
    try:
        mode = os.fstat(fd).st_mode
        _check_kind(name, mode)
        return DeviceSource(fd, name) if stat.S_ISBLK(mode) else RawSource(fd, name)
    except BaseException:
        os.close(fd)
        raise


def _open_stream(format: str | None, size: int | None) -> Source:
    if format not in (None, RAW):
        raise UsageError(f"standard input is always read as raw; write it to a file to read it as {format}")
    if size is not None and size < 1:
        raise UsageError(f"standard input cannot have a size of {size} bytes")
    try:
        fd = os.dup(_STANDARD_INPUT)
    except OSError as error:
        raise refusal(error, "standard input", "be read") from error
    if size is not None:
        return StreamSource(fd, STREAM, size)
    if _is_unread_image(fd):
        return _open_plain(fd, STREAM)
    os.close(fd)
    raise UsageError("--size is required when reading standard input")


def _is_unread_image(fd: int) -> bool:
    """Whether a file or a device was given as standard input, and nobody has read from it yet."""
    mode = os.fstat(fd).st_mode
    return (stat.S_ISREG(mode) or stat.S_ISBLK(mode)) and os.lseek(fd, 0, os.SEEK_CUR) == 0


def _check_kind(name: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UsageError(f"{name} is a directory; an image is a file, a block device or standard input (-)")
    if stat.S_ISFIFO(mode):
        raise UsageError(f"{name} is a pipe; pass it on standard input with its size: upload - --size SIZE < {name}")
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise UsageError(f"{name} is neither a file nor a block device")
