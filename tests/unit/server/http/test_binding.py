"""Which port a server gets, and how clients call it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from snapstone.server.config import Settings, SettingsError, read_settings
from snapstone.server.http import listener
from snapstone.server.http.listener import bind, endpoint_of


def settings(**flags: str) -> Settings:
    return read_settings(flags, {"XDG_DATA_HOME": "/xdg"})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_any_free_port_is_taken_where_0_is_asked_for() -> None:
    with closing(bind(settings(port="0"))) as sock:
        port = sock.getsockname()[1]
        assert port > 0
        assert endpoint_of(sock) == f"http://127.0.0.1:{port}"


def test_a_port_asked_for_that_is_taken_is_named(taken_port: int) -> None:
    with pytest.raises(SettingsError, match=f"port {taken_port} of 127.0.0.1 is taken"):
        bind(settings(port=str(taken_port)))


def test_the_default_port_gives_way_to_a_free_one_and_says_so(
    taken_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "DEFAULT_PORT", taken_port)
    with closing(bind(settings())) as sock:
        port = sock.getsockname()[1]
        assert port != taken_port
    assert caplog.records[0].fields == {"default_port": taken_port, "port": port}  # type: ignore[attr-defined]


def test_another_fault_names_address_and_port() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on port 0 of 192\.0\.2\.7"):
        bind(settings(host="192.0.2.7", port="0", plaintext_beyond_loopback="1"))


def test_clients_on_this_machine_reach_a_wildcard_by_loopback() -> None:
    with closing(bind(settings(host="0.0.0.0", port="0", plaintext_beyond_loopback="1"))) as sock:
        assert endpoint_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_an_ipv6_address_is_put_in_brackets() -> None:
    try:
        sock = bind(settings(host="::1", port="0"))
    except SettingsError:
        pytest.skip("no IPv6 here")
    with closing(sock):
        assert endpoint_of(sock) == f"http://[::1]:{sock.getsockname()[1]}"
