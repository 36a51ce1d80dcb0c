"""Keys, clock and regions of an engine put to the signature's rules."""

from __future__ import annotations

import pytest

from snapstone.core.ids import Region
from snapstone.core.policy.principals import root_principal
from snapstone.service.engine import Caller
from snapstone.wire.refusals import ClockSkewError, UnknownRegionError
from snapstone.wire.sigv4 import EMPTY_HASH, Authentication, read_claim
from tests.unit.wire.requests import ACCOUNT, KEY, REGION, EngineParts, signed, signed_at_ms


def test_a_caller_is_the_keys_account_in_the_scopes_region() -> None:
    made = signed("GET", "/", region="us-east-1")
    authentication = Authentication(EngineParts().engine())
    claim = read_claim(made.headers, "")
    authentication.check_scope(claim)
    caller = authentication.caller(made, "/", claim, (EMPTY_HASH,))
    assert caller == Caller(ACCOUNT, Region("us-east-1"), KEY.access_key_id, root_principal(ACCOUNT))
    assert caller.facts["aws:sourceip"] == "peer"
    assert caller.facts["aws:securetransport"] == "false"


def test_the_engines_clock_and_regions_count() -> None:
    made = signed("GET", "/")
    claim = read_claim(made.headers, "")
    with pytest.raises(ClockSkewError):
        Authentication(EngineParts(now=signed_at_ms(made) + 1_000_000).engine()).check_scope(claim)
    with pytest.raises(UnknownRegionError):
        Authentication(EngineParts(regions=("us-east-1",)).engine()).check_scope(claim)
    assert claim.region == REGION
