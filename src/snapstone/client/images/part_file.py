"""The part file: where an image grows, beside the name that it will have, until it is whole.

Only one process works on it at a time (flock). It stays when work ends unfinished, and is what a later run resumes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from snapstone.client.durable import sync_folder
from snapstone.client.errors import DeniedError, UsageError
from snapstone.client.images import kernel
from snapstone.client.images.refusals import refusal

MAX_NAME_SIZE: Final = 255
"""Bytes of a file name, on every file system that matters here."""

_DIGEST_SIZE: Final = 8
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What a network's file system answers that has no locks: work goes on without."""

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
    """Open and lock a part, made anew where there is none; whether it was there already.

    Raises UsageError where another process works on it, and DeniedError where it is not this user's own file.
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
        if _is_at(fd, part):
            return fd, existed
        os.close(fd)
    raise UsageError(f"{part} comes and goes: another process works under that name")


def publish(part: Path, path: Path, *, replace: bool) -> None:
    """Give a part, which has been synced, the name of the image, durably.

    Raises UsageError where that name is taken and not to be replaced.
    """
    try:
        if replace:
            os.rename(part, path)
        else:
            _rename_to_free_name(part, path)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise UsageError(
            f"{path} has come to be in the meantime; what was to get that name is whole and stays as {part}: "
            "the same command with --force replaces it"
        ) from error
    except OSError as error:
        raise refusal(error, str(path), "get its name") from error


def restrict_like(fd: int, path: Path) -> None:
    """Let nobody read a part who may not read the file that it will replace; its owner can go on writing to it."""
    with suppress(OSError):
        os.fchmod(fd, stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode) & 0o777 | 0o600)


def take_over_owner(fd: int, path: Path) -> None:
    """Give an open file the owner, as far as this user may, and the permissions of a file that it will replace."""
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
        raise refusal(error, str(part), "be opened, to go on with what an earlier run left") from error


def _check_own(fd: int, part: Path) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{part} is no file, and is in the way of what is to be written: remove it")
    if status.st_uid != os.geteuid() and _may_be_put_there_by_others(part.parent):
        raise DeniedError(f"{part} belongs to another user, who could change what is written: remove it")
    if status.st_nlink != 1:
        raise UsageError(f"{part} is a file that has another name too, and is in the way: remove it")


def _may_be_put_there_by_others(folder: Path) -> bool:
    """Where only one user can make files, a foreign owner is how the file system shows him (NFS, SMB, FAT)."""
    return bool(stat.S_IMODE(os.stat(folder).st_mode) & 0o022)


def _lock(fd: int, part: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(f"another process is writing {part}: wait for it, or end it") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise refusal(error, str(part), "be locked") from error


def _is_at(fd: int, part: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(fd), os.stat(part, follow_symlinks=False))
    return False


def _rename_to_free_name(part: Path, path: Path) -> None:
    if kernel.rename_if_absent(str(part), str(path)):
        return
    if os.path.lexists(path):
        raise FileExistsError(str(path))
    os.rename(part, path)
