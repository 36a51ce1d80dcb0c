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

RETRY_SECONDS: Final = 300.0
STALL_SECONDS: Final = 120.0
MAX_IN_FLIGHT: Final = 64
MOST_IN_FLIGHT: Final = 512
"""Each request in flight has a thread and a buffer of its own: 256 MiB of buffers."""


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
    """Add options for endpoint and identity; the defaults are AWS's own variables and files."""
    title = (
        "the other side's endpoint"
        if prefix
        else "endpoint (default: from AWS environment variables and configuration files)"
    )
    group = parser.add_argument_group(title)
    group.add_argument(f"--{prefix}profile", metavar="NAME", help="profile in the AWS configuration files")
    group.add_argument(f"--{prefix}endpoint-url", metavar="URL", help="server URL, e.g. http://127.0.0.1:9800")
    group.add_argument(f"--{prefix}region", metavar="REGION", help="region")
    if not prefix:
        group.add_argument(
            "--retry-time",
            metavar="TIME",
            type=quantities.duration,
            default=RETRY_SECONDS,
            help="give up on a request that fails or is throttled for this long (default: 5m)",
        )


def transfer_options(parser: argparse.ArgumentParser) -> None:
    """Add options for rate, concurrency and stall time."""
    group = parser.add_argument_group("transfer")
    group.add_argument(
        "--limit-rate", metavar="RATE", type=quantities.rate, help="maximum bytes per second, e.g. 50M or 1.5GiB/s"
    )
    group.add_argument(
        "--max-in-flight",
        metavar="N",
        type=quantities.count(1, MOST_IN_FLIGHT),
        default=MAX_IN_FLIGHT,
        help=f"maximum requests in flight (default: {MAX_IN_FLIGHT}); the actual number adapts",
    )
    group.add_argument(
        "--stall-time",
        metavar="TIME",
        type=quantities.duration,
        default=STALL_SECONDS,
        help="give up if no block completes for this long (default: 2m)",
    )


@contextmanager
def open_service(options: argparse.Namespace, observer: Observer, prefix: str = "") -> Iterator[Service]:
    """The endpoint that the options select, open until the block ends; `prefix` is that of its options."""
    from snapstone.client.api.endpoint import resolve
    from snapstone.client.api.retrying import Options
    from snapstone.client.api.service import Service

    given = {name: getattr(options, prefix.replace("-", "_") + name) for name in ("profile", "endpoint_url", "region")}
    limits = Options(
        retry_seconds=getattr(options, "retry_time", RETRY_SECONDS),
        stall_seconds=getattr(options, "stall_time", STALL_SECONDS),
        max_in_flight=getattr(options, "max_in_flight", MAX_IN_FLIGHT),
        limit_bytes_per_second=getattr(options, "limit_rate", None),
    )
    service = Service(resolve(**given), limits, observer)
    # Imported modules stay until exit; scanning them for garbage, at exit too, takes 0.1 s or more.
    gc.freeze()
    try:
        yield service
    finally:
        service.close()
