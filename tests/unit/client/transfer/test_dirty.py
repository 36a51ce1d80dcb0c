"""Dirty bitmaps in every form that is read, against sets; and what is refused, with the line it is on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shutil import which
from time import monotonic, sleep
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapstone.client.errors import DeniedError, NotFoundError, UsageError
from snapstone.client.transfer.dirty import MAX_ENTRY_SIZE, MAX_LINE_SIZE, DirtyRanges, read_dirty

BLOCK: Final = 524_288
LAST: Final = 134_217_727
"""The last block index of 64 TiB."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bitmap"


def ranges_of(path: Path, text: str | bytes) -> list[range]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_dirty(path).block_ranges())


def refusal(path: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as refused:
        ranges_of(path, text)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_lines_name_ranges_in_decimal_and_hexadecimal(path: Path) -> None:
    text = "# made by hand\n0 524288\n\n 0x100000   0X80000 # block 2\n\t2097152\t1\r\n"
    assert ranges_of(path, text) == [range(1), range(2, 3), range(4, 5)]


def test_a_block_is_dirty_if_one_byte_of_it_is(path: Path) -> None:
    assert ranges_of(path, f"{3 * BLOCK - 1} 2") == [range(2, 4)]
    assert ranges_of(path, f"{3 * BLOCK - 1} 1") == [range(2, 3)]
    assert ranges_of(path, f"{3 * BLOCK} {BLOCK}") == [range(3, 4)]


def test_ranges_are_sorted_and_merged(path: Path) -> None:
    text = f"{9 * BLOCK} {BLOCK}\n{2 * BLOCK} {3 * BLOCK}\n{5 * BLOCK} 1\n{3 * BLOCK} {BLOCK}\n0 1\n"
    assert ranges_of(path, text) == [range(1), range(2, 6), range(9, 10)]


def test_a_length_of_zero_is_nothing(path: Path) -> None:
    assert ranges_of(path, "0 0\n") == []


def test_the_last_byte_of_the_largest_volume_is_inside_and_the_next_is_not(path: Path) -> None:
    assert ranges_of(path, f"{(LAST + 1) * BLOCK - 1} 1") == [range(LAST, LAST + 1)]
    assert "line 2: 2 bytes at offset 70368744177663" in refusal(path, f"0 1\n{(LAST + 1) * BLOCK - 1} 2")


@pytest.mark.parametrize("line", ["12", "1 2 3", "a b", "-1 5", "1 -5", "1.5 2", "1_0 2", "0o7 2", "1 2 dirty", "0x 1"])
def test_a_line_of_another_form_is_refused_with_its_number(path: Path, line: str) -> None:
    assert f"line 3: expected OFFSET LENGTH in bytes, not {line!r}" in refusal(path, f"0 1\n#\n{line}\n")


def test_bytes_that_are_no_text_are_refused_and_not_read_whole(path: Path) -> None:
    assert "line 1: expected OFFSET LENGTH" in refusal(path, b"\xff\x00" * 1_000_000)
    assert "line 1: expected OFFSET LENGTH" in refusal(path, b"0 1 #" + b"x" * MAX_LINE_SIZE)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "[]", " [ ] \n"])
def test_a_bitmap_without_any_entry_is_refused(path: Path, text: str) -> None:
    assert "lists no ranges" in refusal(path, text)


