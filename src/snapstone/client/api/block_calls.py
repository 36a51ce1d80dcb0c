"""PutSnapshotBlock and GetSnapshotBlock the lean way: own signing, own connections, the caller's buffers.

They come by the million, so signing does as little work as possible (source: AWS's "Create a
signed AWS API request"). What comes back is checked before anybody sees it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from snapstone import __version__
from snapstone.client.api.connection import Answer, BrokenAnswerError, HttpConnection, Remote
from snapstone.client.api.endpoint import AccessKey
from snapstone.client.api.faults import CHECKSUM_MISMATCH, ApiFault, FaultError, fault_of_answer
from snapstone.core.blocks import BLOCK_SIZE, Digest, checksum_from_digest, digest_of
from snapstone.core.sigv4 import ALGORITHM, TERMINATOR, canonical_path, canonical_request, derive_key, signature

SERVICE: Final = "ebs"
EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

Header = tuple[str, str]


class Signer:
    """Signs requests to one host in one region. Safe from any thread."""

    def __init__(self, host: str, region: str) -> None:
        self._host = host
        self._region = region
        self._lock = threading.Lock()
        self._derived: tuple[AccessKey, str, bytes] | None = None
        self.skew_seconds = 0.0
        """Offset from this machine's clock to the endpoint's."""

    def head(
        self, request: tuple[str, str, str], headers: Sequence[Header], payload_hash: str, key: AccessKey
    ) -> bytes:
        """The head of a request up to its last header, without the empty line.

        `request` is method, path and query, both percent-encoded already; names of `headers` are lower-case, and all
        of them are signed.
        """
        method, path, query = request
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + self.skew_seconds))
        signed = sorted([("host", self._host), *headers, *_amz_headers(moment, payload_hash, key)])
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed)
        canonical = canonical_request(method, canonical_path(path), query, lines, names, payload_hash)
        scope = f"{moment[:8]}/{self._region}/{SERVICE}/{TERMINATOR}"
        signed_by = signature(self._signing_key(key, moment[:8]), moment, scope, canonical)
        target = f"{path}?{query}" if query else path
        sent = "".join(f"{name}: {value}\r\n" for name, value in signed)
        return (
            f"{method} {target} HTTP/1.1\r\n{sent}"
            f"authorization: {ALGORITHM} Credential={key.access_key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signed_by}\r\n"
        ).encode("latin-1")

    def _signing_key(self, key: AccessKey, day: str) -> bytes:
        with self._lock:
            if self._derived is None or self._derived[:2] != (key, day):
                self._derived = (key, day, derive_key(key.secret, day, self._region, SERVICE))
            return self._derived[2]


def _amz_headers(moment: str, payload_hash: str, key: AccessKey) -> list[Header]:
    headers = [("x-amz-content-sha256", payload_hash), ("x-amz-date", moment)]
    if key.session_token:
        headers.append(("x-amz-security-token", key.session_token))
    return headers


_PUT_END: Final = (
    f"user-agent: snapstone/{__version__}\r\naccept-encoding: identity\r\ncontent-length: {BLOCK_SIZE}\r\n\r\n"
).encode()
_GET_END: Final = f"user-agent: snapstone/{__version__}\r\naccept-encoding: identity\r\n\r\n".encode()
_SMALL_ANSWER: Final = 4_096
"""Space for the answer to a put (`{}`) or a refusal; longer ones are still read, elsewhere."""


class BlockCalls:
    """One attempt at a put or a get; raises FaultError or OSError. Safe from any thread."""

    def __init__(self, remote: Remote, signer: Signer) -> None:
        self._remote = remote
        self._signer = signer
        self._idle: list[HttpConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def put(self, snapshot_id: str, block_index: int, block: memoryview, digest: Digest, key: AccessKey) -> None:
        """Send a block; done when the endpoint has answered with the very checksum of these bytes."""
        checksum = checksum_from_digest(digest)
        headers = [
            ("x-amz-checksum", checksum),
            ("x-amz-checksum-algorithm", "SHA256"),
            ("x-amz-data-length", str(BLOCK_SIZE)),
        ]
        request = ("PUT", self._path(snapshot_id, block_index), "")
        head = self._signer.head(request, headers, UNSIGNED, key) + _PUT_END
        into = memoryview(bytearray(_SMALL_ANSWER))
        answer = self._exchange(head, block, into)
        if answer.status not in (200, 201):
            raise FaultError(_fault(answer, into))
        if answer.headers.get("x-amz-checksum") != checksum:
            raise FaultError(_mismatch(answer, checksum, answer.headers.get("x-amz-checksum")))

    def get(self, snapshot_id: str, block_index: int, token: str, into: memoryview, key: AccessKey) -> Digest:
        """Receive a block into `into`; its digest, verified with the checksum in the answer."""
        request = ("GET", self._path(snapshot_id, block_index), f"blockToken={quote(token, safe='-_.~')}")
        head = self._signer.head(request, (), EMPTY_HASH, key) + _GET_END
        answer = self._exchange(head, None, into)
        if answer.status != 200:
            raise FaultError(_fault(answer, into))
        digest = digest_of(into)
        checksum = checksum_from_digest(digest)
        if answer.size != BLOCK_SIZE or answer.headers.get("x-amz-checksum") != checksum:
            raise FaultError(_mismatch(answer, answer.headers.get("x-amz-checksum"), checksum))
        return digest

    def _path(self, snapshot_id: str, block_index: int) -> str:
        return f"{self._remote.base_path}/snapshots/{snapshot_id}/blocks/{block_index}"

    def _exchange(self, head: bytes, body: memoryview | None, into: memoryview) -> Answer:
        head = self._remote.for_proxy(head)
        with self._connection() as connection:
            was_open = connection.is_open
            try:
                return connection.exchange(head, body, into)
            except (ConnectionError, BrokenAnswerError):
                # Kept alive, and closed by the other side meanwhile: no failure. Both calls may be made twice.
                if not was_open:
                    raise
                return connection.exchange(head, body, into)

    @contextmanager
    def _connection(self) -> Iterator[HttpConnection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else HttpConnection(self._remote)
        try:
            yield connection
        finally:
            with self._lock:
                self._idle.append(connection)


def _fault(answer: Answer, into: memoryview) -> ApiFault:
    body = answer.loose or bytes(into[: answer.size])
    return fault_of_answer(answer.status, answer.headers, body)


def _mismatch(answer: Answer, expected: str | None, found: str | None) -> ApiFault:
    return ApiFault(
        code=CHECKSUM_MISMATCH,
        message=f"the checksum should be {expected}, but is {found}",
        status=answer.status,
        request_id=answer.headers.get("x-amzn-requestid"),
        date=answer.headers.get("date"),
    )
