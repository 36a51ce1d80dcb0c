"""Block tokens and page tokens: whole, in place and in time, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from snapstone.core.blocks import Address
from snapstone.core.errors import InvalidBlockTokenError, InvalidPageTokenError
from snapstone.core.ids import SnapshotId
from snapstone.core.tokens import BLOCK_TOKEN_LIFE_SECONDS, PAGE_TOKEN_LIFE_SECONDS, TokenSeal

SEAL = TokenSeal(bytes(range(32)))
SNAPSHOT, OTHER_SNAPSHOT = SnapshotId("snap-0123456789abcdef0"), SnapshotId("snap-0123456789abcdef1")
ADDRESS = Address(bytes(range(32, 64)))
EXPIRY = 1_790_337_440
CALL = ("ListSnapshotBlocks", "111122223333", "snap-0123456789abcdef0")

BLOCK_TOKEN = SEAL.block_token_maker(SNAPSHOT, EXPIRY)(7, ADDRESS)
PAGE_TOKEN = SEAL.page_token(CALL, 5_000, EXPIRY)


def open_block_token(token: str) -> Address:
    return SEAL.open_block_token(token, SNAPSHOT, 7, EXPIRY)


def open_page_token(token: str) -> int:
    return SEAL.open_page_token(token, CALL, EXPIRY)


KINDS: list[tuple[str, Callable[[str], object], type[Exception]]] = [
    (BLOCK_TOKEN, open_block_token, InvalidBlockTokenError),
    (PAGE_TOKEN, open_page_token, InvalidPageTokenError),
]

each_kind = pytest.mark.parametrize(("token", "open_token", "error"), KINDS, ids=["block", "page"])


def test_a_token_opens_to_what_it_was_made_from() -> None:
    assert open_block_token(BLOCK_TOKEN) == ADDRESS
    assert open_page_token(PAGE_TOKEN) == 5_000


def test_block_tokens_live_for_seven_days_and_page_tokens_for_an_hour() -> None:
    assert BLOCK_TOKEN_LIFE_SECONDS == 604_800
    assert PAGE_TOKEN_LIFE_SECONDS == 3_600


@each_kind
def test_a_token_needs_no_escaping_and_fits_the_models_limit(
    token: str, open_token: Callable[[str], object], error: type[Exception]
) -> None:
    assert re.fullmatch("[a-z0-9]{1,256}", token)


@each_kind
def test_every_flipped_bit_is_refused(token: str, open_token: Callable[[str], object], error: type[Exception]) -> None:
    sealed = bytes.fromhex(token)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(error):
            open_token(changed.hex())


@each_kind
def test_every_changed_character_is_refused(
    token: str, open_token: Callable[[str], object], error: type[Exception]
) -> None:
    for position in range(len(token)):
        for character in "0f gé/":
            if token[position] != character:
                with pytest.raises(error):
                    open_token(token[:position] + character + token[position + 1 :])


@each_kind
@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        lambda token: token[:-1],
        lambda token: token[:-2],
        lambda token: token + "0",
        lambda token: token + "00",
        lambda token: " " + token,
        lambda token: token[:2] + " " + token[2:],
        lambda token: token[:-2] + "  ",
        lambda token: "",
        lambda token: "0" * len(token),
        lambda token: "\u0660" * len(token),
        lambda token: token * 100,
    ],
)
def test_another_spelling_of_a_token_is_refused_and_named_in_the_error(
    token: str, open_token: Callable[[str], object], error: type[Exception], spoil: Callable[[str], str]
) -> None:
    with pytest.raises(error) as raised:
        open_token(spoil(token))
    assert vars(raised.value) == {"token": spoil(token)}


def test_a_block_token_of_another_snapshot_or_index_is_refused() -> None:
    for snapshot_id, index in ((OTHER_SNAPSHOT, 7), (SNAPSHOT, 8), (SNAPSHOT, 0), (SnapshotId("snap-0"), 7)):
        with pytest.raises(InvalidBlockTokenError):
            SEAL.open_block_token(BLOCK_TOKEN, snapshot_id, index, EXPIRY)


@pytest.mark.parametrize(
    "call",
    [
        ("ListChangedBlocks", *CALL[1:]),
        (CALL[0], "999988887777", CALL[2]),
        (*CALL[:2], "snap-0123456789abcdef1"),
        CALL[:2],
        (*CALL, ""),
        ("ListSnapshotBlocks1", "11122223333", CALL[2]),
        ("".join(CALL),),
    ],
)
def test_a_page_token_of_another_call_is_refused(call: tuple[str, ...]) -> None:
    with pytest.raises(InvalidPageTokenError):
        SEAL.open_page_token(PAGE_TOKEN, call, EXPIRY)


def test_a_token_is_good_at_its_last_second_and_not_after_it() -> None:
    assert SEAL.open_block_token(BLOCK_TOKEN, SNAPSHOT, 7, EXPIRY) == ADDRESS
    assert SEAL.open_page_token(PAGE_TOKEN, CALL, EXPIRY) == 5_000
    for late in (EXPIRY + 0.001, EXPIRY + 1, EXPIRY + 10**9):
        with pytest.raises(InvalidBlockTokenError):
            SEAL.open_block_token(BLOCK_TOKEN, SNAPSHOT, 7, late)
        with pytest.raises(InvalidPageTokenError):
            SEAL.open_page_token(PAGE_TOKEN, CALL, late)


def test_a_token_of_one_kind_does_not_pass_for_the_other() -> None:
    with pytest.raises(InvalidBlockTokenError):
        open_block_token(PAGE_TOKEN)
    with pytest.raises(InvalidPageTokenError):
        open_page_token(BLOCK_TOKEN)


def test_a_token_under_another_key_is_refused() -> None:
    other = TokenSeal(bytes(32))
    with pytest.raises(InvalidBlockTokenError):
        other.open_block_token(BLOCK_TOKEN, SNAPSHOT, 7, EXPIRY)
    with pytest.raises(InvalidPageTokenError):
        other.open_page_token(PAGE_TOKEN, CALL, EXPIRY)


def test_another_process_with_the_same_key_opens_a_token() -> None:
    other = TokenSeal(bytes(range(32)))
    assert other.open_block_token(BLOCK_TOKEN, SNAPSHOT, 7, EXPIRY) == ADDRESS
    assert other.open_page_token(PAGE_TOKEN, CALL, EXPIRY) == 5_000


def test_the_largest_index_and_position_fit() -> None:
    token = SEAL.block_token_maker(SNAPSHOT, EXPIRY)(134_217_727, ADDRESS)
    assert SEAL.open_block_token(token, SNAPSHOT, 134_217_727, 0) == ADDRESS
    assert SEAL.open_page_token(SEAL.page_token(CALL, 2**64 - 1, EXPIRY), CALL, 0) == 2**64 - 1
