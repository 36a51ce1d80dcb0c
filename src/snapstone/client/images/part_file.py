"""The part file: where an image grows, next to its final name, until it is complete.

Only one process works on it at a time (flock). It stays when work ends unfinished, and a later run resumes from it. An
increment is applied to a copy of the old image, which shares the original's blocks if the file system can (XFS, Btrfs),
so the old image stays whole until the new one is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from snapstone.client.errors import DeniedError, NoSpaceError, SourceChangedError, UsageError, refusal
from snapstone.client.images import linux
from snapstone.client.images.block_file import BlockFile, data_extents
from snapstone.system.files import is_at, sync_folder
from snapstone.system.locks import try_lock


def check_space(path: str | os.PathLike[str], needed_bytes: int) -> None:
    """Raise NoSpaceError if the file system that `path` is or will be on has fewer than this many bytes free."""
    folder = Path(os.path.abspath(path))
    if not folder.is_dir():
        folder = folder.parent
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise refusal(error, str(folder), "be queried for its free space") from error
    free_blocks = room.f_bfree if os.geteuid() == 0 else room.f_bavail
    free_bytes = free_blocks * room.f_frsize
    if free_bytes < needed_bytes:
        raise NoSpaceError(
            f"{folder} has {free_bytes} bytes free, but {path} needs {needed_bytes}: "
            f"free {needed_bytes - free_bytes} more, or choose another directory"
        )


STEP_SIZE: Final = 256 << 20
"""Bytes of one copy_file_range, so that a Ctrl-C is heard between two."""

_PLAIN_STEP_SIZE: Final = 1 << 20
_NOT_BY_THE_KERNEL: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL})
"""Errors of a kernel or file system that cannot copy by itself."""


def copy_file(original: Path, copy: Path) -> None:
    """Make `copy`, which must not exist, and make it durable, but not its name.

    Raises SourceChangedError if the original becomes shorter, and OSError: then the copy is to be removed.
    """
    with original.open("rb") as source, copy.open("xb") as target:
        found = os.fstat(source.fileno())
        os.fchmod(target.fileno(), found.st_mode & 0o7777)
        if not linux.clone_file(source.fileno(), target.fileno()):
            os.ftruncate(target.fileno(), found.st_size)
            for offset, end in data_extents(source.fileno(), found.st_size):
                if not _copy_range(source.fileno(), target.fileno(), offset, end):
                    now = os.fstat(source.fileno()).st_size
                    raise SourceChangedError(
                        f"{original} has {now} bytes now, but had {found.st_size} when its copy began"
                    )
        os.fsync(target.fileno())


def _copy_range(source: int, target: int, offset: int, end: int) -> bool:
    """Whether there was all of it to copy."""
    while offset < end:
        count = _copy_some(source, target, offset, end - offset)
        if count == 0:
            return False
        offset += count
    return True


def _copy_some(source: int, target: int, offset: int, size: int) -> int:
    """Copy up to `size` bytes; how many."""
    try:
        return os.copy_file_range(source, target, min(STEP_SIZE, size), offset, offset)
    except OSError as error:
        if error.errno not in _NOT_BY_THE_KERNEL:
            raise
    return os.pwrite(target, os.pread(source, min(_PLAIN_STEP_SIZE, size), offset), offset)


_UNFINISHED_SUFFIX: Final = ".copy"
_SECTOR_SIZE: Final = 512
"""The unit of `st_blocks`, whatever the file system's block size."""


def start_part_from_copy(image: Path, part: Path) -> None:
    """Make a part that is a copy of an image: sharing its bytes if the file system can, else sparse as it is.

    Raises NoSpaceError beforehand if the copy has no room.
    """
    unfinished = part.with_name(part.name.removesuffix(".part") + _UNFINISHED_SUFFIX)
    try:
        unfinished.unlink(missing_ok=True)
        if not _clone(image, unfinished):
            unfinished.unlink(missing_ok=True)
            check_space(part, os.stat(image).st_blocks * _SECTOR_SIZE)
            copy_file(image, unfinished)
        os.rename(unfinished, part)
        sync_folder(part.parent)
    except OSError as error:
        raise refusal(error, str(image), f"be copied to {part}, to which the changes are applied") from error
    finally:
        unfinished.unlink(missing_ok=True)  # also if somebody requested a stop


def _clone(image: Path, copy: Path) -> bool:
    with image.open("rb") as source, copy.open("xb") as target:
        cloned = linux.clone_file(source.fileno(), target.fileno())
        os.fsync(target.fileno())
    return cloned


MAX_NAME_SIZE: Final = 255
"""Bytes of a file name, on every file system that matters here."""

