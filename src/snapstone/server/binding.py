"""The listening socket: which port it gets, and what clients call it."""

from __future__ import annotations

import errno
import logging
import socket
from ipaddress import ip_address

from snapstone.server.config import DEFAULT_PORT, Settings, SettingsError
from snapstone.server.listener import BACKLOG

_log = logging.getLogger(__name__)


def bind(settings: Settings) -> socket.socket:
    """Listen where the settings say. Raises SettingsError where that cannot be.

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
        return f"port {port} of {settings.host} is taken: name another with --port, or --port 0 for any free one"
    return f"cannot listen on port {port} of {settings.host}: {error.strerror or error}"
