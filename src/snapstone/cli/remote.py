"""Options for endpoint, identity and transfer limits, and the service they select."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from snapstone.cli import quantities
from snapstone.cli.outcome import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapstone.cli.outcome import Exit
    from snapstone.client.api.service import Service
    from snapstone.client.events import Observer

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MOST_IN_FLIGHT: Final = 512
"""Each request in flight has a thread and a buffer of its own: 256 MiB of buffers."""

_LIMITS: Final = {
    "retry_time": "retry_seconds",
    "stall_time": "stall_seconds",
    "max_in_flight": "max_in_flight",
    "limit_rate": "limit_bytes_per_second",
}
"""Fields of `client.api.retrying.Options`, which has their defaults, by the command line's options."""


def add_command(
    subparsers: Subparsers, name: str, text: str, run: Callable[[argparse.Namespace], Exit], description: str = ""
) -> argparse.ArgumentParser:
    """Add a command of the client, with its help."""
    parser = subparsers.add_parser(
        name,
        help=text,
        description=description or text[0].upper() + text[1:] + ".",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def endpoint_options(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Which endpoint, and as whom: all that is not said here, AWS's own variables and files say."""
    title = "the target's endpoint" if prefix else "endpoint (default: from AWS's environment variables and files)"
    group = parser.add_argument_group(title)
    group.add_argument(f"--{prefix}profile", metavar="NAME", help="profile in AWS's configuration files")
    group.add_argument(f"--{prefix}endpoint-url", metavar="URL", help="URL of a server, such as http://127.0.0.1:9800")
    group.add_argument(f"--{prefix}region", metavar="REGION", help="region")
    if not prefix:
        group.add_argument(
            "--retry-time",
            metavar="TIME",
            type=quantities.duration,
            help="give up on a request that keeps failing or being throttled for this long (default: 5m)",
        )


def transfer_options(parser: argparse.ArgumentParser) -> None:
    """Add options for rate, concurrency and stall time."""
    group = parser.add_argument_group("transfer")
    group.add_argument(
        "--limit-rate", metavar="RATE", type=quantities.rate, help="maximum bytes per second, such as 50M or 1.5GiB/s"
    )
    group.add_argument(
        "--max-in-flight",
        metavar="N",
        type=quantities.count(1, MOST_IN_FLIGHT),
        help="maximum number of requests in flight (default: 64); the actual number adapts",
    )
    group.add_argument(
        "--stall-time",
        metavar="TIME",
        type=quantities.duration,
        help="give up if no block completes for this long (default: 2m)",
    )


@contextmanager
def open_service(options: argparse.Namespace, observer: Observer, prefix: str = "") -> Iterator[Service]:
    """The endpoint that the options select, open until the block ends; `prefix` is that of its options."""
    from snapstone.client.api.endpoint import resolve
    from snapstone.client.api.retrying import Options
    from snapstone.client.api.service import Service

    given = {name: getattr(options, prefix.replace("-", "_") + name) for name in ("profile", "endpoint_url", "region")}
    limits = {field: getattr(options, name, None) for name, field in _LIMITS.items()}
    set_limits = {field: value for field, value in limits.items() if value is not None}
    service = Service(resolve(**given), Options(**set_limits), observer)
    # All that is imported stays until the end: looking through it for garbage, at the end too, takes 0.1 s and more.
    gc.freeze()
    try:
        yield service
    finally:
        service.close()
