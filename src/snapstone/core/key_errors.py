"""Errors about KMS keys."""

from __future__ import annotations

from dataclasses import dataclass

from snapstone.core.errors import SnapstoneError


@dataclass(eq=False)
class KeyHiddenError(SnapstoneError):
    """A snapshot's KMS key does not exist for the caller: destroyed, or its policy gives the caller nothing."""


@dataclass(eq=False)
class KmsKeyNotFoundError(SnapstoneError):
    """No key or alias of this name in the caller's region."""

    named: str
    """An ARN where one is known."""


@dataclass(eq=False)
class InvalidKeyArnError(SnapstoneError):
    """An ARN that is no key's, or an alias where only a key may be named."""

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
    """What is to be decrypted was not made here, or not with this encryption context."""


@dataclass(eq=False)
class IncorrectKeyError(SnapstoneError):
    """What is to be decrypted was made under another key than the one named."""


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
