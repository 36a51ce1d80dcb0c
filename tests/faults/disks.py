"""The tests of full disks on real ext4, xfs and btrfs, all of them, as a row of the table."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from tests.faults.servers import TREE
from tests.faults.tally import Tally, scratch
from tests.faults.verdict import Fault, Verdict

TESTS: Final = "tests/faults/test_full_disks.py"


@dataclass(frozen=True)
class DiskJob:
    """All of them, one after the other."""

    seed: int

    def run(self) -> list[Tally]:
        """Run them. What is skipped, for there are no loop devices here, is not counted as tried."""
        tally = Tally("full disks: ext4, xfs, btrfs on loop devices")
        with scratch("disks", in_memory=False) as workspace:
            report = workspace / "report.xml"
            arguments = ["-q", "-m", "soak or not soak", "--basetemp", str(workspace / "tests"), f"--junitxml={report}"]
            subprocess.run([sys.executable, "-m", "pytest", *arguments, TESTS], cwd=TREE, stdout=subprocess.DEVNULL)
            for case in ElementTree.parse(report).iter("testcase"):
                if case.find("skipped") is not None:
                    tally.outcomes["skipped"] += 1
                    continue
                tally.tried += 1
                wrong = [each for each in case if each.tag in {"failure", "error"}]
                verdict = Verdict([(Fault.STUCK, f"{case.get('name')}: {each.text}") for each in wrong])
                tally.note(verdict, f".venv/bin/pytest -m 'soak or not soak' '{TESTS}::{case.get('name')}'")
        return [tally]


def jobs(seed: int) -> list[DiskJob]:
    """One."""
    return [DiskJob(seed)]
