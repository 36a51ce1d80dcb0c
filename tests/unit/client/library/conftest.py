"""A client of the shared server, and boto3 to look at the server from outside; made once, for they take a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snapstone.client import Client, connect
from tests.server_process import REGION, ServerProcess
from tests.server_process import Client as Boto3Client


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[Client]:
    """Everything at the shared server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        client = connect(endpoint_url=server.endpoint, region=REGION)
        client.snapshots()
    with client:
        yield client


@pytest.fixture(scope="session")
def ebs(server: ServerProcess) -> Boto3Client:
    """Unmodified boto3, to make snapshots and to look at them from outside."""
    return server.client("ebs")
