"""The NBD client against a server that follows the protocol's document to the letter, and against ones that do not."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from snapstone.client.errors import StalledError
from snapstone.client.images import nbd
from snapstone.client.images.nbd import NbdConnection, ServerGoneError
from snapstone.client.images.nbd_messages import NbdExtent, ProtocolError, RequestError

from .nbd_script import (
    CONTEXT_ID,
    GREETING,
    SIZE,
    Request,
    Script,
    ScriptedServer,
    chunk,
    data,
    hole,
    negotiate,
    option_reply,
    receive,
    simple,
)

READ, WRITE, DISCONNECT, FLUSH, WRITE_ZEROES, BLOCK_STATUS = 0, 1, 2, 3, 6, 7
NONE, DATA, HOLE, STATUS, ERROR, ERROR_AT = 0, 1, 2, 5, 32769, 32770


def answering(*chunks: tuple[int, bytes]) -> Script:
    """A script that answers with these chunks, the last one marked as final."""

    def script(peer: socket.socket, request: Request) -> None:
        for place, (kind, payload) in enumerate(chunks, 1):
            peer.sendall(chunk(request[1], kind, payload, final=place == len(chunks)))

    return script


def assert_set(event: threading.Event) -> None:
    assert event.wait(10)


def read(connection: NbdConnection, offset: int, size: int) -> bytes:
    into = memoryview(bytearray(b"\xee" * size))
    connection.read(offset, into)
    return bytes(into)


def test_the_export_has_the_size_that_the_server_tells() -> None:
    with ScriptedServer() as server:
        assert server.connect().size == SIZE


def test_a_read_is_put_together_from_data_and_holes_in_any_order() -> None:
    script = answering((HOLE, hole(104, 4)), (DATA, data(100, b"abcd")), (DATA, data(108, b"xy")))
    with ScriptedServer(script) as server:
        assert read(server.connect(), 100, 10) == b"abcd\0\0\0\0xy"


def test_a_read_asks_for_exactly_its_bytes() -> None:
    seen: list[Request] = []

    def script(peer: socket.socket, request: Request) -> None:
        seen.append(request)
        peer.sendall(chunk(request[1], DATA, data(4096, bytes(512)), final=True))

    with ScriptedServer(script) as server:
        read(server.connect(), 4096, 512)
    assert [(command, *rest) for command, _, *rest in seen] == [(READ, 4096, 512, 0)]


def test_a_server_that_can_is_asked_for_reads_in_one_piece() -> None:
    can_read_whole, whole = 1 << 7, 1 << 2
    seen: list[Request] = []

    def script(peer: socket.socket, request: Request) -> None:
        seen.append(request)
        peer.sendall(chunk(request[1], DATA if request[0] == READ else NONE, data(0, b"abcd"), final=True))

    with ScriptedServer(script, begin=lambda peer: negotiate(peer, 1 | can_read_whole)) as server:
        assert read(server.connect(), 0, 4) == b"abcd"
    assert seen[0][4] == whole


def test_the_last_chunk_of_a_read_may_be_an_empty_one() -> None:
    with ScriptedServer(answering((DATA, data(0, b"abcd")), (NONE, b""))) as server:
        assert read(server.connect(), 0, 4) == b"abcd"


@pytest.mark.parametrize(
    "chunks",
    [
        [(DATA, data(0, b"abc"))],
        [(DATA, data(1, b"bcd"))],
        [(DATA, data(0, b"ab")), (DATA, data(3, b"d"))],
        [(DATA, data(0, b"abc")), (DATA, data(2, b"cd"))],
        [(DATA, data(0, b"abcde"))],
        [(DATA, data((1 << 64) - 1, b"a"))],
        [(DATA, data(0, b""))],
        [(HOLE, hole(0, 5))],
        [(HOLE, hole(0, 0)), (DATA, data(0, b"abcd"))],
        [(HOLE, hole(0, 4) + b"more")],
        [(STATUS, struct.pack(">III", CONTEXT_ID, 4, 0))],
        [(NONE, b"")],
        [(NONE, b"something")],
        [(99, b"")],
    ],
)
def test_a_read_that_does_not_answer_each_byte_once_is_refused(chunks: list[tuple[int, bytes]]) -> None:
    with ScriptedServer(answering(*chunks)) as server, pytest.raises(ProtocolError):
        read(server.connect(), 0, 4)


def test_a_simple_reply_is_no_answer_to_a_read() -> None:
    with ScriptedServer(lambda peer, request: peer.sendall(simple(request[1]))) as server, pytest.raises(ProtocolError):
        read(server.connect(), 0, 4)


def test_an_error_tells_the_servers_number_and_words() -> None:
    words = b"the disk is on fire"
    script = answering((ERROR, struct.pack(">IH", 5, len(words)) + words))
    with ScriptedServer(script) as server, pytest.raises(RequestError, match="read: the disk is on fire") as caught:
        read(server.connect(), 0, 4)
    assert caught.value.number == errno.EIO


def test_an_error_ends_a_request_and_not_the_connection() -> None:
    failing = answering((ERROR_AT, struct.pack(">IHQ", 5, 0, 2)), (DATA, data(0, b"ab")))
    with ScriptedServer(failing, answering((DATA, data(0, b"abcd")))) as server:
        connection = server.connect()
        with pytest.raises(RequestError):
            read(connection, 0, 4)
        assert read(connection, 0, 4) == b"abcd"


@pytest.mark.parametrize("payload", [b"", struct.pack(">I", 5), struct.pack(">IH", 0, 0), bytes(8193)])
def test_an_error_that_is_none_or_too_long_is_refused(payload: bytes) -> None:
    with ScriptedServer(answering((ERROR, payload))) as server, pytest.raises(ProtocolError):
        read(server.connect(), 0, 4)


def test_after_nonsense_a_connection_is_not_used_again() -> None:
    with ScriptedServer(answering((99, b"")), answering((DATA, data(0, b"abcd")))) as server:
        connection = server.connect()
        with pytest.raises(ProtocolError):
            read(connection, 0, 4)
        with pytest.raises(ServerGoneError):
            read(connection, 0, 4)


def test_a_reply_to_another_request_is_refused() -> None:
    def script(peer: socket.socket, request: Request) -> None:
        peer.sendall(chunk(request[1] + 1, DATA, data(0, b"abcd"), final=True))

    with ScriptedServer(script) as server, pytest.raises(ProtocolError):
        read(server.connect(), 0, 4)


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad", b""])
def test_a_server_that_says_something_else_or_hangs_up_is_told_apart(reply: bytes) -> None:
    kind = ProtocolError if reply else ServerGoneError
    with ScriptedServer(lambda peer, _: peer.sendall(reply)) as server, pytest.raises(kind):
        read(server.connect(), 0, 4)


def test_a_server_that_hangs_up_in_the_middle_of_data_is_gone() -> None:
    def script(peer: socket.socket, request: Request) -> None:
        peer.sendall(chunk(request[1], DATA, data(0, b"abcd"), final=True)[:-1])

    with ScriptedServer(script) as server, pytest.raises(ServerGoneError):
        read(server.connect(), 0, 4)


def test_silence_ends_in_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbd, "REPLY_SECONDS", 0.05)
    finished = threading.Event()
    with ScriptedServer(lambda *_: assert_set(finished)) as server:
        connection = server.connect()
        with pytest.raises(StalledError):
            read(connection, 0, 4)
        finished.set()


def test_a_write_sends_its_bytes_behind_the_head() -> None:
    content = bytes(range(256)) * 2_048
    got: list[bytes] = []

    def script(peer: socket.socket, request: Request) -> None:
        got.append(receive(peer, request[3]))
        peer.sendall(simple(request[1]))

    with ScriptedServer(script) as server:
        server.connect().write(4096, memoryview(content))
    assert got == [content]


def test_a_full_disk_is_told_by_its_number() -> None:
    def script(peer: socket.socket, request: Request) -> None:
        receive(peer, request[3])
        peer.sendall(simple(request[1], errno.ENOSPC))

    with ScriptedServer(script) as server, pytest.raises(RequestError) as caught:
        server.connect().write(0, memoryview(bytes(512)))
    assert (caught.value.command, caught.value.number) == ("write", errno.ENOSPC)


def test_zeros_and_flushes_are_requests_without_bytes() -> None:
    seen: list[Request] = []

    def script(peer: socket.socket, request: Request) -> None:
        seen.append(request)
        peer.sendall(chunk(request[1], NONE, final=True))

    with ScriptedServer(script, script) as server:
        connection = server.connect()
        connection.write_zeros(512, 1024)
        connection.flush()
    assert [(command, *rest) for command, _, *rest in seen] == [(WRITE_ZEROES, 512, 1024, 0), (FLUSH, 0, 0, 0)]


def test_extents_tell_what_reads_as_zeros() -> None:
    hole_bit, zero_bit = 1, 2
    payload = struct.pack(">IIIIIII", CONTEXT_ID, 4096, 0, 8192, hole_bit | zero_bit, 512, hole_bit)
    with ScriptedServer(answering((STATUS, payload))) as server:
        found = server.connect().extents(0, SIZE)
    assert found == [NbdExtent(4096, False), NbdExtent(8192, True), NbdExtent(512, False)]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        struct.pack(">I", CONTEXT_ID),
        struct.pack(">II", CONTEXT_ID, 1),
        struct.pack(">III", CONTEXT_ID + 1, 4096, 0),
        struct.pack(">III", CONTEXT_ID, 0, 0),
    ],
)
def test_a_block_status_of_nothing_or_of_something_else_is_refused(payload: bytes) -> None:
    with ScriptedServer(answering((STATUS, payload))) as server, pytest.raises(ProtocolError):
        server.connect().extents(0, SIZE)


def test_a_block_status_answer_beyond_the_limit_is_refused_before_it_is_received() -> None:
    def script(peer: socket.socket, request: Request) -> None:
        peer.sendall(struct.pack(">IHHQI", 0x668E33EF, 1, STATUS, request[1], (4 << 20) + 4))

    with ScriptedServer(script) as server, pytest.raises(ProtocolError):
        server.connect().extents(0, SIZE)


def test_a_block_status_request_without_an_answer_is_refused() -> None:
    with ScriptedServer(answering((NONE, b""))) as server, pytest.raises(ProtocolError):
        server.connect().extents(0, SIZE)


@pytest.mark.parametrize(("offset", "size"), [(SIZE, 1), (SIZE - 1, 2), (-1, 1), (0, 0), (0, (32 << 20) + 1)])
def test_what_is_not_in_the_export_is_not_asked_for(offset: int, size: int) -> None:
    with ScriptedServer() as server, pytest.raises(ValueError, match="of an export of"):
        server.connect().read(offset, memoryview(bytearray(size)))


def test_goodbye_is_said() -> None:
    seen: list[int] = []
    with ScriptedServer(lambda _, request: seen.append(request[0])) as server:
        server.connect().disconnect()
    assert seen == [DISCONNECT]


def test_an_abort_ends_a_request_that_waits() -> None:
    held: list[NbdConnection] = []
    with ScriptedServer(lambda peer, _: held[0].abort()) as server:
        held.append(server.connect())
        with pytest.raises(ServerGoneError):
            read(held[0], 0, 4)


@pytest.mark.parametrize(
    "greeting",
    [
        b"NBDMAGIX" + GREETING[8:],
        GREETING[:8] + b"IHAVEOPX" + GREETING[16:],
        GREETING[:16] + struct.pack(">H", 2),
    ],
)
def test_a_server_that_does_not_speak_fixed_newstyle_is_refused(greeting: bytes) -> None:
    with ScriptedServer(begin=lambda peer: peer.sendall(greeting)) as server, pytest.raises(ProtocolError):
        server.connect()


def refusing(option: int, *replies: bytes) -> Callable[[socket.socket], None]:
    """A handshake that answers one option with something of the test's own."""

    def begin(peer: socket.socket) -> None:
        peer.sendall(GREETING)
        receive(peer, 4)
        while True:
            _, asked, length = struct.unpack(">8sII", receive(peer, 16))
            receive(peer, length)
            peer.sendall(b"".join(replies) if asked == option else option_reply(asked, 1))

    return begin


