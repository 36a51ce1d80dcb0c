"""Every option of the server: its flag, its environment variable, its default, and what it may be.

A value comes from the command line, else from the environment, else it is the default.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from snapstone.service.quotas import AWS_QUOTAS, Quotas, parse_quotas

DEFAULT_PORT: Final = 9800
"""The default port; if it is taken, a free one is used."""

MOST_DEFAULT_WORKERS: Final = 4

Value = TypeVar("Value")


@dataclass(eq=False)
class SettingsError(Exception):
    """An option with a value that cannot be used; `message` names both and what is allowed."""

    message: str

    def __str__(self) -> str:
        return self.message


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def _seconds(most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or float(text) > most:
            raise ValueError(f"a number of seconds up to {most:g}")
        return float(text)

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return parse


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", text):
        raise ValueError("a region's name, such as us-east-1")
    return text


def _host(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("an address or a host name")
    return text


def _folder(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("the name of a folder")
    return Path(text).expanduser().absolute()


def _file(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("the name of a file")
    return str(Path(text).expanduser().absolute())


def read_quotas(text: str) -> Quotas | None:
    """The quotas of the option `quotas`; None if it is `off`. Raises ValueError."""
    if text in ("off", "aws"):
        return AWS_QUOTAS if text == "aws" else None
    try:
        return parse_quotas(Path(text).read_text())
    except OSError as error:
        raise ValueError(f"off, aws, or a file of quotas that can be read: {error.strerror}") from None


def _quotas(text: str) -> str:
    name = text if text in ("off", "aws") else _file(text)
    read_quotas(name)
    return name


def _yes(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("1 or 0")
    return text == "1"


def default_workers() -> int:
    """The default number of server processes."""
    return min(MOST_DEFAULT_WORKERS, len(os.sched_getaffinity(0)))


def default_data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where data lies unless an option says otherwise: `$XDG_DATA_HOME/snapstone`, else under the home folder.

    Raises SettingsError if there is no home folder.
    """
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    try:
        return (Path(base) / "snapstone").expanduser().absolute()
    except RuntimeError:
        raise SettingsError("this user has no home directory; choose a data folder with --data") from None


def _option(default: Value, parse: Callable[[str], Value], text: str) -> Value:
    """A field of Settings that is an option; `text` is its help."""
    made: Value = field(default=default, metadata={"parse": parse, "help": text})
    return made


@dataclass(frozen=True, slots=True)
class Settings:
    """How one server runs."""

    data: Path = field(metadata={"parse": _folder, "help": "data folder (default: %(folder)s)"})
    read_only: bool = _option(False, _yes, "serve the data folder read-only")
    host: str = _option("127.0.0.1", _host, "address to listen on")
    port: int | None = _option(
        None, _integer(0, 65_535), f"port; 0 for any free one (default: {DEFAULT_PORT}, or a free one)"
    )
    workers: int = _option(
        default_workers(),
        _integer(1, 64),
        f"server processes that share the port (default: one for each processor, at most {MOST_DEFAULT_WORKERS})",
    )
    pin_workers: str = _option("auto", _one_of("auto", "off"), "auto: pin each of several workers to one processor")
    region: str = _option("us-east-1", _region, "region that `snapstone env` tells clients to use")
    max_connections: int = _option(512, _integer(1, 10_000), "maximum number of connections per process")
    log_level: str = _option("info", _one_of("debug", "info", "warning", "error"), "minimum log level")
    log_format: str = _option(
        "auto", _one_of("auto", "json", "text"), "log format; auto: text on a terminal, else JSON"
    )
    page_cache_bytes: int = _option(64 * 1024 * 1024, _integer(0, 1 << 40), "memory for block map pages, per process")
    block_buffers: int = _option(64, _integer(1, 4096), "block buffers of 512 KiB, per process")
    default_max_results: int = _option(10_000, _integer(100, 10_000), "blocks on a page of a list by default")
    seal_wait_seconds: float = _option(5.0, _seconds(60), "how long CompleteSnapshot waits before it answers pending")
    stop_grace_seconds: float = _option(30.0, _seconds(3600), "how long requests may take to finish when stopping")
    root_key_file: str | None = _option(None, _file, "file of the root key (default: root.key in the data folder)")
    root_key_command: str | None = _option(None, str, "command that prints the root key")
    accept_older_catalog: bool = _option(False, _yes, "start once although the catalog lacks acknowledged changes")
    accept_lost_segments: bool = _option(False, _yes, "start once although all segments of the object store are gone")
    quotas: str = _option("off", _quotas, "rate limits: off, aws, or a JSON file with overrides")
    faults: str | None = _option(None, _file, "JSON file of faults to inject; needs --allow-fault-injection")
    allow_fault_injection: bool = _option(False, _yes, "inject the faults of --faults; only for testing clients")
    audit: str = _option(
        "management", _one_of("management", "all", "off"), "calls in the audit log; all includes block reads and writes"
    )
    audit_file_bytes: int = _option(
        64 * 1024 * 1024, _integer(4096, 1 << 40), "size at which the audit file is rotated"
    )
    audit_files: int = _option(10, _integer(1, 1000), "number of rotated audit files to keep")
    accept_copied_folder: bool = _option(
        False, _yes, "start on a folder that was copied while a server was running; blocks may be missing"
    )
    plaintext_beyond_loopback: bool = _option(False, _yes, "listen on other addresses than loopback, without TLS")

    def as_environment(self) -> dict[str, str]:
        """Variables from which `read_settings` makes these settings again, in another process."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return {variable(name): _as_text(value) for name, value in values.items() if value is not None}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give `parser` a flag for every option; what they hold is checked by `read_settings`."""
    for option in fields(Settings):
        flag = "--" + option.name.replace("_", "-")
        text = option.metadata["help"].replace("%(folder)s", "$XDG_DATA_HOME/snapstone or ~/.local/share/snapstone")
        if option.type == "bool":
            parser.add_argument(flag, action="store_const", const="1", help=f"{text} [{variable(option.name)}=1]")
            continue
        if option.default is not None and "default:" not in text:
            text += f" (default: {option.default})"
        metavar = option.name.rpartition("_")[2].upper()
        parser.add_argument(flag, metavar=metavar, help=f"{text} [{variable(option.name)}]")


