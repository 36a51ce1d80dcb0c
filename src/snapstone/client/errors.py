"""Errors of the client: one family, with a class for each failure that callers and exit codes distinguish.

An OSError becomes a member of the family if it is met.
"""

from __future__ import annotations

import errno
import os
from typing import ClassVar, Final


class ClientError(Exception):
    """Base class. The text states what went wrong, which value, and what to do about it."""

    resumable: ClassVar[bool] = False
    """True if repeating the same call resumes."""


class UsageError(ClientError):
    """Invalid request: conflicting values, or a target that must not be overwritten."""


class NotFoundError(ClientError):
    """No such snapshot at the endpoint, or no such file."""


class DeniedError(ClientError):
    """Denied by the endpoint or the operating system; retrying does not help."""


class ExpiredCredentialsError(DeniedError):
    """The credentials have expired, or the clock is wrong: log in again or set the clock, then resume."""

    resumable = True


class ThrottledOutError(ClientError):
    """The endpoint throttled a request for longer than the time budget."""

    resumable = True


class UnreachableError(ClientError):
    """No answer, broken connections or server faults for longer than the time budget."""

    resumable = True


class StalledError(ClientError):
    """No block completed within the stall limit."""

    resumable = True


class InterruptedTransferError(ClientError):
    """Interrupted by the user (Ctrl-C, SIGTERM)."""

    resumable = True


class DamagedError(ClientError):
    """Bytes do not match their checksum, locally or at the endpoint."""


class SourceChangedError(ClientError):
    """The source was written to while it was read: what was read is not a state that it ever had."""


class NoSpaceError(ClientError):
    """Not enough space to write."""

    resumable = True


class RemoteError(ClientError):
    """Any other refusal by the endpoint; the text has its code, message and request id."""

    def __init__(self, message: str, code: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        """The reason that the EBS direct APIs give in addition to the code, such as `INVALID_BLOCK_TOKEN`."""


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
    errno.EACCES: "run it as a user with permission, or grant it",
    errno.EROFS: "it is read-only; write elsewhere",
    errno.ENOSPC: "free some space and run the same command to resume",
    errno.EDQUOT: "the quota is used up; free some space and run the same command to resume",
    errno.EBUSY: "it is in use; `lsblk` and `fuser -v` show by what",
    errno.EFBIG: "the file system, or the limit of this process (`ulimit -f`), does not allow a file of that size",
    errno.EIO: "the disk reports an error; `dmesg` has the cause",
}


def refusal(error: OSError, name: str, action: str) -> ClientError:
    """The error to raise for an OSError during an action (`be read`, `be opened`) on `name`."""
    code = error.errno or 0
    cause = os.strerror(code) if code else str(error)
    advice = _ADVICE.get(code)
    text = f"{name} cannot {action}: {cause}" + (f" ({advice})" if advice else "")
    return _KINDS.get(code, ClientError)(text)
