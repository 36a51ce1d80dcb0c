"""Checks a snapshot's blocks against their checksums, and an image against a snapshot."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from snapstone.client.api.service import Service
from snapstone.client.api.values import ListedBlock
from snapstone.client.errors import ClientError, DamagedError, DeniedError, NotFoundError, UnreachableError, UsageError
from snapstone.client.events import NullObserver, Observer, Tally
from snapstone.client.images.contract import Source
from snapstone.client.transfer.compare import ComparedBlock, check_unchanged, compare_pair, pair_up
from snapstone.client.transfer.pipeline import StopSignal, run
from snapstone.client.transfer.reading import SourceReader
from snapstone.core.blocks import BLOCK_SIZE

Item = TypeVar("Item", ListedBlock, ComparedBlock)

MAX_FINDING_COUNT: Final = 1_000
"""Findings that are kept one by one; beyond, they are only counted."""

Verdict = Literal["damaged", "changed", "added", "removed"]
"""`damaged`: the snapshot's block cannot be read as it was written; the others are differences of the image."""


@dataclass(frozen=True, order=True, slots=True)
class Mismatch:
    """One block that is not as it should be."""

    block_index: int
    verdict: Verdict
    message: str = ""
    """A message about it, if any."""


@dataclass(frozen=True)
class VerifyResult:
    """The result of a verification."""

    snapshot_id: str
    listed_count: int
    """Blocks that could have been checked."""
    checked_count: int
    """Blocks that were: fewer if a sample was requested."""
    finding_count: int
    findings: tuple[Mismatch, ...]
    """The findings, `MAX_FINDING_COUNT` at most, ascending."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return self.finding_count == 0


def verify_snapshot(
    service: Service,
    snapshot_id: str,
    *,
    sample_percent: float | None = None,
    chance: random.Random | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> VerifyResult:
    """Get every block of a snapshot, or about this percentage of them, and verify its checksum."""
    stop = stop or StopSignal()

    def check(block: ListedBlock, buffer: memoryview) -> Mismatch | None:
        service.get_block(snapshot_id, block.block_index, block.token, buffer, stop=stop)
        return None

    listed = (block for page in service.block_pages(snapshot_id) for block in page.blocks)
    verification = _Verification(service, snapshot_id, sample_percent, chance, observer, stop)
    return verification.run(listed, check, _expected_count(service, snapshot_id, sample_percent))


def verify_image(
    service: Service,
    snapshot_id: str,
    source: Source,
    *,
    sample_percent: float | None = None,
    chance: random.Random | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> VerifyResult:
    """Compare every block of an image with the snapshot's bytes from the endpoint, and the reverse.

    Raises SourceChangedError if the image was written to in between, UsageError for a sample of a stream.
    """
    if source.sequential and sample_percent is not None:
        raise UsageError("a stream is always read completely; omit --sample")
    stop = stop or StopSignal()
    reading = SourceReader(source, stop)

    def check(pair: ComparedBlock, buffer: memoryview) -> Mismatch | None:
        difference = compare_pair(service, snapshot_id, reading, pair, buffer, stop)
        return None if difference is None else Mismatch(difference.block_index, difference.kind)

    before = source.state()
    pairs = pair_up(service, snapshot_id, source)
    verified = _Verification(service, snapshot_id, sample_percent, chance, observer, stop).run(pairs, check)
    check_unchanged(source, before)
    return verified


class _Verification:
    """One run: what was listed, checked and found so far."""

    def __init__(
        self,
        service: Service,
        snapshot_id: str,
        sample_percent: float | None,
        chance: random.Random | None,
        observer: Observer | None,
        stop: StopSignal,
    ) -> None:
        if sample_percent is not None and not 0 < sample_percent <= 100:
            raise UsageError(f"a sample of {sample_percent:g} % is not possible (more than 0, at most 100)")
        self._service = service
        self._snapshot_id = snapshot_id
        self._sample_percent = sample_percent
        self._chance = chance or random.Random()
        self._observer = observer or NullObserver()
        self._stop = stop
        self._tally = Tally("verify")
        self._listed_count = 0
        self._finding_count = 0
        self._findings: list[Mismatch] = []
        self._lock = threading.Lock()

    def run(
        self,
        work: Iterable[Item],
        check: Callable[[Item, memoryview], Mismatch | None],
        expected_count: int | None = None,
    ) -> VerifyResult:
        """Check the sampled part of `work`, continuing after each finding."""

        def perform(item: Item, buffer: memoryview) -> None:
            try:
                finding = check(item, buffer)
            except DamagedError as error:
                finding = Mismatch(item.block_index, "damaged", str(error))
            except UnreachableError as error:
                if not self._answers():
                    raise
                finding = Mismatch(item.block_index, "damaged", str(error))
            if finding is not None:
                self._found(finding)
            self._tally.add(moved=1)

        begun = time.monotonic()
        self._tally.expected_count = expected_count
        self._observer.begin(self._tally)
        try:
            run(
                self._sampled(work),
                perform,
                worker_count=self._service.get_workers,
                # A block that cannot be read holds its worker for the whole retry time, and is not a standstill.
                stall_seconds=self._service.options.stall_seconds + self._service.options.retry_seconds,
                stop=self._stop,
            )
        finally:
            self._observer.end(self._tally)
        return VerifyResult(
            snapshot_id=self._snapshot_id,
            listed_count=self._listed_count,
            checked_count=self._tally.visited_count,
            finding_count=self._finding_count,
            findings=tuple(sorted(self._findings)),
            seconds=time.monotonic() - begun,
        )

    def _sampled(self, work: Iterable[Item]) -> Iterator[Item]:
        for item in work:
            self._listed_count += 1
            if self._sample_percent is None or self._chance.random() * 100 < self._sample_percent:
                yield item

    def _found(self, finding: Mismatch) -> None:
        with self._lock:
            self._finding_count += 1
            if len(self._findings) < MAX_FINDING_COUNT:
                self._findings.append(finding)

    def _answers(self) -> bool:
        """Whether the endpoint answers at all: then it is this block that it cannot give.

        A server that finds a stored block damaged can report that only as its own failure (500).
        """
        try:
            self._service.volume_size_gib(self._snapshot_id)
        except ClientError:
            return False
        return True


def _expected_count(service: Service, snapshot_id: str, sample_percent: float | None) -> int | None:
    """About how many blocks will be checked, if the endpoint reports how many are present."""
    try:
        described = service.describe([snapshot_id], owner=None)
    except (DeniedError, NotFoundError):
        return None
    size = described[0].full_size if described else None
    return None if size is None else round(size / BLOCK_SIZE * (sample_percent or 100) / 100)
