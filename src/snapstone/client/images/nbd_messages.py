"""The NBD protocol as bytes and values, without input or output: fixed newstyle, structured replies, one meta context.

Numbers and layouts are those of the protocol's document (doc/proto.md of the NetworkBlockDevice/nbd project). Whatever
does not fit raises ProtocolError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from snapstone.client.errors import ClientError

GREETING: Final = struct.Struct(">8s8sH")
OPTION_REPLY_HEAD: Final = struct.Struct(">QIII")
SIMPLE_REPLY_HEAD: Final = struct.Struct(">IIQ")
CHUNK_REST: Final = struct.Struct(">I")
"""A structured reply's head is as long as a simple one's and this."""

OPTION_GO: Final = 7
OPTION_STRUCTURED_REPLY: Final = 8
OPTION_SET_META_CONTEXT: Final = 10

REPLY_ACK: Final = 1
REPLY_INFO: Final = 3
REPLY_META_CONTEXT: Final = 4
_REPLY_ERROR_BIT: Final = 1 << 31

READ: Final = 0
WRITE: Final = 1
DISCONNECT: Final = 2
FLUSH: Final = 3
WRITE_ZEROES: Final = 6
BLOCK_STATUS: Final = 7
COMMAND_NAMES: Final = {
    READ: "read",
    WRITE: "write",
    FLUSH: "flush",
    WRITE_ZEROES: "write zeros",
    BLOCK_STATUS: "block status",
}

CHUNK_NONE: Final = 0
CHUNK_DATA: Final = 1
CHUNK_HOLE: Final = 2
CHUNK_BLOCK_STATUS: Final = 5
_CHUNK_ERROR: Final = (1 << 15) + 1
_CHUNK_ERROR_AT: Final = (1 << 15) + 2

READ_WHOLE: Final = 1 << 2
"""Flag of a read that is to be answered in one piece (DF, "do not fragment")."""

ALLOCATION: Final = b"base:allocation"
MAX_OPTION_REPLY_SIZE: Final = 65_536
MAX_ERROR_SIZE: Final = 8_192
MAX_EXTENTS_SIZE: Final = 4 << 20
"""Bytes of one block status answer: half a million extents, four times what qemu-nbd puts into one."""

_OPTION_MAGIC: Final = b"IHAVEOPT"
_OPTION_REPLY_MAGIC: Final = 0x0003_E889_0455_65A9
_REQUEST_MAGIC: Final = 0x2560_9513
_SIMPLE_REPLY_MAGIC: Final = 0x6744_6698
_CHUNK_MAGIC: Final = 0x668E_33EF
_FLAG_FIXED_NEWSTYLE: Final = 1
_FLAG_NO_ZEROES: Final = 2
_INFO_EXPORT: Final = 0
_CAN_READ_WHOLE: Final = 1 << 7
_CHUNK_FINAL: Final = 1
_STATE_ZERO: Final = 2
_MAX_SIZE: Final = (1 << 63) - 1


class ProtocolError(ClientError):
    """The NBD server said something that the protocol does not allow, or refuses what is needed."""


class RequestError(ClientError):
    """The NBD server could not do what a request requested; the connection is as good as before."""

    def __init__(self, command: str, number: int, words: str) -> None:
        super().__init__(f"{command}: {words}")
        self.command = command
        self.number = number
        """An errno, as on Linux."""
        self.words = words


@dataclass(frozen=True, slots=True)
class OptionReply:
    """Head of an answer to an option; `size` bytes follow."""

    kind: int
    size: int

    @property
    def refuses(self) -> bool:
        """Whether the server does not grant the option."""
        return bool(self.kind & _REPLY_ERROR_BIT)


@dataclass(frozen=True, slots=True)
class Reply:
    """Head of one reply, or of one chunk of a structured one; `size` bytes follow."""

    cookie: int
    kind: int
    size: int
    final: bool
    number: int = 0
    """The errno of a simple reply; that of a chunk is in its payload."""

    @property
    def is_error_chunk(self) -> bool:
        """Whether the payload is what `parse_error` reads."""
        return self.kind in (_CHUNK_ERROR, _CHUNK_ERROR_AT)


@dataclass(frozen=True, slots=True)
class Export:
    """The server's description of the disk that it serves."""

    size: int
    reads_whole: bool
    """Whether READ_WHOLE may be requested."""


@dataclass(frozen=True, slots=True)
class NbdExtent:
    """A stretch of the export that is all alike."""

    size: int
    reads_zeros: bool


def answer_greeting(greeting: bytes) -> bytes:
    """The client's answer to the server's greeting."""
    magic, option_magic, flags = GREETING.unpack(greeting)
    if magic != b"NBDMAGIC" or option_magic != _OPTION_MAGIC or not flags & _FLAG_FIXED_NEWSTYLE:
        raise ProtocolError(f"the server does not speak fixed newstyle NBD; it begins with {greeting!r}")
    return struct.pack(">I", flags & (_FLAG_FIXED_NEWSTYLE | _FLAG_NO_ZEROES))


def option(kind: int, payload: bytes = b"") -> bytes:
    """An option of the handshake."""
    return _OPTION_MAGIC + struct.pack(">II", kind, len(payload)) + payload


def go_payload(export: bytes) -> bytes:
    """Payload of OPTION_GO, which asks for nothing beyond what is always told."""
    return struct.pack(">I", len(export)) + export + struct.pack(">H", 0)