_DIGEST_SIZE: Final = 8
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of a network file system without locks; work continues without a lock."""

_MAX_OPENINGS: Final = 100
"""Times that a part may vanish just before it is locked, because another process had finished it that moment."""


def part_path(path: Path, part_name: str) -> Path:
    """`.NAME.part_name.part` in the same folder; a name that gets too long is replaced by its hash."""
    name = f".{path.name}.{part_name}.part"
    if len(os.fsencode(name)) > MAX_NAME_SIZE:
        short = hashlib.blake2b(os.fsencode(f"{path.name}.{part_name}"), digest_size=_DIGEST_SIZE).hexdigest()
        name = f".{short}.part"
    return path.with_name(name)


def open_part(part: Path) -> tuple[int, bool]:
    """Open and lock a part file, created if there is none; returns whether it existed.

    Raises UsageError if another process works on it, and DeniedError if it is not this user's own file.
    """
    for _ in range(_MAX_OPENINGS):
        fd, existed = _open_or_create(part)
        try:
            if existed:
                _check_own(fd, part)
            _lock(fd, part)
        except BaseException:
            os.close(fd)
            raise
        if is_at(part, fd):
            return fd, existed
        os.close(fd)
    raise UsageError(f"{part} appears and disappears: another process is using that name")


def publish(part: Path, path: Path, *, replace: bool) -> None:
    """Give a part, which has been synced, the name of the image, durably.

    Raises UsageError if that name is taken and not to be replaced.
    """
    try:
        if replace:
            os.rename(part, path)
        else:
            _rename_to_free_name(part, path)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise UsageError(
            f"{path} was created in the meantime; the complete image stays in {part}: "
            "run the same command with --force to replace it"
        ) from error
    except OSError as error:
        raise refusal(error, str(path), "be renamed") from error


def restrict_like(fd: int, path: Path) -> None:
    """Restrict reading of a part file like that of the file it will replace; its owner can still write to it."""
    with suppress(OSError):
        os.fchmod(fd, stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode) & 0o777 | 0o600)


def take_over_owner(fd: int, path: Path) -> None:
    """Give an open file the owner (if permitted) and the permissions of a file that it will replace."""
    with suppress(OSError):
        status = os.stat(path, follow_symlinks=False)
        with suppress(PermissionError):
            os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & 0o777)


def _open_or_create(part: Path) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(part, flags | os.O_CREAT | os.O_EXCL, 0o666), False
    except FileExistsError:
        return _open_left(part, flags), True
    except OSError as error:
        raise refusal(error, str(part), "be made") from error


def _open_left(part: Path, flags: int) -> int:
    try:
        return os.open(part, flags)
    except OSError as error:
        raise refusal(error, str(part), "be opened to resume an earlier run") from error


def _check_own(fd: int, part: Path) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{part} is not a file and is in the way; remove it")
    if status.st_uid != os.geteuid() and _may_be_put_there_by_others(part.parent):
        raise DeniedError(f"{part} belongs to another user, who could change what is written; remove it")
    if status.st_nlink != 1:
        raise UsageError(f"{part} has a second name (hard link) and is in the way; remove it")


def _may_be_put_there_by_others(folder: Path) -> bool:
    """If only one user can make files, a foreign owner is how the file system shows him (NFS, SMB, FAT)."""
    return bool(stat.S_IMODE(os.stat(folder).st_mode) & 0o022)


def _lock(fd: int, part: Path) -> None:
    try:
        locked = try_lock(fd)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise refusal(error, str(part), "be locked") from error
    else:
        if not locked:
            raise UsageError(f"another process is writing {part}; wait for it or stop it")


def _rename_to_free_name(part: Path, path: Path) -> None:
    if linux.rename_if_absent(str(part), str(path)):
        return
    if os.path.lexists(path):
        raise FileExistsError(str(path))
    os.rename(part, path)


class FileTarget:
    """Owns the open and locked part file, which has its full size already, as one hole or as a copy of the old image.

    `fresh` holds for a part that is resumed, too: an earlier run wrote there blocks of the same image, or nothing.
    """

    fixed_places = True

    def __init__(
        self, fd: int, part: Path, path: Path, size: int, *, fresh: bool, resumed: bool, replace: bool
    ) -> None:
        self.name = str(path)
        self.fresh = fresh
        self.resumed = resumed
        """Whether an earlier run left something here."""
        self._part = part
        self._path = path
        self._replace = replace
        self._file = BlockFile(fd, str(part), size, trust_cache=True)

    def write(self, block_index: int, block: memoryview) -> None:
        """Write a block."""
        self._file.write(block_index, block)

    def write_zeros(self, block_index: int) -> None:
        """Make a block a hole."""
        self._file.zero(block_index)

    def read(self, block_index: int, into: memoryview) -> None:
        """The part file's current content."""
        self._file.read(block_index, into)

    def sync(self) -> None:
        """Everything written so far is durable, in the part."""
        self._file.sync()

    def commit(self) -> None:
        """Make it durable, then give it its name. If either fails the part stays."""
        try:
            if self._replace:
                take_over_owner(self._file.fd, self._path)
            self._file.sync()
            publish(self._part, self._path, replace=self._replace)
        finally:
            self._file.close()

    def leave(self) -> None:
        """Close the part; it stays."""
        self._file.close()

    def discard(self) -> None:
        """Remove the part, while it is still locked. After a commit, even one that failed, there is nothing to do."""
        if self._file.fd < 0:
            return
        try:
            self._part.unlink(missing_ok=True)
        finally:
            self._file.close()
