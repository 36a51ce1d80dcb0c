"""The library that is loaded before libc (preload.c): how it is built, and the control file by which it is told things.

A process is put under it by its environment (`Control.environment`), and takes part from its first instruction on. Any
number of processes share one control file; what is written there holds for all of them at once.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from mmap import mmap
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("preload.c")
BUILT: Final = Path(__file__).parents[2] / ".tools" / "faults"

CONTROL_SIZE: Final = 65_536
RULES_AT: Final = 4_096
MOST_RULES: Final = 64

PR_SET_PDEATHSIG: Final = 1

SEQUENCE, CLOCK_OFFSET_NS, GENERATION, FLAGS, INJECTED = range(5)
MATCHES: Final = 64
HITS: Final = 128
"""Words of 64 bits in the first page of the control file, as preload.c names them."""


def build() -> Path:
    """The library, built by gcc unless this source has been built before. Raises CalledProcessError."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = BUILT / f"preload-{digest}.so"
    if not library.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        options = ["-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]
        subprocess.run(["gcc", *options, "-o", unfinished, SOURCE, "-ldl", "-lpthread"], check=True)
        unfinished.replace(library)
    return library


class Flag(IntFlag):
    """What the library does otherwise than the kernel."""

    SPARSE = 1
    """fallocate sets the size of a file and takes no space: for folders in memory."""
    NO_SYNC = 2
    """A sync is recorded and not done: for recordings that are replayed, and servers whose machine goes on."""


@dataclass(frozen=True)
class Rule:
    """Calls that fail: of those of this kind on a path like this, every so-manieth; the first rule that fits holds."""

    call: str
    """open, opendir, write, pwrite, ftruncate, fallocate, fsync, fdatasync, rename, link, unlink, mkdir, read, pread,
    preadv, mmap or flock, with their relatives: `pwrite` is also pwritev, `open` also openat and creat."""
    path: str = "*"
    """Pattern as of fnmatch, for the path below the recorded folder, which begins with a slash."""
    error: int = 0
    """The errno; 0 if the call is only delayed or shortened."""
    every: int = 1
    after: int = 0
    """Matching calls that are left alone first."""
    times: int | None = None
    """How often it fails at most."""
    probability: float = 1.0
    seed: int = 0
    delay_ms: float = 0.0
    """How long the call takes before it fails."""
    short: bool = False
    """Half of what was asked for is read or written."""
    late: bool = False
    """The call is done and says that it failed: write, rename, link, unlink and mkdir."""

    def line(self) -> str:
        """The rule as preload.c reads it."""
        words = {
            "call": self.call,
            "path": self.path,
            "errno": self.error,
            "every": self.every,
            "after": self.after,
            "probability": self.probability,
            "seed": self.seed,
            "delay_us": round(self.delay_ms * 1000),
            "short": int(self.short),
            "late": int(self.late),
        }
        if self.times is not None:
            words["times"] = self.times
        return " ".join(f"{name}={value}" for name, value in words.items())


KERNEL: Final = Flag(0)
"""Everything as the kernel does it."""


class Control:
    """The control file of some processes."""

    def __init__(self, path: Path, flags: Flag = KERNEL) -> None:
        """Make it, or take the one that is there over with everything in it but the flags."""
        self.path = path
        with path.open("ab") as file:
            file.truncate(CONTROL_SIZE)
        with path.open("r+b") as file:
            self._map = mmap(file.fileno(), CONTROL_SIZE)
        self._words = memoryview(self._map)[:RULES_AT].cast("Q")
        self._words[FLAGS] = int(flags)

    @property
    def moment(self) -> int:
        """The next moment of the recordings: whatever has been recorded has ended before it."""
        return self._words[SEQUENCE]

    @property
    def clock_offset_seconds(self) -> float:
        """By how much the wall clock is wrong."""
        [offset_ns] = struct.unpack_from("<q", self._map, CLOCK_OFFSET_NS * 8)
        return float(offset_ns) / 1e9

    @clock_offset_seconds.setter
    def clock_offset_seconds(self, seconds: float) -> None:
        struct.pack_into("<q", self._map, CLOCK_OFFSET_NS * 8, round(seconds * 1e9))

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Let calls fail by these rules, and by no others, from now on; counts begin anew."""
        text = "\n".join(rule.line() for rule in rules).encode() + b"\0"
        assert len(rules) <= MOST_RULES
        assert len(text) <= CONTROL_SIZE - RULES_AT
        self._words[GENERATION] |= 1
        self._map[RULES_AT : RULES_AT + len(text)] = text
        for number in range(MOST_RULES):
            self._words[MATCHES + number] = self._words[HITS + number] = 0
        self._words[GENERATION] += 1

    @property
    def injected_count(self) -> int:
        """Calls that failed by rules since the file was made."""
        return self._words[INJECTED]

    def hits(self, number: int = 0) -> int:
        """Calls that failed by a rule since the rules were set."""
        return self._words[HITS + number]

    def matches(self, number: int = 0) -> int:
        """Calls that a rule fitted since the rules were set."""
        return self._words[MATCHES + number]

    def environment(self, root: Path, recordings: Path | None = None) -> dict[str, str]:
        """Variables that put a process under the library; `root` is recorded and made to fail."""
        variables = {
            "LD_PRELOAD": str(build()),
            "FAULTS_CONTROL": str(self.path),
            "FAULTS_ROOT": os.path.realpath(root),
        }
        if recordings is not None:
            recordings.mkdir(parents=True, exist_ok=True)
            variables["FAULTS_LOG"] = str(recordings)
        return variables


def die_with_parent() -> None:
    """Be killed when the process that started this one ends, however it does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def attach(control: Path, root: Path, recordings: Path | None = None) -> None:
    """Put this process, which was started with the library loaded, under a control file. Raises OSError."""
    folder, log = os.path.realpath(root), "" if recordings is None else str(recordings)
    failed = ctypes.CDLL(None).faults_attach(os.fsencode(control), os.fsencode(folder), os.fsencode(log))
    if failed:
        raise OSError(failed, os.strerror(failed), str(control))
