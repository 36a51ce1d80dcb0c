"""Own signing against botocore's, which every AWS client in Python signs with."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from snapstone.client.api import block_calls
from snapstone.client.api.block_calls import EMPTY_HASH, UNSIGNED, Signer
from snapstone.client.api.endpoint import AccessKey

HOST = "ebs.eu-central-1.amazonaws.com"
KEY = AccessKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
SESSION_KEY = AccessKey("ASIAEXAMPLE", "secret", "a/session+token==")
PUT_HEADERS = [
    ("x-amz-checksum", "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE="),
    ("x-amz-checksum-algorithm", "SHA256"),
    ("x-amz-data-length", "524288"),
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment at which things are signed: one cell."""
    moment = [1_780_000_000.0]
    monkeypatch.setattr(
        block_calls, "time", SimpleNamespace(time=lambda: moment[0], strftime=time.strftime, gmtime=time.gmtime)
    )
    return moment


def sent(head: bytes) -> dict[str, str]:
    """The headers of a head."""
    lines = head.decode().split("\r\n")[1:-1]
    return dict(line.split(": ", 1) for line in lines)


def botocore_authorization(
    method: str, url: str, headers: list[tuple[str, str]], payload_hash: str, key: AccessKey, moment: float
) -> str:
    """What botocore puts into Authorization for the same request at the same moment."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
    request = AWSRequest(method=method, url=url, headers=dict(headers))
    request.headers["X-Amz-Date"] = date
    request.headers["X-Amz-Content-SHA256"] = payload_hash
    if key.session_token:
        request.headers["X-Amz-Security-Token"] = key.session_token
    request.context["timestamp"] = date
    auth = SigV4Auth(Credentials(key.access_key_id, key.secret, key.session_token), "ebs", "eu-central-1")
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    names = auth.signed_headers(auth.headers_to_sign(request))
    signature = auth.signature(to_sign, request)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature={signature}"


@pytest.mark.parametrize("key", [KEY, SESSION_KEY])
def test_a_put_is_signed_as_botocore_signs_it(clock: list[float], key: AccessKey) -> None:
    path = "/snapshots/snap-0123456789abcdef0/blocks/7"
    head = Signer(HOST, "eu-central-1").head(("PUT", path, ""), PUT_HEADERS, UNSIGNED, key)
    expected = botocore_authorization("PUT", f"https://{HOST}{path}", PUT_HEADERS, UNSIGNED, key, clock[0])
    assert sent(head)["authorization"] == expected
    assert head.startswith(f"PUT {path} HTTP/1.1\r\n".encode())
    assert sent(head)["host"] == HOST
    assert sent(head).get("x-amz-security-token") == key.session_token


def test_a_get_is_signed_as_botocore_signs_it(clock: list[float]) -> None:
    path, query = "/base%20path/snapshots/snap-1/blocks/0", "blockToken=AAAB%2Bc%2F%3D"
    head = Signer(HOST, "eu-central-1").head(("GET", path, query), (), EMPTY_HASH, KEY)
    expected = botocore_authorization("GET", f"https://{HOST}{path}?{query}", [], EMPTY_HASH, KEY, clock[0])
    assert sent(head)["authorization"] == expected
    assert head.startswith(f"GET {path}?{query} HTTP/1.1\r\n".encode())


def test_the_key_of_a_day_is_not_used_on_the_next_nor_for_other_credentials(clock: list[float]) -> None:
    signer, path = Signer(HOST, "eu-central-1"), "/snapshots/snap-1/blocks/0"
    for moment, key in [(0.0, KEY), (86_400.0, KEY), (86_400.0, SESSION_KEY), (0.0, KEY)]:
        clock[0] = 1_780_000_000.0 + moment
        expected = botocore_authorization("GET", f"https://{HOST}{path}", [], EMPTY_HASH, key, clock[0])
        assert sent(signer.head(("GET", path, ""), (), EMPTY_HASH, key))["authorization"] == expected


def test_a_skewed_clock_is_corrected_for(clock: list[float]) -> None:
    signer = Signer(HOST, "eu-central-1")
    signer.skew_seconds = -3600.0
    head = signer.head(("GET", "/", ""), (), EMPTY_HASH, KEY)
    assert sent(head)["x-amz-date"] == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock[0] - 3600))
