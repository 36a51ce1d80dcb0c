"""Both forms of signature read, and everything that makes one unreadable."""

from __future__ import annotations

import re

import pytest

from snapstone.core.sigv4 import split_target
from snapstone.wire.http import Request
from snapstone.wire.refusals import MalformedSignatureError, MissingCredentialsError
from snapstone.wire.sigv4 import MAX_EXPIRES_SECONDS, Claim, read_claim
from tests.unit.wire.requests import KEY, REGION, SESSION_KEY, presigned, request, signed


def claim_of(request: Request) -> Claim:
    return read_claim(request.headers, split_target(request.target)[1])


def test_a_header_signature_is_read() -> None:
    claim = claim_of(signed("GET", "/snapshots/snap-1/blocks?b=2&a=1"))
    assert (claim.access_key_id, claim.region, claim.service) == (KEY.access_key_id, REGION, "ebs")
    assert claim.signed_names == ["host", "x-amz-date"]
    assert claim.scope_date == claim.timestamp[:8]
    assert claim.canonical_query == "a=1&b=2"
    assert (claim.is_presigned, claim.session_token) == (False, None)


def test_a_presigned_query_is_read() -> None:
    claim = claim_of(presigned("GET", "/snapshots/snap-1/blocks", expires=77, key=SESSION_KEY))
    assert (claim.access_key_id, claim.region, claim.service) == (SESSION_KEY.access_key_id, REGION, "ebs")
    assert (claim.expires_seconds, claim.session_token) == (77, SESSION_KEY.session_token)
    assert "X-Amz-Signature" not in claim.canonical_query


def test_the_signing_date_is_seconds_since_the_epoch() -> None:
    made = signed("GET", "/")
    made.headers["x-amz-date"] = "20150830T123600Z"
    assert claim_of(made).signed_at_s == 1_440_938_160


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 30 Aug 2015 12:36:00 GMT",
        "Sun, 30 Aug 2015 14:36:00 +0200",
        "Sun, 30 Aug 2015 12:36:00 -0000",
        "20150830T123600Z",
    ],
)
def test_a_date_header_stands_in_for_a_missing_x_amz_date(date: str) -> None:
    made = signed("GET", "/")
    made.headers["authorization"] = made.headers["authorization"].replace("x-amz-date", "date")
    del made.headers["x-amz-date"]
    made.headers["date"] = date
    claim = claim_of(made)
    assert (claim.timestamp, claim.signed_at_s) == ("20150830T123600Z", 1_440_938_160)


def test_nothing_signed_is_missing_credentials() -> None:
    with pytest.raises(MissingCredentialsError):
        claim_of(request("GET", "/snapshots?x=1"))


def test_both_forms_at_once_are_refused() -> None:
    made = presigned("GET", "/snapshots/snap-1/blocks")
    made.headers["authorization"] = signed("GET", "/").headers["authorization"]
    with pytest.raises(MalformedSignatureError, match="both"):
        claim_of(made)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("^AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("^AWS4-HMAC-SHA256.*", "Basic dXNlcjpwYXNz"),
        ("Credential=[^,]*, ", ""),
        ("SignedHeaders=[^,]*, ", ""),
        (", Signature=.*", ""),
        ("$", ", Signature=" + "0" * 64),
        ("$", ", Extra=1"),
        ("aws4_request", "aws3_request"),
        ("/ebs/", "/ebs/more/"),
        ("/ebs/", "//"),
        ("Signature=....", "Signature="),
        ("Signature=....", "Signature=ABCD"),
        ("SignedHeaders=host;", "SignedHeaders="),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=host"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;"),
    ],
)
def test_a_part_that_is_missing_doubled_or_unreadable_is_refused(pattern: str, replacement: str) -> None:
    made = signed("GET", "/")
    changed = re.sub(pattern, replacement, made.headers["authorization"], count=1)
    assert changed != made.headers["authorization"]
    made.headers["authorization"] = changed
    with pytest.raises(MalformedSignatureError):
        claim_of(made)


@pytest.mark.parametrize(
    "date",
    ["", "20150830", "20150830T123600", "20151330T123600Z", "20150830T253600Z", "2015-08-30T12:36Z", "yesterday"],
)
@pytest.mark.parametrize("name", ["x-amz-date", "date"])
def test_a_date_that_is_none_is_refused(name: str, date: str) -> None:
    made = signed("GET", "/")
    del made.headers["x-amz-date"]
    made.headers[name] = date
    with pytest.raises(MalformedSignatureError):
        claim_of(made)


def test_no_date_at_all_is_refused() -> None:
    made = signed("GET", "/")
    del made.headers["x-amz-date"]
    with pytest.raises(MalformedSignatureError, match="neither"):
        claim_of(made)


def test_a_session_token_header_must_be_signed() -> None:
    made = signed("GET", "/")
    made.headers["x-amz-security-token"] = "smuggled"
    with pytest.raises(MalformedSignatureError, match="x-amz-security-token"):
        claim_of(made)


def test_a_presigned_request_takes_no_session_token_header() -> None:
    made = presigned("GET", "/")
    made.headers["x-amz-security-token"] = "smuggled"
    with pytest.raises(MalformedSignatureError):
        claim_of(made)


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"])
@pytest.mark.parametrize("doubled", [False, True])
def test_a_presigned_part_is_there_exactly_once(name: str, doubled: bool) -> None:
    made = presigned("GET", "/")
    piece = re.search(f"X-Amz-{name}=[^&]*", made.target)
    assert piece is not None
    made.target = made.target + "&" + piece[0] if doubled else made.target.replace(piece[0], "x=1")
    with pytest.raises(MalformedSignatureError, match=f"X-Amz-{name}"):
        claim_of(made)


@pytest.mark.parametrize(("name", "value"), [("Algorithm", "AWS4"), ("SignedHeaders", "x-amz-date"), ("Date", "now")])
def test_a_presigned_part_must_be_readable(name: str, value: str) -> None:
    made = presigned("GET", "/")
    made.target = re.sub(f"X-Amz-{name}=[^&]*", f"X-Amz-{name}={value}", made.target)
    with pytest.raises(MalformedSignatureError):
        claim_of(made)


@pytest.mark.parametrize("seconds", [1, MAX_EXPIRES_SECONDS])
def test_a_presigned_url_may_live_one_second_to_seven_days(seconds: int) -> None:
    assert claim_of(presigned("GET", "/", expires=seconds)).expires_seconds == seconds


@pytest.mark.parametrize("seconds", ["0", "-1", "604801", "1.5", "soon", "9" * 5000])
def test_another_life_is_refused(seconds: str) -> None:
    made = presigned("GET", "/")
    made.target = made.target.replace("X-Amz-Expires=3600", "X-Amz-Expires=" + seconds)
    with pytest.raises(MalformedSignatureError, match="X-Amz-Expires"):
        claim_of(made)
