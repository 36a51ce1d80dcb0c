"""`make coverage`: lines and branches that the quick tests run, floor by floor, from the file `.coverage`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import coverage

from tests.tidy.imports import ROOT, SOURCE


def main() -> None:
    """Print the table."""
    totals: dict[str, Counter[str]] = {}
    for file, summary in _summaries().items():
        path = Path(file).absolute()
        if not path.is_relative_to(SOURCE / ROOT):
            continue
        parts = path.relative_to(SOURCE / ROOT).parts
        for floor in {parts[0], "/".join(parts[:2]) if len(parts) > 2 else parts[0], "all"}:
            totals.setdefault(floor, Counter()).update(summary)
    sys.stdout.write("| floor | lines | run | branches | taken |\n| --- | --- | --- | --- | --- |\n")
    for floor, count in sorted(totals.items()):
        lines, branches = count["num_statements"], count["num_branches"]
        run, taken = _percent(count["covered_lines"], lines), _percent(count["covered_branches"], branches)
        sys.stdout.write(f"| {floor} | {lines} | {run} | {branches} | {taken} |\n")


def _summaries() -> dict[str, dict[str, int]]:
    """What coverage counts of each file."""
    measured = coverage.Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        measured.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
    return {file: {name: entry["summary"][name] for name in names} for file, entry in files.items()}


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


if __name__ == "__main__":
    main()
