"""What ends the client's work: one family, each member a kind of end that a caller, or an exit code, tells apart."""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """Root of the family. The text says what went wrong, with which value, and what to do about it."""

    resumable: ClassVar[bool] = False
    """Whether the same call, made again, goes on where this one ended."""


class UsageError(ClientError):
    """Asked for what cannot be done: values that do not go together, a target that must not be overwritten."""


class NotFoundError(ClientError):
    """The endpoint knows no such snapshot, or the machine no such file."""


class DeniedError(ClientError):
    """The endpoint, or the operating system, does not permit it; trying again does not help."""


class ExpiredCredentialsError(DeniedError):
    """The credentials' time is over, or the clock is wrong: log in again, or set it, and go on."""

    resumable = True


class ThrottledOutError(ClientError):
    """The endpoint throttled a request for longer than the time budget."""

    resumable = True


class UnreachableError(ClientError):
    """No answer, broken connections or server faults for longer than the time budget."""

    resumable = True


class StalledError(ClientError):
    """No block was finished for longer than the stall limit."""

    resumable = True


class InterruptedTransferError(ClientError):
    """Somebody asked for the end (Ctrl-C, SIGTERM)."""

    resumable = True


class DamagedError(ClientError):
    """Bytes are not what their checksum says, here or there."""


class SourceChangedError(ClientError):
    """The source was written to while it was read: what was read is no state that it ever had."""


class NoSpaceError(ClientError):
    """There is no room for what is to be written."""

    resumable = True


class RemoteError(ClientError):
    """The endpoint refused for a reason of its own; the text has its code, message and request id."""

    def __init__(self, message: str, code: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        """What the EBS direct APIs give beside the code, such as `INVALID_BLOCK_TOKEN`."""
