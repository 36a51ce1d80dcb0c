"""Signature V4 verified: AWS's published vectors, botocore's signatures, and each part of them changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstone.core.sigv4 import split_target
from snapstone.service.identities.identity import Credentials
from snapstone.wire.http import Request
from snapstone.wire.refusals import (
    ClockSkewError,
    ExpiredSessionError,
    InvalidSessionTokenError,
    MalformedSignatureError,
    SignatureMismatchError,
    UnknownAccessKeyError,
    UnknownRegionError,
)
from snapstone.wire.sigv4 import EMPTY_HASH, check_scope, read_claim, verify
from tests.unit.wire.requests import KEY, REGION, SESSION_KEY, ClientKey, presigned, request, signed, signed_at_ms

VECTOR_KEY = ClientKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
VECTOR_DATE = "20150830T123600Z"


def verified(
    made: Request, keys: Iterable[ClientKey] = (KEY, SESSION_KEY), body: bytes = b"", now_ms: int = 0
) -> ClientKey:
    path, query = split_target(made.target)
    by_id = {key.access_key_id: key for key in keys}
    payload_hash = hashlib.sha256(body).hexdigest()
    claim = read_claim(made.headers, query)

    def find_key(access_key_id: str) -> Credentials | None:
        return by_id[access_key_id].credentials(claim.session_token) if access_key_id in by_id else None

    found = verify(made.method, path, made.headers, claim, (payload_hash,), find_key, now_ms)
    return by_id[found.access_key_id]


def authorization(service: str, signed_headers: str, signature: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, "
        f"SignedHeaders={signed_headers}, Signature={signature}"
    )


@pytest.mark.parametrize(
    ("method", "target", "signature"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/example/..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("GET", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_the_published_test_suite_is_accepted(method: str, target: str, signature: str) -> None:
    headers = {
        "host": "example.amazonaws.com",
        "x-amz-date": VECTOR_DATE,
        "authorization": authorization("service", "host;x-amz-date", signature),
    }
    assert verified(request(method, target, headers), [VECTOR_KEY]) == VECTOR_KEY


def test_the_worked_example_of_the_signing_guide_is_accepted() -> None:
    headers = {
        "host": "iam.amazonaws.com",
        "x-amz-date": VECTOR_DATE,
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "authorization": authorization(
            "iam", "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        ),
    }
    assert verified(request("GET", "/?Action=ListUsers&Version=2010-05-08", headers), [VECTOR_KEY]) == VECTOR_KEY


@pytest.mark.parametrize(
    "target",
    ["/", "/snapshots/snap-1/blocks?pageToken=a%2B%2F%3D&maxResults=100", "/base/snapshots/Snap-XYZ%2F../blocks/3"],
)
@pytest.mark.parametrize("sign", [signed, presigned])
@pytest.mark.parametrize("key", [KEY, SESSION_KEY])
def test_what_botocore_signs_is_accepted(target: str, sign: Callable[..., Request], key: ClientKey) -> None:
    assert verified(sign("GET", target, {"x-extra": "a  b"}, key=key)) == key


_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(
    segments=st.lists(_texts.filter(lambda text: text not in ("", ".", "..")), max_size=4),
    query=st.dictionaries(_texts.filter(lambda text: not text.startswith("X-Amz-")), _texts, max_size=4),
    header=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
    sign=st.sampled_from([signed, presigned]),
)
def test_botocore_and_we_agree_on_any_characters(
    segments: list[str], query: dict[str, str], header: str, sign: Callable[..., Request]
) -> None:
    target = "/" + "/".join(quote(segment, safe="") for segment in segments)
    if query:
        target += "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    assert verified(sign("GET", target, {"x-extra": header.strip()})) == KEY


def test_a_signed_body_is_accepted() -> None:
    assert verified(signed("POST", "/snapshots", body=b'{"VolumeSize": 1}'), body=b'{"VolumeSize": 1}') == KEY


def change_method(made: Request) -> None:
    made.method = "POST"


def change_path(made: Request) -> None:
    made.target = made.target.replace("/blocks", "/block")


def change_query(made: Request) -> None:
    made.target = made.target.replace("maxResults=100", "maxResults=101")


def add_to_query(made: Request) -> None:
    made.target += "&more=1"


def change_header(made: Request) -> None:
    made.headers["x-extra"] = "other"


def change_host(made: Request) -> None:
    made.headers["host"] = "127.0.0.1:7071"


def change_signature(made: Request) -> None:
    _replace(made, r"Signature=(.)", lambda found: f"Signature={'0' if found[1] != '0' else '1'}")


def change_region(made: Request) -> None:
    _replace(made, REGION, lambda _: "us-east-1")


def change_service(made: Request) -> None:
    _replace(made, r"(/|%2F)ebs(/|%2F)", lambda found: f"{found[1]}ec2{found[2]}")


def change_date(made: Request) -> None:
    pattern = r"(X-Amz-Date=\d{8}T)\d{6}Z"
    made.target = re.sub(pattern, r"\g<1>000001Z", made.target)
    if "x-amz-date" in made.headers:
        made.headers["x-amz-date"] = made.headers["x-amz-date"][:9] + "000001Z"


def _replace(made: Request, pattern: str, new: Callable[[re.Match[str]], str]) -> None:
    made.target = re.sub(pattern, new, made.target, count=1)
    if "authorization" in made.headers:
        made.headers["authorization"] = re.sub(pattern, new, made.headers["authorization"], count=1)


@pytest.mark.parametrize(
    "change",
    [
        change_method,
        change_path,
        change_query,
        add_to_query,
        change_header,
        change_host,
        change_signature,
        change_region,
        change_service,
        change_date,
    ],
)
@pytest.mark.parametrize("sign", [signed, presigned])
def test_a_changed_part_breaks_the_signature(change: Callable[[Request], None], sign: Callable[..., Request]) -> None:
    made = sign("GET", "/snapshots/snap-1/blocks?maxResults=100", {"x-extra": "value"})
    before = (made.method, made.target, dict(made.headers))
    change(made)
    assert before != (made.method, made.target, made.headers)
    with pytest.raises(SignatureMismatchError):
        verified(made)


def test_another_body_breaks_the_signature() -> None:
    with pytest.raises(SignatureMismatchError):
        verified(signed("POST", "/snapshots", body=b"{}"), body=b"{ }")


def test_a_longer_life_breaks_a_presigned_url() -> None:
    made = presigned("GET", "/", expires=60)
    made.target = made.target.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    with pytest.raises(SignatureMismatchError):
        verified(made)


def test_a_signed_header_that_is_gone_is_refused() -> None:
    made = signed("GET", "/", {"x-extra": "1"})
    del made.headers["x-extra"]
    with pytest.raises(MalformedSignatureError, match="x-extra"):
        verified(made)


def test_any_one_of_the_payload_hashes_will_do() -> None:
    made = signed("GET", "/")
    claim = read_claim(made.headers, "")
    known = KEY.credentials(None)
    find = {KEY.access_key_id: known}.get
    assert verify("GET", "/", made.headers, claim, ("0" * 64, EMPTY_HASH, "1" * 64), find, 0) == known
    with pytest.raises(SignatureMismatchError):
        verify("GET", "/", made.headers, claim, ("0" * 64, "1" * 64), find, 0)


def test_an_unknown_key_and_an_inactive_one_are_the_same() -> None:
    made = signed("GET", "/")
    for keys in ([], [replace(KEY, active=False)]):
        with pytest.raises(UnknownAccessKeyError):
            verified(made, keys)


def test_a_rotated_secret_is_not_served_from_the_cache() -> None:
    made = signed("GET", "/")
    assert verified(made) == KEY
    with pytest.raises(SignatureMismatchError):
        verified(made, [replace(KEY, secret="rotated")])
    assert verified(made) == KEY


@pytest.mark.parametrize("sign", [signed, presigned])
def test_a_session_token_must_be_the_keys_own(sign: Callable[..., Request]) -> None:
    wrong = sign("GET", "/", key=replace(SESSION_KEY, session_token="wrong"))
    missing = sign("GET", "/", key=replace(SESSION_KEY, session_token=None))
    surplus = sign("GET", "/", key=replace(KEY, session_token="surplus"))
    for made in (wrong, missing, surplus):
        with pytest.raises(InvalidSessionTokenError):
            verified(made)


def test_temporary_credentials_end_at_their_time() -> None:
    keys = [replace(SESSION_KEY, expires_at_ms=1_000)]
    made = signed("GET", "/", key=SESSION_KEY)
    assert verified(made, keys, now_ms=999) == keys[0]
    with pytest.raises(ExpiredSessionError):
        verified(made, keys, now_ms=1_000)


def test_only_the_owner_of_a_key_learns_that_it_has_expired() -> None:
    made = signed("GET", "/", key=replace(SESSION_KEY, secret="guessed"))
    with pytest.raises(SignatureMismatchError):
        verified(made, [replace(SESSION_KEY, expires_at_ms=1)], now_ms=2)


class TestScope:
    @pytest.mark.parametrize("seconds", [-900, 0, 900])
    def test_a_clock_may_be_fifteen_minutes_off(self, seconds: int) -> None:
        made = signed("GET", "/")
        check_scope(read_claim(made.headers, ""), {REGION}, signed_at_ms(made) + seconds * 1000)

    def test_a_signature_from_the_past_is_refused(self) -> None:
        made = signed("GET", "/")
        made.headers["x-amz-date"] = VECTOR_DATE
        made.headers["authorization"] = re.sub(r"/\d{8}/", "/20150830/", made.headers["authorization"])
        with pytest.raises(ClockSkewError) as caught:
            check_scope(read_claim(made.headers, ""), {REGION}, (1_440_938_160 + 901) * 1000)
        assert caught.value.message == (
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"
        )

    def test_a_signature_from_the_future_is_refused(self) -> None:
        made = signed("GET", "/")
        made.headers["x-amz-date"] = VECTOR_DATE
        made.headers["authorization"] = re.sub(r"/\d{8}/", "/20150830/", made.headers["authorization"])
        with pytest.raises(ClockSkewError) as caught:
            check_scope(read_claim(made.headers, ""), {REGION}, (1_440_938_160 - 901) * 1000)
        assert caught.value.message == (
            "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z "
            "(20150830T122059Z + 15 min.)"
        )

    @pytest.mark.parametrize(("seconds", "accepted"), [(-900, True), (-901, False), (60, True), (61, False)])
    def test_a_presigned_url_lives_as_long_as_it_says(self, seconds: int, accepted: bool) -> None:
        claim = read_claim({}, presigned("GET", "/", expires=60).target[2:])
        now_ms = (claim.signed_at_s + seconds) * 1000
        if accepted:
            check_scope(claim, {REGION}, now_ms)
        else:
            with pytest.raises(ClockSkewError):
                check_scope(claim, {REGION}, now_ms)

    def test_a_region_that_is_not_served_is_refused(self) -> None:
        made = signed("GET", "/", region="mars-north-1")
        with pytest.raises(UnknownRegionError) as caught:
            check_scope(read_claim(made.headers, ""), {REGION}, signed_at_ms(made))
        assert caught.value.region == "mars-north-1"

    def test_the_scope_is_of_the_day_of_the_date(self) -> None:
        made = signed("GET", "/")
        made.headers["authorization"] = re.sub(r"/\d{8}/", "/20150829/", made.headers["authorization"])
        with pytest.raises(SignatureMismatchError, match="Date in Credential scope"):
            check_scope(read_claim(made.headers, ""), {REGION}, signed_at_ms(made))
