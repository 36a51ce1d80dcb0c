"""Block public access: an account's guard, region by region, against sharing snapshots with everybody."""

from __future__ import annotations

from snapstone.catalog.protection_rows import PublicAccess
from snapstone.core.errors import DryRunPassedError, InvalidParameterError
from snapstone.core.ids import AccountId, Region
from snapstone.core.protection_errors import PublicAccessBlockedError, PublicAccessRequestError
from snapstone.service.engine import Caller, Engine

Answer = dict[str, object]


def enable_snapshot_block_public_access(engine: Engine, caller: Caller, *, state: str, dry_run: bool = False) -> Answer:
    """Block sharing with everybody; `block-all-sharing` also hides what is public already, as long as it holds."""
    try:
        wanted = PublicAccess(state)
    except ValueError:
        raise InvalidParameterError(f"Value ({state}) for parameter State is invalid.") from None
    if wanted is PublicAccess.UNBLOCKED:
        raise PublicAccessRequestError(state)
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_public_access(caller.account_id, caller.region, wanted)
    return {"State": wanted.value}


def disable_snapshot_block_public_access(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """Allow sharing with everybody again; what was hidden is public again."""
    if dry_run:
        raise DryRunPassedError
    engine.catalog.set_public_access(caller.account_id, caller.region, PublicAccess.UNBLOCKED)
    return {"State": PublicAccess.UNBLOCKED.value}


def get_snapshot_block_public_access_state(engine: Engine, caller: Caller, *, dry_run: bool = False) -> Answer:
    """What is blocked; it is always the account itself that says so."""
    if dry_run:
        raise DryRunPassedError
    state = engine.catalog.public_access(caller.account_id, caller.region)
    return {"State": state.value, "ManagedBy": "account"}


def public_access_blocked(engine: Engine, account_id: AccountId, region: Region) -> bool:
    """Whether what an account has shared with everybody in a region is hidden now. Cheap: asked at every read."""
    return engine.catalog.public_access(account_id, region) is PublicAccess.BLOCK_ALL


def require_public_sharing(engine: Engine, caller: Caller) -> None:
    """Raises PublicAccessBlockedError where nothing new may be shared with everybody."""
    if engine.catalog.public_access(caller.account_id, caller.region) is not PublicAccess.UNBLOCKED:
        raise PublicAccessBlockedError(caller.region)
