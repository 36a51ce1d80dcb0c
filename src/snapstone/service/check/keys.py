"""Every key and secret that the catalog keeps sealed: whether it can be opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from snapstone.core.data_key import EnvelopeError
from snapstone.core.errors import DamageError, KeyHiddenError
from snapstone.service.check.problems import Affected, CheckProblem, live_snapshots
from snapstone.service.engine import Engine
from snapstone.service.iam.access_keys import access_key_purpose
from snapstone.service.key_ring import material_purpose, secret_purpose

FROM_BACKUP: Final = "restore the catalog from a backup"


def check_keys(engine: Engine, *, repair: bool) -> Iterator[CheckProblem]:
    """Open everything that is sealed. Raises nothing: a row that is damaged does not hide the next."""
    yield from _check_secrets(engine, repair)
    yield from _check_access_keys(engine)
    yield from _check_materials(engine)
    yield from _check_data_keys(engine)
    yield from _check_domain_keys(engine)


def opens_anything(engine: Engine) -> bool | None:
    """Whether the root key opens anything of the catalog; None if nothing is sealed."""
    found = None
    for sealed, purpose in _sealed_by_root_key(engine):
        found = False
        if _opens(engine, sealed, purpose):
            return True
    return found


def _sealed_by_root_key(engine: Engine) -> Iterable[tuple[bytes, str]]:
    for name, sealed in engine.catalog.secrets():
        yield sealed, secret_purpose(name)
    for material in engine.catalog.materials():
        yield material.sealed, material_purpose(material.key_id, material.version)
    for key in engine.catalog.access_keys():
        yield key.sealed_secret, access_key_purpose(key.access_key_id)


def _opens(engine: Engine, sealed: bytes, purpose: str) -> bool:
    try:
        engine.keys.root_key.unseal(sealed, purpose)
    except EnvelopeError:
        return False
    return True


def _check_secrets(engine: Engine, repair: bool) -> Iterator[CheckProblem]:
    for name, sealed in list(engine.catalog.secrets()):
        if _opens(engine, sealed, secret_purpose(name)):
            continue
        if repair:
            engine.catalog.drop_secret(name, sealed)
        remedy = (
            "--repair lets the server create another, which invalidates block tokens, page tokens and temporary keys"
        )
        yield CheckProblem(f"secret {name}", "it cannot be opened", remedy, repaired=repair)


def _check_access_keys(engine: Engine) -> Iterator[CheckProblem]:
    for key in engine.catalog.access_keys():
        where = f"access key {key.access_key_id}"
        if not _opens(engine, key.sealed_secret, access_key_purpose(key.access_key_id)):
            yield CheckProblem(
                where, "its secret cannot be opened", "create another with `snapstone key`, and remove this one"
            )
        elif key.user_id is not None and engine.catalog.remembered_identity(key.user_id) is None:
            yield CheckProblem(where, f"its user {key.user_id} is missing", FROM_BACKUP)


def _check_materials(engine: Engine) -> Iterator[CheckProblem]:
    for material in engine.catalog.materials():
        where = material_purpose(material.key_id, material.version)
        if not _opens(engine, material.sealed, where):
            yield CheckProblem(where, "it cannot be opened", FROM_BACKUP, _under(engine, material.key_id))
        elif engine.catalog.kms_key(material.key_id) is None:
            yield CheckProblem(where, "its KMS key is missing", FROM_BACKUP, _under(engine, material.key_id))


def _check_data_keys(engine: Engine) -> Iterator[CheckProblem]:
    for each in engine.catalog.data_keys():
        try:
            engine.keys.data_key(each.data_key_id)
        except (DamageError, KeyHiddenError) as error:
            what = error.what if isinstance(error, DamageError) else f"its KMS key {each.key.key_id} is missing"
            affected = Affected()
            for snapshot in live_snapshots(engine):
                if snapshot.data_key_id == each.data_key_id:
                    affected.add(snapshot.snapshot_id)
            yield CheckProblem(f"data key {each.data_key_id.hex()}", what, FROM_BACKUP, affected)


def _check_domain_keys(engine: Engine) -> Iterator[CheckProblem]:
    for sealed in engine.catalog.domain_keys():
        key = engine.catalog.kms_key(sealed.key_id)
        what = "its KMS key is missing"
        if key is not None:
            try:
                engine.keys.domain(key)
                continue
            except (DamageError, KeyHiddenError) as error:
                what = getattr(error, "what", what)
        yield CheckProblem(f"domain key {sealed.key_id}", what, FROM_BACKUP, _under(engine, sealed.key_id))


def _under(engine: Engine, key_id: str) -> Affected:
    """The snapshots that are encrypted under a KMS key."""
    affected = Affected()
    for snapshot in live_snapshots(engine):
        if snapshot.kms_key_arn is not None and snapshot.kms_key_arn.endswith(f"/{key_id}"):
            affected.add(snapshot.snapshot_id)
    return affected
