"""Requests as real botocore signs them, and an engine with just what wire asks of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from snapstone.catalog.contract.identities import SealedAccessKey
from snapstone.core.ids import AccountId
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Engine
from snapstone.service.health import Health, StoreGate
from snapstone.service.identities.identity import Credentials as KnownCredentials
from snapstone.wire.http import BodyTooLargeError, Request

ENDPOINT: Final = "http://127.0.0.1:7070"
HOST: Final = "127.0.0.1:7070"
REGION: Final = "eu-central-1"
REQUEST_ID: Final = "11111111-2222-3333-4444-555555555555"
ACCOUNT: Final = AccountId("123456789012")


@dataclass(frozen=True)
class ClientKey:
    """A key of ACCOUNT's root, as a client has it."""

    access_key_id: str
    secret: str
    session_token: str | None = None
    expires_at_ms: int | None = None
    active: bool = True
    account_id: AccountId = ACCOUNT

    def credentials(self, presented_token: str | None) -> KnownCredentials:
        """What the server knows of it."""
        token_ok = presented_token == self.session_token
        principal = root_principal(ACCOUNT)
        return KnownCredentials(
            self.access_key_id, self.secret, ACCOUNT, principal, self.active, self.expires_at_ms, token_ok
        )


KEY: Final = ClientKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SESSION_KEY: Final = ClientKey("ASIAIOSFODNN7EXAMPLE", "anotherSecret", "token/with+signs==", 2**62)


@dataclass
class MemoryBody:
    """A body that has arrived already; counts what was read of it."""

    content: bytes = b""
    chunked: bool = False
    read_count: int = 0

    @property
    def declared_size(self) -> int | None:
        return None if self.chunked else len(self.content)

    def read_into(self, view: memoryview) -> int:
        self.read_count += 1
        piece, self.content = self.content[: len(view)], self.content[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    def read_all(self, limit: int) -> bytes:
        self.read_count += 1
        if len(self.content) > limit:
            raise BodyTooLargeError(limit)
        return self.content


@dataclass
class EngineParts:
    """The parts of an engine that wire uses."""

    keys: Iterable[ClientKey] = (KEY,)
    now: int = 0
    regions: tuple[str, ...] = (REGION, "us-east-1")
    catalog_error: Exception | None = None
    objects_error: Exception | None = None
    looked_up: list[str] = field(default_factory=list)
    health: Health = field(default_factory=Health)
    gate: StoreGate = field(default_factory=StoreGate)

    def engine(self) -> Engine:
        parts = SimpleNamespace(
            catalog=SimpleNamespace(
                sealed_access_key=self._sealed_access_key,
                check=lambda: _raise(self.catalog_error),
                kms_key=lambda _key_id: None,
                key_material=lambda _key_id, _version: None,
            ),
            objects=SimpleNamespace(has=lambda _address: _raise(self.objects_error)),
            keys=SimpleNamespace(opened=lambda sealed, _purpose: sealed, row=lambda _key_id: None),
            now_ms=lambda: self.now or int(datetime.now(UTC).timestamp() * 1000),
            settings=SimpleNamespace(regions=self.regions),
            health=self.health,
            gate=self.gate,
        )
        return cast(Engine, parts)

    def _sealed_access_key(self, access_key_id: str) -> SealedAccessKey | None:
        self.looked_up.append(access_key_id)
        for key in self.keys:
            if key.access_key_id == access_key_id:
                return SealedAccessKey(access_key_id, ACCOUNT, None, key.active, 0, key.secret.encode())
        return None


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


def request(
    method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | MemoryBody = b""
) -> Request:
    """A request as the listener hands it over; `headers` in any case, `host` added if it lacks."""
    lower = {"host": HOST} | {name.lower(): value for name, value in (headers or {}).items()}
    return Request(method, target, lower, MemoryBody(body) if isinstance(body, bytes) else body, "peer", REQUEST_ID)


def signed(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    service: str = "ebs",
    region: str = REGION,
    key: ClientKey = KEY,
) -> Request:
    """A request with an Authorization header made by botocore's SigV4Auth."""
    aws = AWSRequest(method, ENDPOINT + target, headers=dict(headers or {}), data=body)
    SigV4Auth(_credentials(key), service, region).add_auth(aws)
    return request(method, target, dict(aws.headers.items()), body)


def presigned(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    service: str = "ebs",
    region: str = REGION,
    key: ClientKey = KEY,
    expires: int = 3600,
) -> Request:
    """A request with a query signed by botocore's SigV4QueryAuth; `body` is sent, not signed."""
    aws = AWSRequest(method, ENDPOINT + target, headers=dict(headers or {}))
    SigV4QueryAuth(_credentials(key), service, region, expires=expires).add_auth(aws)
    return request(method, aws.url[len(ENDPOINT) :], dict(aws.headers.items()), body)


def from_prepared(prepared: Any) -> Request:
    """What botocore was about to send, as the listener hands it over."""
    parts = urlsplit(prepared.url)
    headers = {
        name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in prepared.headers.items()
    }
    body = prepared.body or b""
    content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()
    target = parts.path + ("?" + parts.query if parts.query else "")
    return request(prepared.method, target, headers | {"host": parts.netloc}, content)


def signed_at_ms(of: Request) -> int:
    """When a header-signed request says it was signed."""
    moment = datetime.strptime(of.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000


def _credentials(key: ClientKey) -> Credentials:
    return Credentials(key.access_key_id, key.secret, key.session_token)