def test_a_bitmap_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read: No such file"):
        read_dirty(path)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_dirty(path.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_bitmap_that_may_not_be_read_is_said(path: Path) -> None:
    path.write_text("0 1")
    path.chmod(0)
    with pytest.raises(DeniedError, match="cannot be read: Permission denied"):
        read_dirty(path)


def test_a_list_of_ranges_is_read(path: Path) -> None:
    listed = [{"start": BLOCK, "length": 1}, {"offset": 3 * BLOCK, "length": BLOCK}]
    assert ranges_of(path, json.dumps(listed)) == [range(1, 2), range(3, 4)]


def test_where_dirty_is_said_only_those_count(path: Path) -> None:
    listed = [
        {"start": 0, "length": BLOCK, "dirty": False},
        {"start": BLOCK, "length": BLOCK, "dirty": True, "offset": 77 * BLOCK},
        {"start": 2 * BLOCK, "length": BLOCK, "dirty": True, "data": True, "zero": True},
    ]
    assert ranges_of(path, json.dumps(listed, indent=3)) == [range(1, 3)]


def test_nbdinfo_says_dirty_and_clean(path: Path) -> None:
    text = """[
{ "offset": 0, "length": 1048576, "type": 0, "description": "clean" },
{ "offset": 1048576, "length": 65536, "type": 1, "description": "dirty" },
{ "offset": 1114112, "length": 983040, "type": 0, "description": "clean" }
]
"""
    assert ranges_of(path, text) == [range(2, 3)]


def test_a_map_of_allocation_by_nbdinfo_is_refused(path: Path) -> None:
    text = '[{ "offset": 0, "length": 1048576, "type": 0, "description": "data" }]'
    assert "line 1: 'data' is about what is allocated, not about what changed. Take the output of: nbdinfo" in refusal(
        path, text
    )
    assert "line 1: None is about what is allocated" in refusal(path, '[{"offset": 0, "length": 1, "type": 1}]')


def test_in_qemu_imgs_map_of_a_bitmap_false_is_dirty(path: Path) -> None:
    # As printed by qemu-img 7.2 for a bitmap with 64 KiB at 0 and 1 MiB at 2 MiB written.
    text = """[{ "start": 0, "length": 65536, "depth": 0, "present": false, "zero": false, "data": false},
{ "start": 65536, "length": 2031616, "depth": 0, "present": true, "zero": false, "data": true, "offset": 65536},
{ "start": 2097152, "length": 1048576, "depth": 0, "present": false, "zero": false, "data": false},
{ "start": 3145728, "length": 1048576, "depth": 0, "present": true, "zero": false, "data": true, "offset": 3145728}]
"""
    assert ranges_of(path, text) == [range(1), range(4, 6)]


def test_qemu_imgs_map_of_what_is_allocated_is_refused(path: Path) -> None:
    text = """[{ "start": 0, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true, "offset": 0},
{ "start": 65536, "length": 983040, "depth": 0, "present": false, "zero": true, "data": false}]
"""
    assert "line 2: this is a map of what is allocated" in refusal(path, text)
    whole = '[{ "start": 0, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true, "offset": 0}]'
    assert "either nothing is dirty, or it is a map of what is allocated" in refusal(path, whole)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "line 1: expected a JSON list of objects; [ is missing"),
        ("[1]", "line 1: every entry of the list must be an object"),
        ('[\n{"start": 0, "length": 1}\n', "line 3: expected a JSON list of objects; ] is missing"),
        ('[\n{"start": 0, "length": 1},\n]', "line 3: every entry of the list must be an object"),
        ('[{"start": 0, "length": 1}\n] 5', "line 2: unexpected content after the list"),
        ('[{"start": 0,\n "length"', "line 1: this entry is not valid JSON, or is truncated"),
        ('[\n{"start": 0}]', 'line 2: "length" must be a whole number of bytes, not null'),
        ('[{"length": 1}]', 'line 1: "offset" must be a whole number of bytes, not null'),
        ('[{"start": true, "length": 1}]', 'line 1: "start" must be a whole number of bytes, not true'),
        ('[{"start": 1.0, "length": 1}]', 'line 1: "start" must be a whole number of bytes, not 1.0'),
        ('[{"start": -1, "length": 1}]', "line 1: 1 bytes at offset -1 are not within a volume"),
        ('[{"start": 1, "length": -1}]', "line 1: -1 bytes at offset 1 are not within a volume"),
        ('[{"start": 0, "length": 1, "dirty": 1}]', 'line 1: "dirty" must be true or false, not 1'),
        ('[{"start": 0, "length": 1, "data": null}]', 'line 1: "data" must be true or false, not null'),
        ('[{"a": ' * 9_000, "line 1: this entry is not valid JSON"),
        ('[{"start": ' + "9" * 9_000 + "}]", "line 1: this entry is not valid JSON"),
        ('[{"a": "' + "x" * 3 * MAX_ENTRY_SIZE, "line 1: this entry is not valid JSON, or is truncated"),
    ],
)
def test_json_of_another_form_is_refused_with_its_line(path: Path, text: str, said: str) -> None:
    assert said in refusal(path, text)


