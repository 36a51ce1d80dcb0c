"""Encryption by default and the default key: per account and region, checked when set, never falling back."""

from __future__ import annotations

from typing import Any

import pytest

from snapstone.catalog.contract.keys import KeyManager, KeyState, KmsKey, key_arn
from snapstone.core.errors import DryRunPassedError, KmsKeyDisabledError, KmsKeyStateError, UnknownKeyError
from snapstone.service.ec2.encryption_settings import (
    disable_ebs_encryption_by_default,
    enable_ebs_encryption_by_default,
    get_ebs_default_kms_key_id,
    get_ebs_encryption_by_default,
    modify_ebs_default_kms_key_id,
    reset_ebs_default_kms_key_id,
)
from snapstone.service.engine import Caller
from snapstone.service.keys.kms_keys import default_key_arn, is_encrypted_by_default, managed_ebs_key, new_key_id
from tests.installation import Installation
from tests.unit.service.ec2.two_accounts import OTHER, OWNER, elsewhere


def made_key(installation: Installation, caller: Caller = OWNER, **changes: Any) -> KmsKey:
    """A customer's key; nobody but its account may use it."""
    key_id = new_key_id(installation.engine)
    members: dict[str, Any] = {
        "key_id": key_id,
        "account_id": caller.account_id,
        "region": caller.region,
        "manager": KeyManager.CUSTOMER,
        "state": KeyState.ENABLED,
        "description": "",
        "policy": '{"Version": "2012-10-17", "Statement": []}',
        "created_at_ms": 0,
    }
    key = KmsKey(**(members | changes))
    assert installation.catalog.insert_kms_key(key, installation.engine.keys.new_material(key_id, 1), None)
    return key


def named_default(installation: Installation, caller: Caller = OWNER) -> object:
    return get_ebs_default_kms_key_id(installation.engine, caller)["KmsKeyId"]


def set_default(installation: Installation, text: str, caller: Caller = OWNER) -> object:
    return modify_ebs_default_kms_key_id(installation.engine, caller, kms_key_id=text)["KmsKeyId"]


class TestEncryptionByDefault:
    def test_it_is_off_on_and_off_again(self, installation: Installation) -> None:
        engine = installation.engine
        off, on = {"EbsEncryptionByDefault": False}, {"EbsEncryptionByDefault": True}
        assert get_ebs_encryption_by_default(engine, OWNER) == off
        for _ in range(2):
            assert enable_ebs_encryption_by_default(engine, OWNER) == on
            assert get_ebs_encryption_by_default(engine, OWNER) == on
        for _ in range(2):
            assert disable_ebs_encryption_by_default(engine, OWNER) == off
            assert get_ebs_encryption_by_default(engine, OWNER) == off

    def test_it_is_one_accounts_in_one_region(self, installation: Installation) -> None:
        enable_ebs_encryption_by_default(installation.engine, OWNER)
        assert is_encrypted_by_default(installation.engine, OWNER.account_id, OWNER.region)
        for caller in (OTHER, elsewhere(OWNER)):
            assert not is_encrypted_by_default(installation.engine, caller.account_id, caller.region)

    def test_it_outlives_a_restart(self, installation: Installation) -> None:
        enable_ebs_encryption_by_default(installation.engine, OWNER)
        installation.reopen()
        assert is_encrypted_by_default(installation.engine, OWNER.account_id, OWNER.region)


class TestDefaultKey:
    def test_untouched_it_is_the_alias_of_the_managed_key(self, installation: Installation) -> None:
        assert named_default(installation) == "alias/aws/ebs"
        managed = managed_ebs_key(installation.engine, OWNER.account_id, OWNER.region)
        assert default_key_arn(installation.engine, OWNER.account_id, OWNER.region) == managed.arn

    def test_a_key_is_named_by_id_or_arn(self, installation: Installation) -> None:
        one, two = made_key(installation), made_key(installation)
        assert set_default(installation, one.key_id) == one.arn
        assert named_default(installation) == one.arn
        assert set_default(installation, two.arn) == two.arn
        assert default_key_arn(installation.engine, OWNER.account_id, OWNER.region) == two.arn

    def test_the_managed_key_is_named_by_its_alias(self, installation: Installation) -> None:
        managed = managed_ebs_key(installation.engine, OWNER.account_id, OWNER.region)
        assert set_default(installation, "alias/aws/ebs") == managed.arn

    def test_it_is_one_accounts_in_one_region(self, installation: Installation) -> None:
        set_default(installation, made_key(installation).arn)
        assert named_default(installation, OTHER) == "alias/aws/ebs"
        assert named_default(installation, elsewhere(OWNER)) == "alias/aws/ebs"

    def test_a_reset_answers_the_arn_of_the_managed_key(self, installation: Installation) -> None:
        set_default(installation, made_key(installation).arn)
        managed = managed_ebs_key(installation.engine, OWNER.account_id, OWNER.region)
        assert reset_ebs_default_kms_key_id(installation.engine, OWNER) == {"KmsKeyId": managed.arn}
        assert named_default(installation) == "alias/aws/ebs"

    def test_a_key_that_cannot_be_used_now_is_refused_and_the_old_one_stays(self, installation: Installation) -> None:
        good = made_key(installation)
        set_default(installation, good.arn)
        disabled = made_key(installation, state=KeyState.DISABLED)
        doomed = made_key(installation, state=KeyState.PENDING_DELETION, deletion_at_ms=1)
        with pytest.raises(KmsKeyDisabledError):
            set_default(installation, disabled.arn)
        with pytest.raises(KmsKeyStateError):
            set_default(installation, doomed.key_id)
        assert named_default(installation) == good.arn

    def test_unknown_names_are_refused(self, installation: Installation) -> None:
        absent = "3d1f0c5e-7a2b-4c8d-9e6f-112233445566"
        elsewheres = made_key(installation, elsewhere(OWNER))
        for text in (
            absent,
            key_arn(OWNER.account_id, OWNER.region, absent),
            "alias/absent",
            "arn:aws:kms",
            "",
            elsewheres.arn,
            elsewheres.key_id,
        ):
            with pytest.raises(UnknownKeyError):
                set_default(installation, text)

    def test_dry_runs_change_nothing(self, installation: Installation) -> None:
        engine, key = installation.engine, made_key(installation)
        for operation in (
            get_ebs_encryption_by_default,
            enable_ebs_encryption_by_default,
            disable_ebs_encryption_by_default,
            get_ebs_default_kms_key_id,
            reset_ebs_default_kms_key_id,
        ):
            with pytest.raises(DryRunPassedError):
                operation(engine, OWNER, dry_run=True)
        with pytest.raises(DryRunPassedError):
            modify_ebs_default_kms_key_id(engine, OWNER, kms_key_id=key.arn, dry_run=True)
        assert get_ebs_encryption_by_default(engine, OWNER) == {"EbsEncryptionByDefault": False}
        assert named_default(installation) == "alias/aws/ebs"
