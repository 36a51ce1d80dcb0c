"""From a claim to a Caller: the catalog's keys and the engine's clock and regions put to Signature V4's rules."""

from __future__ import annotations

from snapstone.core.ids import Region
from snapstone.service.engine import Caller, Engine
from snapstone.service.iam.identity import Credentials, credentials_of
from snapstone.wire.claims import Claim
from snapstone.wire.http import Request
from snapstone.wire.sigv4 import check_scope, verify


class Authentication:
    """Asked twice for each request: before its body is read, and with the body's hash."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._regions = frozenset(engine.policy.regions)

    def check_scope(self, claim: Claim) -> None:
        """Refuse what needs neither a body nor a key; raises as `sigv4.check_scope`."""
        check_scope(claim, self._regions, self._engine.now_ms())

    def caller(self, request: Request, path: str, claim: Claim, payload_hashes: tuple[str, ...]) -> Caller:
        """Who signed the request; raises as `sigv4.verify`."""
        engine = self._engine

        def find_key(access_key_id: str) -> Credentials | None:
            return credentials_of(engine, access_key_id, claim.session_token)

        key = verify(request.method, path, request.headers, claim, payload_hashes, find_key, engine.now_ms())
        facts = {
            "aws:sourceip": request.peer,
            "aws:securetransport": "false",
            "aws:useragent": request.headers.get("user-agent", ""),
        }
        return Caller(key.account_id, Region(claim.region), key.access_key_id, key.principal, facts)