@pytest.mark.parametrize(
    ("option", "replies"),
    [
        (8, [option_reply(8, (1 << 31) + 1, b"not here")]),
        (8, [option_reply(7, 1)]),
        (8, [struct.pack(">QIII", 0x3E889045565A9, 8, 1, 65_537)]),
        (8, [b"\0" * 20]),
        (8, [option_reply(8, 3)] * 65),
        (10, [option_reply(10, 4, struct.pack(">I", 1) + b"qemu:dirty-bitmap"), option_reply(10, 1)]),
        (7, [option_reply(7, 3, struct.pack(">HQH", 0, 1 << 63, 1)), option_reply(7, 1)]),
        (7, [option_reply(7, 3, struct.pack(">HQ", 0, 512)), option_reply(7, 1)]),
        (7, [option_reply(7, 3, b"\0"), option_reply(7, 1)]),
        (7, [option_reply(7, 1)]),
    ],
)
def test_a_handshake_that_goes_wrong_is_refused(option: int, replies: list[bytes]) -> None:
    with ScriptedServer(begin=refusing(option, *replies)) as server, pytest.raises(ProtocolError):
        server.connect()


def test_information_of_other_kinds_is_passed_over() -> None:
    def begin(peer: socket.socket) -> None:
        peer.sendall(GREETING)
        receive(peer, 4)
        for kind, told in (
            (8, b""),
            (10, option_reply(10, 4, struct.pack(">I", CONTEXT_ID) + b"base:allocation")),
            (7, option_reply(7, 3, b"\0\1name") + option_reply(7, 3, struct.pack(">HQH", 0, 512, 1))),
        ):
            _, option, length = struct.unpack(">8sII", receive(peer, 16))
            receive(peer, length)
            assert option == kind
            peer.sendall(told + option_reply(option, 1))

    with ScriptedServer(begin=begin) as server:
        assert server.connect().size == 512
