"""The one family of errors: what went wrong, with its facts as fields. How each is said on a wire is wire's affair."""

from __future__ import annotations

from dataclasses import dataclass


class SnapstoneError(Exception):
    """Root of the family. Every member is a dataclass whose fields are the facts."""


@dataclass(eq=False)
class SnapshotNotFoundError(SnapstoneError):
    """No snapshot that the caller may see has this id (or one of these two)."""

    snapshot_ids: tuple[str, ...]


@dataclass(eq=False)
class ParentNotCompleteError(SnapstoneError):
    """The parent named in StartSnapshot is still pending."""

    snapshot_id: str


@dataclass(eq=False)
class SnapshotAlreadyCompletedError(SnapstoneError):
    """A write came for a snapshot that is sealing or completed."""

    snapshot_id: str


@dataclass(eq=False)
class FirstSnapshotMissingError(SnapstoneError):
    """ListChangedBlocks without a first snapshot."""


@dataclass(eq=False)
class UnrelatedSnapshotsError(SnapstoneError):
    """The two snapshots of a comparison are not of one lineage."""

    first_snapshot_id: str
    second_snapshot_id: str


@dataclass(eq=False)
class InvalidVolumeSizeError(SnapstoneError):
    """A volume size outside 1 to 65,536 GiB, or smaller than the parent's."""

    message: str


@dataclass(eq=False)
class InvalidParameterError(SnapstoneError):
    """A parameter's value, or parameters that do not go together."""

    message: str


@dataclass(eq=False)
class InvalidTagError(SnapstoneError):
    """A tag that AWS would refuse."""

    message: str


@dataclass(eq=False)
class InvalidBlockError(SnapstoneError):
    """A block index beyond the volume, or a block of another size than 524,288 bytes."""

    message: str


@dataclass(eq=False)
class BlockChecksumMismatchError(SnapstoneError):
    """The bytes received are not those that the checksum names."""

    computed: str
    expected: str


@dataclass(eq=False)
class InvalidContentEncodingError(SnapstoneError):
    """A block sent with a Content-Encoding."""

    content_encoding: str


@dataclass(eq=False)
class WriteTimedOutError(SnapstoneError):
    """The client stopped sending a block's bytes."""

    seconds: float


@dataclass(eq=False)
class InvalidBlockTokenError(SnapstoneError):
    """A block token that is forged, expired, or of another snapshot or index."""

    token: str


@dataclass(eq=False)
class InvalidPageTokenError(SnapstoneError):
    """A NextToken that is forged, expired, or of another call."""

    token: str


@dataclass(eq=False)
class IdempotencyConflictError(SnapstoneError):
    """A client token came again with another request."""


@dataclass(eq=False)
class UnknownKeyError(SnapstoneError):
    """A customer key that does not exist here."""

    message: str


@dataclass(eq=False)
class KeyServiceError(SnapstoneError):
    """The key service refuses what the call needs of it."""

    message: str


@dataclass(eq=False)
class DamageError(SnapstoneError):
    """A stored object does not hold what was written: its bytes are never returned."""

    address: str
    what: str


@dataclass(eq=False)
class OverloadedError(SnapstoneError):
    """A stated limit of this server is reached; the caller may try again."""

    what: str


@dataclass(eq=False)
class MalformedSnapshotIdError(SnapstoneError):
    """A text that no snapshot can have as its id."""

    snapshot_id: str


@dataclass(eq=False)
class MalformedAccountIdError(SnapstoneError):
    """A text that no account can have as its id."""

    account_id: str


@dataclass(eq=False)
class FilterLimitError(SnapstoneError):
    """More filter values than one EC2 call may carry."""

    limit: int


@dataclass(eq=False)
class InvalidParameterCombinationError(SnapstoneError):
    """Parameters of an EC2 call that do not go together."""

    message: str


@dataclass(eq=False)
class DryRunPassedError(SnapstoneError):
    """A dry run that would have succeeded."""


@dataclass(eq=False)
class StoreFullError(SnapstoneError):
    """The disk has no space left for what was to be stored."""

    what: str


@dataclass(eq=False)
class StoreLostError(SnapstoneError):
    """The data folder was removed, replaced or remounted under the running server: nothing can be stored in it."""

    what: str


@dataclass(eq=False)
class ReadOnlyError(SnapstoneError):
    """A change was asked of a server that only serves what is there."""
