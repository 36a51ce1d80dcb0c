"""A client of the shared server, which it finds as any AWS client would: by the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snapstone.client import Client, connect
from tests.server_process import Client as Boto3Client
from tests.server_process import ServerProcess


@pytest.fixture
def client(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Everything at the shared server."""
    for name, value in server.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    with connect() as client:
        yield client


@pytest.fixture
def ebs(server: ServerProcess) -> Boto3Client:
    """Unmodified boto3, to make snapshots and to look at them from outside."""
    return server.client("ebs")
