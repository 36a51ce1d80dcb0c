"""The listener: binds a socket, accepts connections and gives each a thread, up to a stated number.

It stops without cutting requests. A connection beyond the limit is still answered, with 503, by one of a few more
threads; beyond those it is closed.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import time
from dataclasses import replace
from ipaddress import ip_address
from threading import Condition, Event, Thread
from typing import Final

from snapstone.server.config import DEFAULT_PORT, Settings, SettingsError
from snapstone.server.http.connection import ServerConnection, refusal
from snapstone.server.http.head import DEFAULT_LIMITS, ConnectionLimits
from snapstone.wire.http import Application, Request, Response

REFUSALS_AT_ONCE: Final = 16
"""Connections too many that are answered at once."""

REFUSAL_SECONDS: Final = 2.0
"""How long such a connection may take to send its request."""

RETRY_AFTER_SECONDS: Final = 1
"""What a connection too many is told."""

CUT_SECONDS: Final = 1.0
"""How long the threads of connections that were cut are waited for."""

BACKLOG: Final = 1024
"""Connections that the kernel may hold for us, and the most that are accepted in one go."""

PAUSE_SECONDS: Final = 0.1
"""Pause after a connection could not be accepted, for want of file descriptors, say."""

POLL_SECONDS: Final = 1.0
"""The accepting thread comes round at least so often: by that it shows that it does not hang."""

WAIT_PER_CONNECTION_SECONDS: Final = 0.000_25
MOST_WAIT_SECONDS: Final = 0.005
"""Where several processes share the socket: how long a connection is left to a process that has fewer, for each one
that this process has, and at most. So a client's connections, made at once and kept, are spread over the processes."""

_log = logging.getLogger(__name__)


class Listener:
    """Serves an application on a listening socket, which may be shared with other processes."""

    def __init__(
        self,
        listening: socket.socket,
        application: Application,
        max_connections: int,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        shares: bool = False,
    ) -> None:
        """At most `max_connections` are served at once; each takes a thread and 32 KiB.

        `shares`: other processes accept on the socket too, and are left their part.
        """
        self._shares = shares
        self._listening = listening
        self._application = application
        self._limits = limits
        self._max_connections = max_connections
        self._stopping = Event()
        self._change = Condition()
        self._connections: set[ServerConnection] = set()
        self._wake_read, self._wake_write = os.pipe()
        self._round_count = 0
        self._accepting = Thread(target=self._accept_until_stopped, name="accept", daemon=True)

    @property
    def round_count(self) -> int:
        """How often the accepting thread has come round."""
        return self._round_count

    def start(self) -> None:
        """Begin to accept connections; returns at once."""
        self._listening.setblocking(False)
        self._accepting.start()

    def stop(self, grace_seconds: float) -> int:
        """Accept no more, close idle connections, let requests under way finish; returns how many had to be cut."""
        if not self._stopping.is_set():
            self._stopping.set()
            os.close(self._wake_write)
        self._accepting.join()
        deadline = time.monotonic() + grace_seconds
        with self._change:
            for connection in self._connections:
                connection.close_if_idle()
            self._change.wait_for(lambda: not self._connections, max(0.0, deadline - time.monotonic()))
            cut = len(self._connections)
            for connection in self._connections:
                connection.cut()
            self._change.wait_for(lambda: not self._connections, CUT_SECONDS)
        return cut

    def _accept_until_stopped(self) -> None:
        waiting = select.poll()
        waiting.register(self._listening, select.POLLIN)
        waiting.register(self._wake_read, select.POLLHUP)
        stopping = False
        while not stopping:
            found = waiting.poll(POLL_SECONDS * 1000)
            self._round_count += 1
            if not found:
                continue
            stopping = self._stopping.is_set()
            if self._shares and not stopping:
                time.sleep(min(MOST_WAIT_SECONDS, WAIT_PER_CONNECTION_SECONDS * len(self._connections)))
                self._accept_waiting(1)
            else:
                self._accept_waiting(BACKLOG)
        self._listening.close()
        os.close(self._wake_read)

    def _accept_waiting(self, most: int) -> None:
        """Accept the connections that are there: at a stop, too, all that came before it."""
        for _ in range(most):
            try:
                sock, address = self._listening.accept()
                self._begin(sock, str(address[0]))
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                _log.error("cannot accept a connection", extra={"fields": {"error": str(error)}})
                time.sleep(PAUSE_SECONDS)
                return

    def _begin(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._change:
            count = len(self._connections)
            if count >= self._max_connections + REFUSALS_AT_ONCE:
                sock.close()
                return
            if count < self._max_connections:
                connection = ServerConnection(sock, peer, self._application, self._limits, self._stopping.is_set)
            else:
                limits = replace(self._limits, idle_seconds=REFUSAL_SECONDS)
                connection = ServerConnection(
                    sock, peer, _answer_too_many, limits, self._stopping.is_set, takes_one=True
                )
            self._connections.add(connection)
        try:
            Thread(target=self._serve, args=(connection,), name=f"connection {peer}", daemon=True).start()
        except RuntimeError as error:  # The system gives no more threads.
            _log.error("no thread for a connection", extra={"fields": {"error": str(error)}})
            self._forget(connection)
            sock.close()

    def _serve(self, connection: ServerConnection) -> None:
        try:
            connection.serve()
        finally:
            self._forget(connection)

    def _forget(self, connection: ServerConnection) -> None:
        with self._change:
            self._connections.discard(connection)
            self._change.notify_all()


def _answer_too_many(request: Request) -> Response:
    retry_after = ("Retry-After", str(RETRY_AFTER_SECONDS))
    return refusal(503, "Too many connections; try again", request.request_id, (retry_after,))


def bind(settings: Settings) -> socket.socket:
    """Listen where the settings say. Raises SettingsError if that cannot be.

    Where nobody asked for a port and the default is taken, it is a free one.
    """
    try:
        return _listen(settings.host, DEFAULT_PORT if settings.port is None else settings.port)
    except OSError as error:
        if settings.port is not None or error.errno != errno.EADDRINUSE:
            raise SettingsError(_why_not(settings, error)) from None
    listening = _listen(settings.host, 0)
    port = listening.getsockname()[1]
    _log.warning("the default port is taken", extra={"fields": {"default_port": DEFAULT_PORT, "port": port}})
    return listening


def endpoint_of(listening: socket.socket) -> str:
    """The URL under which a client on this machine reaches a listening socket."""
    host, port = listening.getsockname()[:2]
    address = ip_address(host.partition("%")[0])
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


def _why_not(settings: Settings, error: OSError) -> str:
    port = DEFAULT_PORT if settings.port is None else settings.port
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {settings.host} is taken; choose another with --port, or use --port 0 for any free one"
    return f"cannot listen on port {port} of {settings.host}: {error.strerror or error}"
