"""`snapstone serve`: run a server."""

from __future__ import annotations

import argparse
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from snapstone.cli.outcome import EXIT_CODES, CommandError, Exit
from snapstone.server.config import Settings, SettingsError, add_options, default_data_folder, read_settings

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run a server",
        description="Run a server until SIGTERM or Ctrl-C. The environment variable in brackets also sets the option.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Exit:
    """Serve; print one line on standard output that explains how to connect."""
    try:
        settings = read_settings(vars(options))
    except SettingsError as error:
        raise CommandError(error.message, Exit.USAGE) from None
    from snapstone.server.folder.data_folder import DataFolderError, StartRefusedError
    from snapstone.server.logs import LogFormat, configure
    from snapstone.server.process.read_only import serve_read_only
    from snapstone.server.process.supervisor import FolderLostError, serve
    from snapstone.server.process.worker_pool import WorkerFailedError

    configure(settings.log_level, LogFormat(settings.log_format))
    try:
        run_server = serve_read_only if settings.read_only else serve
        run_server(settings, lambda endpoint: say_ready(endpoint, settings))
    except StartRefusedError as error:
        raise CommandError(error.message, Exit.FAILED) from None
    except (SettingsError, DataFolderError) as error:
        raise CommandError(error.message, Exit.USAGE) from None
    except (WorkerFailedError, FolderLostError) as error:
        raise CommandError(str(error), Exit.FAILED) from None
    except OSError as error:
        raise CommandError(f"the server failed: {error}", Exit.FAILED) from error
    return Exit.DONE


def say_ready(endpoint: str, settings: Settings) -> None:
    """Print how to connect; ignore write errors (a full disk, a closed pipe)."""
    with suppress(OSError):
        print(ready_line(endpoint, settings), flush=True)


def ready_line(endpoint: str, settings: Settings) -> str:
    """The line that explains how to connect."""
    return f'Snapstone is listening on {endpoint} - connect with: eval "$(snapstone env{data_option(settings.data)})"'


def data_option(data: Path) -> str:
    """` --data DIR`, or nothing if that is the default folder."""
    try:
        is_default = data == default_data_folder()
    except SettingsError:
        is_default = False
    return "" if is_default else f" --data {shlex.quote(str(data))}"
