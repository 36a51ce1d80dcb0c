"""Block tokens and page tokens: self-contained, sealed by a MAC, in lower-case hexadecimal.

A block token is bound to its snapshot and block index, not to an account: anyone who may read the snapshot
now may use it (docs/aws-behaviour/ebs-direct.md, EBS-GET-9). A page token (`NextToken`) is bound to the
call that it continues.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import Final

from snapstone.core.blocks import Address
from snapstone.core.errors import InvalidBlockTokenError, InvalidPageTokenError
from snapstone.core.ids import SnapshotId

BLOCK_TOKEN_LIFE_SECONDS: Final = 7 * 24 * 3600
PAGE_TOKEN_LIFE_SECONDS: Final = 60 * 60
TOKEN_KEY_SIZE: Final = 32

_MAC_SIZE: Final = 16
_VERSION: Final = 1
_BLOCK_CLAIM: Final = Struct(">BII32s")
"""Version, block index, expiry in seconds since the epoch, address; the snapshot is in the MAC alone."""
_PAGE_CLAIM: Final = Struct(">BQI")
"""Version, position to continue from, expiry in seconds since the epoch; the call is in the MAC alone."""


class TokenSeal:
    """Makes and opens tokens under one secret key of 32 bytes, shared by every process of an installation."""

    def __init__(self, key: bytes) -> None:
        self._block_mac = blake2b(key=key, digest_size=_MAC_SIZE, person=b"block-token")
        self._page_mac = blake2b(key=key, digest_size=_MAC_SIZE, person=b"page-token")

    def block_token_maker(self, snapshot_id: SnapshotId, expires_at_seconds: int) -> Callable[[int, Address], str]:
        """A function that makes one snapshot's tokens from block index and address: what a list calls 10,000 times."""
        keyed = self._block_mac.copy()
        keyed.update(snapshot_id.encode("ascii"))
        pack, start = _BLOCK_CLAIM.pack, keyed.copy

        def make(block_index: int, address: Address) -> str:
            claim = pack(_VERSION, block_index, expires_at_seconds, address)
            mac = start()
            mac.update(claim)
            return (claim + mac.digest()).hex()

        return make

    def open_block_token(self, token: str, snapshot_id: SnapshotId, block_index: int, now_seconds: float) -> Address:
        """The address in a token. Raises InvalidBlockTokenError unless it is whole, of this place, and in time."""
        sealed = _unhex(token, _BLOCK_CLAIM.size + _MAC_SIZE)
        if sealed is None:
            raise InvalidBlockTokenError(token)
        claim, mac = sealed[:-_MAC_SIZE], sealed[-_MAC_SIZE:]
        expected = self._block_mac.copy()
        expected.update(snapshot_id.encode("ascii"))
        expected.update(claim)
        if not compare_digest(expected.digest(), mac):
            raise InvalidBlockTokenError(token)
        version, index, expires_at_seconds, address = _BLOCK_CLAIM.unpack(claim)
        if version != _VERSION or index != block_index or now_seconds > expires_at_seconds:
            raise InvalidBlockTokenError(token)
        return Address(address)

    def page_token(self, call: tuple[str, ...], position: int, expires_at_seconds: int) -> str:
        """A token that continues `call` (its operation and all arguments that name what is listed) at a position."""
        claim = _PAGE_CLAIM.pack(_VERSION, position, expires_at_seconds)
        return (claim + self._page_digest(call, claim)).hex()

    def open_page_token(self, token: str, call: tuple[str, ...], now_seconds: float) -> int:
        """The position to continue from. Raises InvalidPageTokenError unless it is whole, of this call, and in time."""
        sealed = _unhex(token, _PAGE_CLAIM.size + _MAC_SIZE)
        if sealed is None:
            raise InvalidPageTokenError(token)
        claim, mac = sealed[:-_MAC_SIZE], sealed[-_MAC_SIZE:]
        if not compare_digest(self._page_digest(call, claim), mac):
            raise InvalidPageTokenError(token)
        version, position, expires_at_seconds = _PAGE_CLAIM.unpack(claim)
        if version != _VERSION or now_seconds > expires_at_seconds:
            raise InvalidPageTokenError(token)
        return int(position)

    def _page_digest(self, call: tuple[str, ...], claim: bytes) -> bytes:
        mac = self._page_mac.copy()
        for part in call:
            encoded = part.encode()
            mac.update(len(encoded).to_bytes(4, "big") + encoded)
        mac.update(claim)
        return mac.digest()


def _unhex(token: str, size: int) -> bytes | None:
    """The bytes of a token of the right length in lower-case digits, or None: one text for each value."""
    if len(token) != 2 * size:
        return None
    try:
        sealed = bytes.fromhex(token)
    except ValueError:
        return None
    return sealed if sealed.hex() == token else None
