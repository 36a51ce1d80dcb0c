"""The limits that one connection is held to, each with its name; tests pass smaller ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may send and how long it may take. Sizes in bytes, times in seconds."""

    head_size: int = 32 * 1024
    """Request line and headers together; past it the answer is 431."""
    target_size: int = 8 * 1024
    """The request target; past it the answer is 414."""
    header_count: int = 100
    """Headers of one request; past it the answer is 431."""
    idle_seconds: float = 75.0
    """How long a connection may stay open without a byte of a next request."""
    head_seconds: float = 10.0
    """From the first byte of a head to its last, however it drips; past it the answer is 408."""
    body_stall_seconds: float = 30.0
    """How long a body may pause without a byte."""
    body_seconds: float = 300.0
    """From the first read of a body to its last byte."""
    chunk_line_size: int = 256
    """A chunk's size with its extensions, in a chunked body."""
    chunk_count: int = 16_384
    """Chunks of one body: thirty-two bytes a chunk still carry a whole block."""
    trailer_size: int = 8 * 1024
    """All trailers of a chunked body together; they are read and dropped."""
    drain_size: int = 1024 * 1024
    """What is left of a body that nobody read is received and dropped up to here, so that the connection lives on."""
    drain_seconds: float = 2.0
    """How long such a rest may take."""
    linger_size: int = 16 * 1024 * 1024
    """Received and dropped after a connection's last answer while its client still sends, so that it sees it."""
    linger_seconds: float = 2.0
    """How long that may take."""
    send_stall_seconds: float = 30.0
    """How long a client may leave an answer untouched in its socket."""
    send_seconds: float = 300.0
    """From the first byte of an answer to its last."""


DEFAULT_LIMITS = Limits()
