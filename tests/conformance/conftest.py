"""Clients of the shared server: unmodified boto3, and one that sends what boto3 would refuse."""

from __future__ import annotations

import pytest
from tests.conformance.raw_client import RawClient
from tests.server_process import Client, ServerProcess


@pytest.fixture(scope="session")
def ebs(server: ServerProcess) -> Client:
    """The EBS direct APIs in the server's usual region."""
    return server.client("ebs")


@pytest.fixture(scope="session")
def ebs_elsewhere(server: ServerProcess) -> Client:
    """The same account in another region."""
    return server.client("ebs", region="us-west-2")


@pytest.fixture(scope="session")
def ec2(server: ServerProcess) -> Client:
    """EC2 in the server's usual region."""
    return server.client("ec2")


@pytest.fixture(scope="session")
def raw(server: ServerProcess) -> RawClient:
    """Requests built by hand and signed as botocore signs."""
    return RawClient(server.address, server.key)
