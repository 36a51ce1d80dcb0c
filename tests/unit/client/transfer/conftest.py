"""Every test of transfers runs at a server in memory, which is quick, and again at a real one (`served`)."""

from __future__ import annotations

import pytest

from tests.memory_server import MemoryServer
from tests.unit.client.transfer.two_sides import AnyServer


@pytest.fixture(scope="module", params=["memory", "real"])
def server(request: pytest.FixtureRequest) -> AnyServer:
    if request.param == "memory":
        return MemoryServer()
    real: AnyServer = request.getfixturevalue("shared_server")
    return real
