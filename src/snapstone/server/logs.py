"""Structured logs on standard error: one line an event, as JSON or as text. Never secrets, queries or bodies.

An event is a stdlib log record; its facts travel as `extra={"fields": {...}}`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TextIO

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogFormat(StrEnum):
    """How a log line is written."""

    AUTO = "auto"
    """Text if standard error is a terminal, else JSON."""
    JSON = "json"
    TEXT = "text"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_facts(self, record), default=str)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = _facts(self, record)
        start = f"{facts.pop('time')} {facts.pop('level'):7} {facts.pop('event')}"
        traceback = facts.pop("traceback", None)
        line = " ".join([start, *(f"{name}={_as_text(value)}" for name, value in facts.items())])
        return line if traceback is None else f"{line}\n{traceback}"


def configure(level: str, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send Snapstone's events of `level` (a key of LEVELS) and above to `stream`, by default standard error."""
    stream = stream or sys.stderr
    as_text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())
    logger = logging.getLogger("snapstone")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(LEVELS[level])


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts: dict[str, object] = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
    facts.update(getattr(record, "fields", {}))
    if record.exc_info:
        facts["traceback"] = formatter.formatException(record.exc_info)
    return facts


def _as_text(value: object) -> str:
    """A value on one line: bare if it is plain, else as JSON writes it."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    plain = text.isprintable() and text.isascii() and not set(text) & set(' "=')
    return text if plain or not isinstance(value, str) else json.dumps(value)
