"""Tokens of lists that go on at a place: each stands for a moment and a text, not for a count."""

from __future__ import annotations

from snapstone.core.errors import InvalidPageTokenError
from snapstone.core.tokens import PAGE_TOKEN_LIFE_SECONDS
from snapstone.service.engine import Engine

Call = tuple[str, ...]
"""The operation, and all arguments that say what is listed: a token of another call is none of this one's."""


def place_token(engine: Engine, call: Call, moment_ms: int, text: str) -> str:
    """The token to go on with at a place. Letters and digits only."""
    name = text.encode().hex()
    expires_at_seconds = engine.now_ms() // 1000 + PAGE_TOKEN_LIFE_SECONDS
    return f"{name}x{engine.tokens.page_token((*call, name), moment_ms, expires_at_seconds)}"


def open_place(engine: Engine, call: Call, token: str) -> tuple[int, str]:
    """The place in a token, in milliseconds and text. Raises InvalidPageTokenError."""
    name, _, sealed = token.partition("x")
    try:
        moment_ms = engine.tokens.open_page_token(sealed, (*call, name), engine.now_ms() // 1000)
    except InvalidPageTokenError:
        raise InvalidPageTokenError(token) from None
    return moment_ms, bytes.fromhex(name).decode()
