"""The condition keys of one question: those of its need, of who asks, and of the moment and the request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from snapstone.core.policy.principal import Principal, PrincipalKind
from snapstone.service.engine import Caller, Engine
from snapstone.service.permissions.need import Keys, Need, iso_time

CURRENT_TIME: Final = "aws:currenttime"
EPOCH_TIME: Final = "aws:epochtime"


class RequestKeys(Mapping[str, str | tuple[str, ...]]):
    """Condition keys that notice whether the moment or the request itself was looked at.

    An answer that came without looking at either holds for every request of the same caller, for the same need.
    """

    def __init__(self, engine: Engine, caller: Caller, need: Need) -> None:
        self._engine = engine
        self._facts = caller.facts
        self._lasting = _principal_keys(caller.principal) | {"aws:requestedregion": caller.region}
        if need.resource_account is not None:
            self._lasting["aws:resourceaccount"] = need.resource_account
        self._lasting |= need.keys
        self.looked_at_request = False

    def __getitem__(self, key: str) -> str | tuple[str, ...]:
        lasting = self._lasting.get(key)
        if lasting is not None:
            return lasting
        if key.startswith("aws:") and "/" not in key:  # whether another request will have it is not known
            self.looked_at_request = True
        if key == CURRENT_TIME:
            return iso_time(self._engine.now_ms())
        if key == EPOCH_TIME:
            return str(self._engine.now_ms() // 1_000)
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._lasting, **self._facts, CURRENT_TIME: "", EPOCH_TIME: ""})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _principal_keys(principal: Principal) -> Keys:
    keys: Keys = {
        "aws:principalarn": principal.role_arn or principal.arn,
        "aws:principalaccount": principal.account_id,
        "aws:principaltype": str(principal.kind),
        "aws:userid": principal.user_id,
    }
    if principal.kind is PrincipalKind.USER:
        keys["aws:username"] = principal.name
    if principal.session_issued_at_ms is not None:
        keys["aws:tokenissuetime"] = iso_time(principal.session_issued_at_ms)
    return keys | {f"aws:principaltag/{key.lower()}": value for key, value in principal.tags.items()}
