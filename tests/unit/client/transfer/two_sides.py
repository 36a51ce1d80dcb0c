"""Services at real servers, images in memory, and an observer that remembers, for tests of what moves blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

import botocore.session

from snapstone.client.api.endpoint import Endpoint
from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.events import Note, Tally
from snapstone.client.images.contract import State
from snapstone.core.blocks import BLOCK_SIZE
from tests.server_process import REGION, AccessKeyPair, ServerProcess


def endpoint_of(server: ServerProcess, region: str = REGION, key: AccessKeyPair | None = None) -> Endpoint:
    """A server as the client sees it, whatever AWS's variables and files say."""
    key = key or server.key

    def session() -> botocore.session.Session:
        made = botocore.session.Session()
        made.set_credentials(key.access_key_id, key.secret_access_key)
        made.set_config_variable("region", region)
        return made

    return Endpoint(session(), session, server.endpoint)


def service_of(server: ServerProcess, region: str = REGION, key: AccessKeyPair | None = None) -> Service:
    """A service that gives up soon."""
    return Service(endpoint_of(server, region, key), Options(retry_seconds=20.0, stall_seconds=30.0, max_in_flight=8))


class MemoryImage:
    """A Source whose blocks are a mapping; the ranges may be told to hold more than that."""

    name = "memory"

    def __init__(self, blocks: Mapping[int, bytes], size: int, *, sequential: bool = False) -> None:
        self.blocks = dict(blocks)
        self.size = size
        self.sequential = sequential
        self.read_indexes: list[int] = []
        self.version = 0

    def ranges(self) -> Iterator[range]:
        """Neighbours together; all of it for a stream."""
        if self.sequential:
            yield range(-(-self.size // BLOCK_SIZE))
            return
        for _, run in groupby(enumerate(sorted(self.blocks)), key=lambda pair: pair[1] - pair[0]):
            indexes = [index for _, index in run]
            yield range(indexes[0], indexes[-1] + 1)

    def read(self, block_index: int, into: memoryview) -> None:
        """A block, zeros if there is none."""
        self.read_indexes.append(block_index)
        into[:] = self.blocks.get(block_index, bytes(BLOCK_SIZE))

    def state(self) -> State:
        """The version."""
        return {"version": self.version}

    def close(self) -> None:
        """Nothing."""


class Memory:
    """An Observer that remembers."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.begun: list[Tally] = []
        self.ended: list[Tally] = []

    def begin(self, tally: Tally) -> None:
        """Remember."""
        self.begun.append(tally)

    def note(self, note: Note) -> None:
        """Remember."""
        self.notes.append(note)

    def end(self, tally: Tally) -> None:
        """Remember."""
        self.ended.append(tally)

    def messages(self, kind: str) -> list[str]:
        """What notes of a kind said."""
        return [note.message for note in self.notes if note.kind == kind]
