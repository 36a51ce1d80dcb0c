"""The function behind each operation of KMS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snapstone.service.kms import aliases, cryptography, key_operations, policies, rotation

KMS_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {
    "CreateKey": key_operations.create_key,
    "DescribeKey": key_operations.describe_key,
    "ListKeys": key_operations.list_keys,
    "EnableKey": key_operations.enable_key,
    "DisableKey": key_operations.disable_key,
    "UpdateKeyDescription": key_operations.update_key_description,
    "ScheduleKeyDeletion": key_operations.schedule_key_deletion,
    "CancelKeyDeletion": key_operations.cancel_key_deletion,
    "TagResource": key_operations.tag_resource,
    "UntagResource": key_operations.untag_resource,
    "ListResourceTags": key_operations.list_resource_tags,
    "CreateAlias": aliases.create_alias,
    "UpdateAlias": aliases.update_alias,
    "DeleteAlias": aliases.delete_alias,
    "ListAliases": aliases.list_aliases,
    "GetKeyPolicy": policies.get_key_policy,
    "PutKeyPolicy": policies.put_key_policy,
    "ListKeyPolicies": policies.list_key_policies,
    "EnableKeyRotation": rotation.enable_key_rotation,
    "DisableKeyRotation": rotation.disable_key_rotation,
    "GetKeyRotationStatus": rotation.get_key_rotation_status,
    "RotateKeyOnDemand": rotation.rotate_key_on_demand,
    "ListKeyRotations": rotation.list_key_rotations,
    "Encrypt": cryptography.encrypt,
    "Decrypt": cryptography.decrypt,
    "ReEncrypt": cryptography.re_encrypt,
    "GenerateDataKey": cryptography.generate_data_key,
    "GenerateDataKeyWithoutPlaintext": cryptography.generate_data_key_without_plaintext,
    "GenerateRandom": cryptography.generate_random,
}
