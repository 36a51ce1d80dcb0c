"""Options that say which endpoint and how hard, and the service that comes of them."""

from __future__ import annotations

import argparse

import pytest

from snapstone.cli.main import Parser
from snapstone.cli.remote import endpoint_options, open_service, transfer_options
from snapstone.client.api.retrying import Options
from snapstone.client.errors import UsageError
from snapstone.client.events import NullObserver


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials, and nothing else of AWS's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = Parser(prog="test")
    endpoint_options(parser)
    endpoint_options(parser, "to-")
    transfer_options(parser)
    return parser.parse_args(arguments)


def test_what_is_not_said_is_the_clients_own_default() -> None:
    with open_service(parsed("--region", "eu-west-1"), NullObserver()) as service:
        assert service.options == Options()


def test_the_help_gives_the_clients_own_defaults() -> None:
    parser = Parser(prog="test")
    endpoint_options(parser)
    transfer_options(parser)
    text, options = " ".join(parser.format_help().split()), Options()
    assert f"(default: {options.max_in_flight})" in text
    assert f"(default: {options.retry_seconds / 60:g}m)" in text
    assert f"(default: {options.stall_seconds / 60:g}m)" in text


def test_what_is_said_reaches_the_service() -> None:
    options = parsed(
        *("--endpoint-url", "http://127.0.0.1:9", "--region", "eu-west-1", "--limit-rate", "50MB/s"),
        *("--max-in-flight", "3", "--retry-time", "1m", "--stall-time", "10"),
    )
    with open_service(options, NullObserver()) as service:
        assert service.options == Options(60.0, 10.0, 3, 50_000_000.0)
        assert (service.endpoint.url, service.endpoint.region) == ("http://127.0.0.1:9", "eu-west-1")


def test_two_endpoints_are_told_apart_by_their_prefix() -> None:
    options = parsed("--region", "eu-west-1", "--to-region", "us-east-2", "--to-endpoint-url", "http://127.0.0.1:9")
    with open_service(options, NullObserver()) as here, open_service(options, NullObserver(), "to-") as there:
        assert (here.endpoint.region, there.endpoint.region) == ("eu-west-1", "us-east-2")
        assert here.endpoint.url == "https://ebs.eu-west-1.amazonaws.com"
        assert there.endpoint.url == "http://127.0.0.1:9"


def test_a_command_without_transfer_options_has_the_defaults() -> None:
    parser = Parser(prog="test")
    endpoint_options(parser)
    with open_service(parser.parse_args(["--region", "eu-west-1"]), NullObserver()) as service:
        assert service.options == Options()


def test_no_region_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="region"), open_service(parsed(), NullObserver()):
        pass
