"""Images in QEMU's formats, as sources and as targets: qemu-nbd reads and writes them, this is its client."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from snapstone.client.errors import (
    ClientError,
    DamagedError,
    DeniedError,
    NoSpaceError,
    NotFoundError,
    UsageError,
    refusal,
)
from snapstone.client.images import qemu_img
from snapstone.client.images.block_file import block_ranges
from snapstone.client.images.contract import Source, State, Target
from snapstone.client.images.nbd import MAX_STATUS_SIZE, NbdConnection
from snapstone.client.images.nbd_messages import RequestError
from snapstone.client.images.part_file import open_part, publish, start_part_from_copy, take_over_owner
from snapstone.client.images.qemu_img import detect_format
from snapstone.client.images.qemu_nbd import ImageServer
from snapstone.core.blocks import BLOCK_SIZE
from snapstone.system.files import sync_file
from snapstone.system.locks import attempts

__all__ = ["detect_format", "open_qemu_source", "open_qemu_target"]

LOCK_SECONDS: Final = 10.0
"""How long a left-over part may still be locked, by the qemu-nbd of a run that was killed a moment ago."""

_LOCK_POLL_SECONDS: Final = 0.2
_UNFINISHED_SUFFIX: Final = ".new"
"""Behind a part's name while it is made: a part under its own name can be resumed."""


def open_qemu_source(path: str | os.PathLike[str], format: str) -> Source:
    """An image in one of QEMU's formats, with all that it is based on, for reading."""
    return _QemuSource(Path(os.path.realpath(path)), format)


def open_qemu_target(
    path: str | os.PathLike[str],
    size: int,
    *,
    part_name: str,
    force: bool,
    format: str,
    existing: bool = False,
) -> Target:
    """A new image of `size` bytes, written as `part_name` in the same folder, and what an earlier run left there.

    `existing` begins with a copy of the image that is there, enlarged if it is smaller; it stays whole until the
    commit. Otherwise an image that is there is replaced at the commit, and only with `force`.
    """
    absolute = Path(os.path.realpath(path))
    _check_place(absolute, force=force, existing=existing)
    part = absolute.with_name(part_name)
    resumed = os.path.lexists(part)
    try:
        if not resumed:
            _begin_part(absolute, part, format, size, existing=existing)
        with _refused(str(part), "be opened"):
            os.close(open_part(part)[0])
            server = _serve_part(part, format, size, enlarge=existing)
    except ClientError:
        if not resumed:
            part.unlink(missing_ok=True)
        raise
    return _QemuTarget(absolute, part, server, fresh=not existing, resumed=resumed, replace=force or existing)


class _ServedImage:
    """Base of sources and targets: an image, and the qemu-nbd that serves it."""

    def __init__(self, path: Path, server: ImageServer) -> None:
        self.name = str(path)
        self._server = server

    def read(self, block_index: int, into: memoryview) -> None:
        """Fill `into`; zeros behind the end of the image."""
        offset, size = self._place(block_index)
        if size:
            with self._request(offset) as connection:
                connection.read(offset, into[:size])
        if size < BLOCK_SIZE:
            into[size:BLOCK_SIZE] = bytes(BLOCK_SIZE - size)

    def _place(self, block_index: int) -> tuple[int, int]:
        """Byte offset of a block, and how many of its bytes are inside the image."""
        offset = block_index * BLOCK_SIZE
        return offset, max(0, min(BLOCK_SIZE, self._server.size - offset))

    @contextlib.contextmanager
    def _request(self, offset: int) -> Iterator[NbdConnection]:
        """A connection to ask; what qemu-nbd refuses becomes what that means for the image."""
        try:
            with self._server.conversation() as connection:
                yield connection
        except RequestError as error:
            reason = f"{os.strerror(error.number)} ({error.words or 'qemu-nbd gives no details'})"
            text = f"{self.name}: cannot {error.command} at byte {offset}: {reason}"
            if error.number in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(text) from error
            raise (DeniedError if error.number == errno.EPERM else DamagedError)(text) from error


