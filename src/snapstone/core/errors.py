"""The one family of errors: what went wrong, with facts as fields, and the cause that is sent to Snapstone's client.

By subject: the service itself, snapshots, instances and volumes, identities, keys, limits, protection, sharing.
`wire/faults.py` says each on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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
    """A change was requested from a read-only server."""


@dataclass(eq=False)
class InstanceNotFoundError(SnapstoneError):
    """An instance was named."""

    instance_id: str


@dataclass(eq=False)
class VolumeNotFoundError(SnapstoneError):
    """A volume was named."""

    volume_id: str


@dataclass(eq=False)
class AccessDeniedError(SnapstoneError):
    """The caller's policies do not allow what it asked."""

    principal_arn: str
    action: str
    resource: str
    explicit: bool
    """Whether a statement denies it, rather than none allowing it."""


@dataclass(eq=False)
class NoSuchEntityError(SnapstoneError):
    """A user, role, key or policy that does not exist."""

    message: str


@dataclass(eq=False)
class EntityAlreadyExistsError(SnapstoneError):
    """A name that is taken."""

    message: str


@dataclass(eq=False)
class DeleteConflictError(SnapstoneError):
    """The object to delete still has something, or is attached to something."""

    message: str


@dataclass(eq=False)
class IdentityLimitError(SnapstoneError):
    """A quota of identities, or of what one of them may have, is reached."""

    message: str


@dataclass(eq=False)
class MalformedPolicyDocumentError(SnapstoneError):
    """A submitted policy document is not valid."""

    message: str


@dataclass(eq=False)
class MalformedPolicyError(MalformedPolicyDocumentError):
    """A text that is not a policy in the policy language; the message names the place and the value."""


@dataclass(eq=False)
class InvalidIdentityInputError(SnapstoneError):
    """Parameters of an IAM call that are well formed and cannot be followed."""

    message: str


@dataclass(eq=False)
class IdentityValidationError(SnapstoneError):
    """A parameter of an IAM or STS call that is not well formed."""

    message: str


@dataclass(eq=False)
class PackedPolicyTooLargeError(SnapstoneError):
    """A session's policies and tags do not fit into a session token."""

    percent: int


@dataclass(eq=False)
class SessionRefusedError(SnapstoneError):
    """Temporary credentials that are never issued, whatever policies allow."""

    message: str


@dataclass(eq=False)
class KeyHiddenError(SnapstoneError):
    """A snapshot's KMS key does not exist for the caller: destroyed, or its policy gives the caller nothing."""


@dataclass(eq=False)
class KmsKeyNotFoundError(SnapstoneError):
    """No key or alias of this name in the caller's region."""

    named: str
    """An ARN if one is known."""


@dataclass(eq=False)
class InvalidKeyArnError(SnapstoneError):
    """An ARN that is not a key's, or an alias if only a key may be named."""

    message: str


@dataclass(eq=False)
class KmsKeyDisabledError(SnapstoneError):
    """The key is disabled."""

    key_arn: str


@dataclass(eq=False)
class KmsKeyStateError(SnapstoneError):
    """The key's deletion is pending, or is not, and the operation needs it otherwise."""

    message: str


@dataclass(eq=False)
class ManagedKeyError(SnapstoneError):
    """A key that AWS manages was to be managed by a customer."""

    message: str


@dataclass(eq=False)
class AliasExistsError(SnapstoneError):
    """An alias of that name is there already."""

    alias_arn: str


@dataclass(eq=False)
class InvalidAliasNameError(SnapstoneError):
    """A name that no customer's alias may have."""

    message: str


@dataclass(eq=False)
class InvalidCiphertextError(SnapstoneError):
    """The ciphertext was not created here, or not with this encryption context."""


@dataclass(eq=False)
class IncorrectKeyError(SnapstoneError):
    """The ciphertext was created under another key than the one named."""


@dataclass(eq=False)
class InvalidMarkerError(SnapstoneError):
    """A Marker that is not from the answer before."""


@dataclass(eq=False)
class KeyTagError(SnapstoneError):
    """A tag that KMS would refuse."""

    message: str


@dataclass(eq=False)
class UnsupportedKeyError(SnapstoneError):
    """A kind of key, or a use of one, that is not offered."""

    message: str