def test_a_list_is_read_in_parts_wherever_they_end(path: Path) -> None:
    # 40,000 entries of about 60 bytes: the text is read in more than one part, and entries lie across their borders.
    listed = [{"start": rank * 2 * BLOCK, "length": BLOCK, "dirty": True, "name": "ü" * 5} for rank in range(40_000)]
    expected = [range(rank * 2, rank * 2 + 1) for rank in range(40_000)]
    assert ranges_of(path, json.dumps(listed, ensure_ascii=False, indent=1)) == expected


def test_lines_are_counted_across_parts(path: Path) -> None:
    lines = ['{"start": 0, "length": 1},'] * 50_000
    text = "[\n" + "\n".join(lines) + "\n{}\n]"
    assert "line 50002:" in refusal(path, text)


blocks = st.one_of(st.integers(0, 70), st.integers(0, 5_000))


@given(st.lists(st.tuples(blocks, st.integers(0, 40)), max_size=30))
def test_any_ranges_in_any_order_make_the_set_of_their_blocks(added: list[tuple[int, int]]) -> None:
    ranges = DirtyRanges()
    expected: set[int] = set()
    for begin, count in added:
        ranges.add(begin * BLOCK, count * BLOCK)
        expected |= set(range(begin, begin + count))
    found = list(ranges.block_ranges())
    assert [index for one in found for index in one] == sorted(expected)
    assert all(len(one) > 0 for one in found)
    assert all(before.stop < after.start for before, after in pairwise(found))
    assert ranges.block_count == len(expected)
    assert ranges.block_end == max(expected, default=-1) + 1


def test_the_largest_volume_takes_16_mib(path: Path) -> None:
    ranges = DirtyRanges()
    ranges.add(0, (LAST + 1) * BLOCK)
    assert list(ranges.block_ranges()) == [range(LAST + 1)]
    assert ranges.block_count == ranges.block_end == LAST + 1
    assert len(ranges._bits) <= 16 * 2**20 + 1


@pytest.fixture
def bitmap_export(tmp_path: Path) -> Iterator[str]:
    """An image whose bitmap `b` has 512 bytes at 512 and 1 MiB of zeros at 2 MiB, exported; the option to open it."""
    if which("qemu-nbd") is None or which("qemu-img") is None or which("qemu-io") is None:
        pytest.skip("qemu-utils is not installed")
    image, socket = str(tmp_path / "image.qcow2"), tmp_path / "socket"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "8M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q 5M 1M", image], check=True)
    subprocess.run(["qemu-img", "bitmap", "--add", image, "b"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q 512 512", "-c", "write -q -z 2M 1M", image], check=True)
    server = subprocess.Popen(["qemu-nbd", "-r", "-t", "-B", "b", "-k", socket, "-f", "qcow2", image])
    try:
        give_up_at = monotonic() + 30
        while not socket.exists() and server.poll() is None and monotonic() < give_up_at:
            sleep(0.01)
        yield f"driver=nbd,server.type=unix,server.path={socket}"
    finally:
        server.kill()
        server.wait()


def test_what_qemu_img_prints_today_is_read(path: Path, bitmap_export: str) -> None:
    option = f"{bitmap_export},x-dirty-bitmap=qemu:dirty-bitmap:b"
    printed = subprocess.run(
        ["qemu-img", "map", "--output=json", "--image-opts", option], check=True, capture_output=True
    ).stdout
    assert ranges_of(path, printed) == [range(1), range(4, 6)]


def test_what_qemu_img_prints_without_the_bitmap_is_refused(path: Path, bitmap_export: str) -> None:
    printed = subprocess.run(
        ["qemu-img", "map", "--output=json", "--image-opts", bitmap_export], check=True, capture_output=True
    ).stdout
    assert "this is a map of what is allocated" in refusal(path, printed)
