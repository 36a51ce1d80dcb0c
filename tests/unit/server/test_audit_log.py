"""The file of the audit log: whole lines, rotated by size, no more files than requested."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from snapstone.server.audit_log import AuditFile


def test_full_files_are_rotated_and_only_so_many_kept(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit", size_limit=20, file_count=2)
    for number in range(7):
        file.append(b"line %04d\n" % number)
    found = {path.name: path.read_text() for path in (tmp_path / "audit").glob("audit*")}
    assert found == {
        "audit.jsonl": "line 0006\n",
        "audit.jsonl.1": "line 0004\nline 0005\n",
        "audit.jsonl.2": "line 0002\nline 0003\n",
    }


def test_two_processes_views_lose_no_line(tmp_path: Path) -> None:
    files = [AuditFile(tmp_path / "audit", size_limit=500, file_count=1000) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: files[number % 2].append(b"%d\n" % number), range(1000)))
    lines = [line for path in (tmp_path / "audit").glob("audit*") for line in path.read_text().splitlines()]
    assert sorted(map(int, lines)) == list(range(1000))
