"""Options: where their values come from, and which are refused, with the value named."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from snapstone.server.config import (
    SettingsError,
    add_options,
    default_data_folder,
    default_workers,
    read_data_folder,
    read_settings,
)

HOME = {"XDG_DATA_HOME": "/xdg"}


def test_without_options_a_server_is_on_loopback() -> None:
    settings = read_settings({}, HOME)
    assert (settings.host, settings.port, settings.region) == ("127.0.0.1", None, "us-east-1")
    assert settings.data == Path("/xdg/snapstone")
    assert (settings.page_cache_bytes, settings.block_buffers) == (64 << 20, 64)
    assert (settings.default_max_results, settings.seal_wait_seconds) == (10_000, 5.0)


@pytest.mark.parametrize(("processor_count", "worker_count"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_there_is_a_worker_for_each_processor_up_to_four(
    monkeypatch: pytest.MonkeyPatch, processor_count: int, worker_count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processor_count)))
    assert default_workers() == worker_count


def test_data_lies_in_the_users_data_home() -> None:
    assert default_data_folder({"XDG_DATA_HOME": "/xdg"}) == Path("/xdg/snapstone")
    assert default_data_folder({}) == Path.home() / ".local/share/snapstone"
    assert read_data_folder(None, {"SNAPSTONE_DATA": "/there"}) == Path("/there")
    assert read_data_folder("/here", {"SNAPSTONE_DATA": "/there"}) == Path("/here")
    assert read_data_folder("here", {}) == Path.cwd() / "here"


def test_a_flag_precedes_the_environment_and_that_the_default() -> None:
    environ = HOME | {"SNAPSTONE_PORT": "1000", "SNAPSTONE_REGION": "eu-west-1"}
    settings = read_settings({"port": "2000"}, environ)
    assert (settings.port, settings.region, settings.host) == (2000, "eu-west-1", "127.0.0.1")


def test_every_option_is_a_flag() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args(
        ["--data", "/d", "--port", "0", "--workers", "2", "--seal-wait-seconds", "1.5", "--plaintext-beyond-loopback"]
    )
    settings = read_settings(vars(options), HOME)
    assert (settings.data, settings.port, settings.workers) == (Path("/d"), 0, 2)
    assert (settings.seal_wait_seconds, settings.plaintext_beyond_loopback) == (1.5, True)
    assert "--page-cache-bytes" in parser.format_help()


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = read_settings({"data": "/a b", "port": "0", "seal_wait_seconds": "0.25", "host": "localhost"}, HOME)
    assert read_settings({}, settings.as_environment()) == settings
    assert read_settings({}, read_settings({}, HOME).as_environment()).port is None


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "http"),
        ("port", ""),
        ("workers", "0"),
        ("workers", "65"),
        ("region", "EU West"),
        ("region", ""),
        ("max_connections", "0"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("page_cache_bytes", "1e6"),
        ("default_max_results", "99"),
        ("default_max_results", "10001"),
        ("seal_wait_seconds", "61"),
        ("seal_wait_seconds", "nan"),
        ("block_buffers", "0"),
        ("data", ""),
        ("host", ""),
    ],
)
def test_a_value_that_cannot_be_is_named(flag: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({flag: value}, HOME)
    assert repr(value) in str(caught.value)
    assert "--" + flag.replace("_", "-") in str(caught.value)
    with pytest.raises(SettingsError, match=f"SNAPSTONE_{flag.upper()} is"):
        read_settings({}, HOME | {f"SNAPSTONE_{flag.upper()}": value})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1"])
def test_loopback_needs_no_leave(host: str) -> None:
    assert read_settings({"host": host}, HOME).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_beyond_loopback_only_when_told_so(host: str) -> None:
    with pytest.raises(SettingsError, match="--plaintext-beyond-loopback"):
        read_settings({"host": host}, HOME)
    assert read_settings({"host": host, "plaintext_beyond_loopback": "1"}, HOME).host == host


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'no\.such\.host\.invalid', which has no address"):
        read_settings({"host": "no.such.host.invalid"}, HOME)
