"""What the operating system's refusals mean to a caller: an OSError becomes a member of the client's family."""

from __future__ import annotations

import errno
import os
from typing import Final

from snapstone.client.errors import ClientError, DamagedError, DeniedError, NoSpaceError, NotFoundError, UsageError

_KINDS: Final[dict[int, type[ClientError]]] = {
    errno.ENOENT: NotFoundError,
    errno.ENOTDIR: NotFoundError,
    errno.ENXIO: NotFoundError,
    errno.ENODEV: NotFoundError,
    errno.ENOMEDIUM: NotFoundError,
    errno.EACCES: DeniedError,
    errno.EPERM: DeniedError,
    errno.EROFS: DeniedError,
    errno.ENOSPC: NoSpaceError,
    errno.EDQUOT: NoSpaceError,
    errno.EBUSY: UsageError,
    errno.EFBIG: UsageError,
    errno.EISDIR: UsageError,
    errno.ELOOP: UsageError,
    errno.ENAMETOOLONG: UsageError,
    errno.ETXTBSY: UsageError,
    errno.EIO: DamagedError,
    errno.EBADMSG: DamagedError,
    errno.EUCLEAN: DamagedError,
    errno.EILSEQ: DamagedError,
}

_ADVICE: Final[dict[int, str]] = {
    errno.EACCES: "run it as a user who may, or give that user the right",
    errno.EROFS: "it can only be read; write elsewhere",
    errno.ENOSPC: "make room and run the same command again: it goes on where it ended",
    errno.EDQUOT: "the quota is used up; make room and run the same command again: it goes on where it ended",
    errno.EBUSY: "something on this machine holds it; `lsblk` and `fuser -v` show what",
    errno.EFBIG: "the file system, or the limit of this process (`ulimit -f`), does not allow a file of that size",
    errno.EIO: "the disk reports that it cannot; `dmesg` has the cause",
}


def refusal(error: OSError, name: str, action: str) -> ClientError:
    """What to raise for an OSError that came up in an action (`be read`, `be opened`) on something called `name`."""
    code = error.errno or 0
    cause = os.strerror(code) if code else str(error)
    advice = _ADVICE.get(code)
    text = f"{name} cannot {action}: {cause}" + (f" ({advice})" if advice else "")
    return _KINDS.get(code, ClientError)(text)
