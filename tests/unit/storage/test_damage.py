"""The damage log: what is known is written once, as long as it is remembered, and memory is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapstone.core.blocks import Address
from snapstone.storage import damage
from snapstone.storage.damage import DamageLog


def address(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


def test_the_same_damage_is_written_once_and_raised_each_time(tmp_path: Path) -> None:
    log = DamageLog(tmp_path / "damage.jsonl", lambda: 1)
    errors = [log.report(address(1), "here", "torn") for _ in range(3)]
    assert [str(error.what) for error in errors] == ["here: torn"] * 3
    log.report(address(1), "there", "torn")
    log.report(address(2), "here", "torn")
    assert len((tmp_path / "damage.jsonl").read_text().splitlines()) == 3


def test_of_more_damage_than_is_remembered_the_rest_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "REMEMBERED", 3)
    log = DamageLog(tmp_path / "damage.jsonl", lambda: 1)
    for _ in range(2):
        for number in range(5):
            log.report(address(number), "here", "torn")
    assert len((tmp_path / "damage.jsonl").read_text().splitlines()) == 3 + 2 * 2