def meta_context_payload(export: bytes) -> bytes:
    """Payload of OPTION_SET_META_CONTEXT for the one context that is used here."""
    return struct.pack(">I", len(export)) + export + struct.pack(">II", 1, len(ALLOCATION)) + ALLOCATION


def parse_option_reply(head: bytes, kind: int) -> OptionReply:
    """Head of an answer to the option `kind`."""
    magic, echoed, reply_kind, size = OPTION_REPLY_HEAD.unpack(head)
    if magic != _OPTION_REPLY_MAGIC or echoed != kind:
        raise ProtocolError(f"the answer to option {kind} begins with {head!r}")
    if size > MAX_OPTION_REPLY_SIZE:
        raise ProtocolError(f"the answer to option {kind} claims {size} bytes; {MAX_OPTION_REPLY_SIZE} are allowed")
    return OptionReply(reply_kind, size)


def parse_export(payload: bytes) -> Export | None:
    """The size and flags of the export, or None if the information is of another kind."""
    if len(payload) < 2:
        raise ProtocolError("the server's information about the export is too short")
    if int.from_bytes(payload[:2]) != _INFO_EXPORT:
        return None
    if len(payload) != 12:
        raise ProtocolError(f"the server's information about the export has {len(payload)} bytes instead of 12")
    size = int.from_bytes(payload[2:10])
    if size > _MAX_SIZE:
        raise ProtocolError(f"the server claims an export of {size} bytes")
    return Export(size, reads_whole=bool(int.from_bytes(payload[10:]) & _CAN_READ_WHOLE))


def parse_context(payload: bytes) -> int:
    """The id under which the server will tell the meta context."""
    if payload[4:] != ALLOCATION:
        raise ProtocolError(f"the server grants the meta context {payload[4:]!r}, which nobody requested")
    return int.from_bytes(payload[:4])


def request(command: int, cookie: int, offset: int, size: int, flags: int = 0) -> bytes:
    """Head of a request; a write's bytes follow."""
    return struct.pack(">IHHQQI", _REQUEST_MAGIC, flags, command, cookie, offset, size)


def needs_rest(head: bytes) -> bool:
    """Whether a reply is a structured one, whose head is longer by CHUNK_REST."""
    magic = int.from_bytes(head[:4])
    if magic not in (_SIMPLE_REPLY_MAGIC, _CHUNK_MAGIC):
        raise ProtocolError(f"a reply begins with {head!r}")
    return magic == _CHUNK_MAGIC


def parse_simple(head: bytes) -> Reply:
    """A simple reply."""
    _, number, cookie = SIMPLE_REPLY_HEAD.unpack(head)
    return Reply(cookie, CHUNK_NONE, 0, final=True, number=number)


def parse_chunk(head: bytes, rest: bytes) -> Reply:
    """Head of a chunk of a structured reply."""
    _, flags, kind, cookie = struct.unpack(">IHHQ", head)
    return Reply(cookie, kind, CHUNK_REST.unpack(rest)[0], final=bool(flags & _CHUNK_FINAL))


def parse_error(payload: bytes) -> tuple[int, str]:
    """Errno and words of an error chunk."""
    if len(payload) < 6:
        raise ProtocolError("an error chunk is too short")
    number = int.from_bytes(payload[:4])
    words = payload[6 : 6 + int.from_bytes(payload[4:6])]
    if number == 0:
        raise ProtocolError("an error chunk holds no error")
    return number, words.decode(errors="replace")


def parse_extents(payload: bytes, context_id: int) -> list[NbdExtent]:
    """The extents of a block status chunk; none is empty."""
    if len(payload) < 12 or len(payload) % 8 != 4:
        raise ProtocolError(f"a block status answer has {len(payload)} bytes")
    if int.from_bytes(payload[:4]) != context_id:
        raise ProtocolError("a block status answer is about another meta context")
    pairs: Iterator[tuple[int, int]] = struct.iter_unpack(">II", memoryview(payload)[4:])
    extents = [NbdExtent(size, bool(flags & _STATE_ZERO)) for size, flags in pairs]
    if any(extent.size == 0 for extent in extents):
        raise ProtocolError("a block status answer has an empty extent")
    return extents


class Coverage:
    """Checks the chunks of a read: each requested byte once, none beyond."""

    def __init__(self, offset: int, size: int) -> None:
        self._offset = offset
        self._size = size
        self._claimed: list[tuple[int, int]] = []

    def claim(self, offset: int, size: int) -> slice:
        """The part of the buffer that a chunk is about."""
        start = offset - self._offset
        if size <= 0 or start < 0 or start + size > self._size:
            raise ProtocolError(f"a chunk of {size} bytes at {offset} is not in the {self._size} at {self._offset}")
        self._claimed.append((start, start + size))
        if len(self._claimed) > self._size:
            raise ProtocolError("a reply has more chunks than bytes")
        return slice(start, start + size)

    def finish(self) -> None:
        """Refuse what is left over or told twice."""
        end = 0
        for start, stop in sorted(self._claimed):
            if start != end:
                raise ProtocolError(f"a read of {self._size} bytes at {self._offset} is not answered once at {start}")
            end = stop
        if end != self._size:
            raise ProtocolError(f"a read of {self._size} bytes at {self._offset} is answered up to {end}")
