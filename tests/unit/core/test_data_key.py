"""core.envelope: what is sealed opens with the same key for the same purpose, and in no other way."""

from __future__ import annotations

import pytest

from snapstone.core.data_key import OVERHEAD, EnvelopeError, seal, unseal

KEY = bytes(range(32))
NONCE = bytes(12)


def test_what_was_sealed_opens_with_the_same_key_and_purpose() -> None:
    sealed = seal(KEY, b"secret", "data key 1", NONCE)
    assert len(sealed) == len(b"secret") + OVERHEAD
    assert b"secret" not in sealed
    assert unseal(KEY, sealed, "data key 1") == b"secret"


def test_another_key_purpose_or_byte_is_refused() -> None:
    sealed = seal(KEY, b"secret", "data key 1", NONCE)
    flipped = bytes([*sealed[:-1], sealed[-1] ^ 1])
    for key, content, purpose in (
        (bytes(32), sealed, "data key 1"),
        (KEY, sealed, "data key 2"),
        (KEY, flipped, "data key 1"),
        (KEY, sealed[:20], "data key 1"),
    ):
        with pytest.raises(EnvelopeError):
            unseal(key, content, purpose)