@dataclass(eq=False)
class KeyLimitError(SnapstoneError):
    """A stated limit of KMS is reached."""

    message: str


@dataclass(eq=False)
class AccountThrottledError(SnapstoneError):
    """The account calls this operation more often, in this region, than its quota allows."""


@dataclass(eq=False)
class SnapshotThrottledError(SnapstoneError):
    """Blocks of one snapshot are read or written more often than the quota of a snapshot allows."""


@dataclass(eq=False)
class PendingSnapshotLimitError(SnapstoneError):
    """The account has as many pending snapshots in the region as its quota allows."""

    limit: int


@dataclass(eq=False)
class InjectedFailureError(SnapstoneError):
    """The server was told to fail here, so that a client can show what it does then."""


@dataclass(eq=False)
class InjectedOutageError(SnapstoneError):
    """The server was told to be unavailable here."""


@dataclass(eq=False)
class InjectedQuotaError(SnapstoneError):
    """The server was told that a quota is reached here."""


@dataclass(eq=False)
class SnapshotLockedError(SnapstoneError):
    """A lock forbids what was asked."""

    message: str


@dataclass(eq=False)
class SnapshotNotLockedError(SnapstoneError):
    """There is no lock to remove."""

    snapshot_id: str


@dataclass(eq=False)
class PublicAccessBlockedError(SnapstoneError):
    """The account lets nothing be shared with everybody in this region."""

    region: str


@dataclass(eq=False)
class PublicAccessRequestError(SnapstoneError):
    """A state of block public access that is an answer only."""

    state: str


@dataclass(eq=False)
class SnapshotArchivedError(SnapstoneError):
    """The snapshot lies in the archive tier and must be restored first."""

    snapshot_id: str


@dataclass(eq=False)
class SnapshotStateError(SnapstoneError):
    """The snapshot's state or tier does not admit what was asked."""

    message: str


@dataclass(eq=False)
class RuleNotFoundError(SnapstoneError):
    """No retention rule of the caller has this identifier in this region."""

    rule_id: str


@dataclass(eq=False)
class RuleLockedError(SnapstoneError):
    """A retention rule is locked, or not unlocked yet, or not locked at all: `message` says which."""

    message: str


@dataclass(eq=False)
class RuleQuotaError(SnapstoneError):
    """As many retention rules, or tags, as there may be."""

    message: str


@dataclass(eq=False)
class InvalidRuleError(SnapstoneError):
    """Members of a retention rule that do not go together, or that this server does not keep."""

    message: str


@dataclass(eq=False)
class SourceNotCompleteError(SnapstoneError):
    """The source of a copy is still pending, or ended in error."""

    snapshot_id: str


@dataclass(eq=False)
class UnknownSourceRegionError(SnapstoneError):
    """This server does not serve the region to copy from."""

    region: str


@dataclass(eq=False)
class ParameterDependencyError(SnapstoneError):
    """A parameter that requires another one."""

    message: str


@dataclass(eq=False)
class CopyLimitError(SnapstoneError):
    """As many copies under way to one region as there may be."""

    limit: int


@dataclass(eq=False)
class PublicSnapshotError(SnapstoneError):
    """A public snapshot of another account: EC2 shows it, the EBS direct APIs do not read it."""

    snapshot_id: str


@dataclass(eq=False)
class NotShareableError(SnapstoneError):
    """A snapshot whose encryption forbids the share that was requested."""

    message: str


@dataclass(eq=False)
class ShareLimitError(SnapstoneError):
    """More accounts than one snapshot may be shared with."""

    limit: int


@dataclass(eq=False)
class InvalidTagKeyError(SnapstoneError):
    """A tag's key that is empty, too long or reserved."""

    message: str


@dataclass(eq=False)
class TagLimitError(SnapstoneError):
    """More tags than one resource may have."""

    limit: int


@dataclass(eq=False)
class UnknownResourceError(SnapstoneError):
    """A resource id of a form that nothing here has."""

    resource_id: str


CAUSE_HEADER: Final = "x-snapstone-cause"
"""Header in addition to a fault, in every protocol; absent if the code says it all."""


class Cause(StrEnum):
    """The values of the header."""

    DAMAGED = "damaged"
    """Stored bytes are not what was written."""
    FULL = "full"
    """The disk has no space left for what was to be stored."""
    LOST = "lost"
    """The data folder is gone, or is another one."""
