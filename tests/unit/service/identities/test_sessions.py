"""Session tokens: everything comes back, and only with the same key, id and spelling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapstone.service.identities.sessions import (
    PACKED_LIMIT,
    TOKEN_LIMIT,
    Session,
    SessionTooLargeError,
    open_session,
    packed_percent,
    seal_session,
    secret_of,
)

KEY = b"k" * 32
NONCE = b"n" * 12
ID = "ASIAEXAMPLE"
WHOLE = Session("AROA1", "111122223333", 1, 2, "nightly", "", '{"ä": 1}', ("arn:1", "arn:2"), (("team", "blü"),))
SMALL = Session("111122223333", "111122223333", 1, 2, parent_key_id="AKIA1")


@pytest.mark.parametrize("session", [WHOLE, SMALL])
def test_a_session_comes_back_whole(session: Session) -> None:
    token = seal_session(KEY, ID, session, NONCE)
    assert open_session(KEY, ID, token) == session
    assert token.isalnum()


def test_another_key_or_id_opens_nothing() -> None:
    token = seal_session(KEY, ID, WHOLE, NONCE)
    assert open_session(b"l" * 32, ID, token) is None
    assert open_session(KEY, "ASIAOTHER", token) is None


def test_a_token_has_one_spelling() -> None:
    for length in range(8):
        token = seal_session(KEY, ID, replace(SMALL, session_name="n" * length), NONCE)
        for other in (token + "=", token.lower(), token + "A", token[:-1], f" {token}", token + "\n"):
            assert open_session(KEY, ID, other) is None
        changed = token[:-1] + chr(ord(token[-1]) + 1)
        assert open_session(KEY, ID, changed) is None


def test_the_secret_is_the_tokens_own() -> None:
    first = seal_session(KEY, ID, WHOLE, NONCE)
    second = seal_session(KEY, ID, WHOLE, b"m" * 12)
    assert secret_of(KEY, first) != secret_of(KEY, second)
    assert secret_of(KEY, first) != secret_of(b"l" * 32, first)
    assert len(secret_of(KEY, first)) == 40


def test_what_does_not_fit_is_refused() -> None:
    digits = "".join(f"{number * 7919 % 100_003:05d}" for number in range(4_000))
    sizes = []
    for length in range(100, len(digits), 100):
        session = replace(SMALL, policy=digits[:length])
        if packed_percent(session) > 100:
            with pytest.raises(SessionTooLargeError) as caught:
                seal_session(KEY, ID, session, NONCE)
            assert caught.value.percent > 100
            break
        sizes.append(len(seal_session(KEY, ID, session, NONCE)))
    assert PACKED_LIMIT < max(sizes) <= TOKEN_LIMIT