class _QemuSource(_ServedImage):
    """An image that qemu-nbd reads."""

    sequential = False

    def __init__(self, path: Path, image_format: str) -> None:
        self._files = qemu_img.files_of(path, image_format)
        super().__init__(path, ImageServer(path, image_format, writable=False))
        self.size = self._server.size

    def ranges(self) -> Iterator[range]:
        """From block status. What has no place of its own in the image, but need not read as zeros, counts as data."""
        return block_ranges(self._stretches())

    def state(self) -> State:
        """Of every file that bytes come from: which it is, its size, and when it was written to."""
        return {str(file): _file_facts(file) for file in self._files}

    def close(self) -> None:
        """End qemu-nbd."""
        self._server.end()

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Byte offsets, from and to, of what does not read as zeros for sure: ascending."""
        offset = 0
        while offset < self.size:
            with self._request(offset) as connection:
                extents = connection.extents(offset, min(MAX_STATUS_SIZE, self.size - offset))
            for extent in extents:
                end = min(offset + extent.size, self.size)
                if not extent.reads_zeros and end > offset:
                    yield offset, end
                offset = end


class _QemuTarget(_ServedImage):
    """An image that qemu-nbd writes, under its temporary name."""

    fixed_places = False
    """The tables that lead to the blocks were written too, and cannot be rewritten here."""

    def __init__(
        self, path: Path, part: Path, server: ImageServer, *, fresh: bool, resumed: bool, replace: bool
    ) -> None:
        super().__init__(path, server)
        self.fresh = fresh
        self.resumed = resumed
        """Whether an earlier run left something here."""
        self._path = path
        self._part = part
        self._replace = replace

    def write(self, block_index: int, block: memoryview) -> None:
        """Write the part of a block that is inside the image; DamagedError for anything but zeros outside."""
        offset, size = self._place(block_index)
        if bytes(block[size:]).strip(b"\0"):
            raise DamagedError(
                f"block {block_index} holds data past the end of {self.name}, which is {self._server.size} bytes: "
                "the target is too small, or the block does not belong there"
            )
        if size:
            with self._request(offset) as connection:
                connection.write(offset, block[:size])

    def write_zeros(self, block_index: int) -> None:
        """Give the block's space back, if the format can."""
        offset, size = self._place(block_index)
        if size:
            with self._request(offset) as connection:
                connection.write_zeros(offset, size)

    def sync(self) -> None:
        """Flush: blocks, and the tables that lead to them."""
        with self._request(0) as connection:
            connection.flush()

    def commit(self) -> None:
        """Flush, close the image, and give it its name."""
        try:
            self.sync()
        finally:
            trouble = self._server.end()
        if trouble is not None:
            raise ClientError(f"qemu-nbd did not close {self._part} properly: {trouble}")
        with _refused(str(self._part), "be made durable"):
            if self._replace:
                self._take_over_owner()
            sync_file(self._part)
        publish(self._part, self._path, replace=self._replace)

    def leave(self) -> None:
        """Keep the part."""
        self._server.end()

    def discard(self) -> None:
        """Remove the part."""
        self._server.end()
        with _refused(str(self._part), "be removed"):
            self._part.unlink(missing_ok=True)

    def _take_over_owner(self) -> None:
        descriptor = os.open(self._part, os.O_RDONLY | os.O_CLOEXEC)
        try:
            take_over_owner(descriptor, self._path)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _refused(name: str, action: str) -> Iterator[None]:
    """Turn an OSError in the block into a ClientError."""
    try:
        yield
    except OSError as error:
        raise refusal(error, name, action) from error


def _file_facts(file: Path) -> list[int]:
    with _refused(str(file), "be examined"):
        found = file.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _check_place(path: Path, *, force: bool, existing: bool) -> None:
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file: images in QEMU's formats are written to files only")
    if existing and not path.exists():
        raise NotFoundError(f"{path} does not exist; --from needs the image that it updates")
    if path.exists() and not force and not existing:
        raise UsageError(f"{path} already exists; use --force to replace it")


def _begin_part(path: Path, part: Path, image_format: str, size: int, *, existing: bool) -> None:
    """Make the part, whole or not at all."""
    if existing:
        qemu_img.check_single(path, image_format)
        start_part_from_copy(path, part)
        return
    unfinished = part.with_name(part.name + _UNFINISHED_SUFFIX)
    with _refused(str(unfinished), "be made"):
        try:
            unfinished.unlink(missing_ok=True)
            qemu_img.create(unfinished, image_format, size)
            unfinished.rename(part)
        finally:
            unfinished.unlink(missing_ok=True)


def _serve_part(part: Path, image_format: str, size: int, *, enlarge: bool) -> ImageServer:
    """Open the part, waiting a little if it is locked; its size is checked."""
    wanted_size = qemu_img.whole_sectors(size)
    in_use: qemu_img.ImageInUseError | None = None
    for _ in attempts(LOCK_SECONDS, _LOCK_POLL_SECONDS):
        try:
            if enlarge and qemu_img.size_of(part, image_format) < wanted_size:
                qemu_img.enlarge(part, image_format, wanted_size)
            server = ImageServer(part, image_format, writable=True)
            break
        except qemu_img.ImageInUseError as error:
            in_use = error
    else:
        raise UsageError(f"another process is writing {part}; wait for it or stop it") from in_use
    if server.size != wanted_size:
        server.end()
        raise UsageError(
            f"the image in {part} has {server.size} bytes, but {size} are to be written: "
            "choose another image, or remove that file to start over"
        )
    return server