def read_settings(flags: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from flags by option name (None if not given) and the environment. Raises SettingsError."""
    values: dict[str, Any] = {}
    for option in fields(Settings):
        source, text = "--" + option.name.replace("_", "-"), flags.get(option.name)
        if text is None:
            source, text = variable(option.name), environ.get(variable(option.name))
        if text is not None:
            values[option.name] = _parse(source, text, option.metadata["parse"])
    if "data" not in values:
        values["data"] = default_data_folder(environ)
    settings = Settings(**values)
    _check_exposure(settings)
    _check_faults(settings)
    return settings


def read_data_folder(flag: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The option `data` alone, for commands that run no server. Raises SettingsError."""
    if flag is not None:
        return _parse("--data", flag, _folder)
    text = environ.get(variable("data"))
    return default_data_folder(environ) if text is None else _parse(variable("data"), text, _folder)


def variable(option_name: str) -> str:
    """The environment variable of an option."""
    return f"SNAPSTONE_{option_name.upper()}"


def _parse(source: str, text: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(text)
    except (ValueError, RuntimeError) as error:  # The latter from `~` if there is no home folder.
        raise SettingsError(f"{source} is {text!r}, which is not {error}") from None


def _as_text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _check_exposure(settings: Settings) -> None:
    """Refuse to listen where others could read along, unless told to."""
    if settings.plaintext_beyond_loopback or _is_loopback(settings.host):
        return
    raise SettingsError(
        f"--host is {settings.host!r}, which other machines can reach, and there is no TLS yet: anyone on "
        "the network path could read every block. Listen on 127.0.0.1 with a TLS proxy in front, or, on a "
        "network that you trust, add --plaintext-beyond-loopback"
    )


def _check_faults(settings: Settings) -> None:
    """Refuse to fail on purpose by accident."""
    if settings.faults is not None and not settings.allow_fault_injection:
        raise SettingsError(f"--faults is {settings.faults!r}, which also needs --allow-fault-injection")
    if settings.faults is None:
        return
    from snapstone.server.fault_rules import parse_rules  # It imports the wire floor, which a help text does not need.

    try:
        parse_rules(Path(settings.faults).read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"--faults is {settings.faults!r}, which is not a file of faults: {error}") from None


def _is_loopback(host: str) -> bool:
    """Whether every address of a host is this machine's own loopback. Raises SettingsError if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"--host is {host!r}, which has no address: {error}") from None
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)
