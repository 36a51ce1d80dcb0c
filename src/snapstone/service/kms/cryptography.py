"""KMS operations that encrypt and decrypt: texts of up to 4,096 bytes, and data keys for callers' own use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from snapstone.catalog.contract.keys import KmsKey
from snapstone.core.errors import (
    DryRunPassedError,
    IncorrectKeyError,
    InvalidCiphertextError,
    InvalidParameterError,
    UnsupportedKeyError,
)
from snapstone.service.engine import Caller, Engine
from snapstone.service.keys.ciphertext import EncryptionContext, decrypt_text, encrypt_text, parse_ciphertext
from snapstone.service.keys.kms_keys import find_key, require_enabled
from snapstone.service.kms.key_operations import SYMMETRIC

DATA_KEY_SIZES: Final = {"AES_256": 32, "AES_128": 16}

Answer = dict[str, object]


def encrypt(
    engine: Engine,
    caller: Caller,
    *,
    key_id: str,
    plaintext: bytes,
    encryption_context: EncryptionContext | None = None,
    encryption_algorithm: str = SYMMETRIC,
    grant_tokens: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Answer:
    """Encrypt a short text."""
    _check_algorithm(encryption_algorithm)
    key = _usable(engine, caller, key_id)
    _check_dry_run(dry_run)
    blob = encrypt_text(engine, key, plaintext, encryption_context or {})
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": SYMMETRIC}


def decrypt(
    engine: Engine,
    caller: Caller,
    *,
    ciphertext_blob: bytes,
    encryption_context: EncryptionContext | None = None,
    key_id: str | None = None,
    encryption_algorithm: str = SYMMETRIC,
    grant_tokens: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Answer:
    """Decrypt a text; a key that is named has to be the one it was made under."""
    _check_algorithm(encryption_algorithm)
    key, plaintext = _opened(engine, caller, ciphertext_blob, encryption_context, key_id)
    _check_dry_run(dry_run)
    return {"KeyId": key.arn, "Plaintext": plaintext, "EncryptionAlgorithm": SYMMETRIC}


def re_encrypt(
    engine: Engine,
    caller: Caller,
    *,
    ciphertext_blob: bytes,
    destination_key_id: str,
    source_encryption_context: EncryptionContext | None = None,
    destination_encryption_context: EncryptionContext | None = None,
    source_key_id: str | None = None,
    source_encryption_algorithm: str = SYMMETRIC,
    destination_encryption_algorithm: str = SYMMETRIC,
    grant_tokens: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Answer:
    """Decrypt a text and encrypt it under another key or context, without showing it."""
    _check_algorithm(source_encryption_algorithm)
    _check_algorithm(destination_encryption_algorithm)
    source, plaintext = _opened(engine, caller, ciphertext_blob, source_encryption_context, source_key_id)
    target = _usable(engine, caller, destination_key_id)
    _check_dry_run(dry_run)
    return {
        "CiphertextBlob": encrypt_text(engine, target, plaintext, destination_encryption_context or {}),
        "SourceKeyId": source.arn,
        "KeyId": target.arn,
        "SourceEncryptionAlgorithm": SYMMETRIC,
        "DestinationEncryptionAlgorithm": SYMMETRIC,
    }


def generate_data_key(
    engine: Engine,
    caller: Caller,
    *,
    key_id: str,
    encryption_context: EncryptionContext | None = None,
    number_of_bytes: int | None = None,
    key_spec: str | None = None,
    grant_tokens: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Answer:
    """A fresh key, in the clear and encrypted."""
    size = _size_of(number_of_bytes, key_spec)
    key = _usable(engine, caller, key_id)
    _check_dry_run(dry_run)
    plaintext = engine.random_bytes(size)
    blob = encrypt_text(engine, key, plaintext, encryption_context or {})
    return {"CiphertextBlob": blob, "Plaintext": plaintext, "KeyId": key.arn}


def generate_data_key_without_plaintext(
    engine: Engine,
    caller: Caller,
    *,
    key_id: str,
    encryption_context: EncryptionContext | None = None,
    number_of_bytes: int | None = None,
    key_spec: str | None = None,
    grant_tokens: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Answer:
    """A fresh key, encrypted only."""
    answer = generate_data_key(
        engine,
        caller,
        key_id=key_id,
        encryption_context=encryption_context,
        number_of_bytes=number_of_bytes,
        key_spec=key_spec,
        dry_run=dry_run,
    )
    del answer["Plaintext"]
    return answer


def generate_random(
    engine: Engine, caller: Caller, *, number_of_bytes: int | None = None, custom_key_store_id: str | None = None
) -> Answer:
    """Random bytes."""
    if custom_key_store_id is not None:
        raise UnsupportedKeyError("Custom key stores are not offered")
    return {"Plaintext": engine.random_bytes(_size_of(number_of_bytes, None))}


def _usable(engine: Engine, caller: Caller, key_id: str) -> KmsKey:
    key = find_key(engine, caller.account_id, caller.region, key_id)
    require_enabled(key)
    return key


def _opened(
    engine: Engine, caller: Caller, blob: bytes, context: EncryptionContext | None, key_id: str | None
) -> tuple[KmsKey, bytes]:
    """The key that a ciphertext was made under, and what it says. A key of another account is not there."""
    ciphertext = parse_ciphertext(blob)
    key = engine.catalog.kms_key(ciphertext.key_id)
    if key is None or key.region != caller.region or key.account_id != caller.account_id:
        raise InvalidCiphertextError
    if key_id is not None and find_key(engine, caller.account_id, caller.region, key_id).key_id != key.key_id:
        raise IncorrectKeyError
    require_enabled(key)
    return key, decrypt_text(engine, key, ciphertext, context or {})


def _check_dry_run(dry_run: bool) -> None:
    if dry_run:
        raise DryRunPassedError


def _check_algorithm(algorithm: str) -> None:
    if algorithm != SYMMETRIC:
        raise UnsupportedKeyError(f"{algorithm} is not offered: keys are {SYMMETRIC}")


def _size_of(number_of_bytes: int | None, key_spec: str | None) -> int:
    if (number_of_bytes is None) == (key_spec is None):
        raise InvalidParameterError("Please specify either number of bytes or key spec.")
    return DATA_KEY_SIZES[key_spec] if key_spec is not None else number_of_bytes or 0
