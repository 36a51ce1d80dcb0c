"""Puts and gets a second of distinct blocks, Snapstone and its peer in turn, and the server's memory afterwards."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.processes import Process
from bench.report import Bound, Line
from bench.rivals import Kind, Rates, Rival
from bench.run import Run
from bench.snapstone_server import CHECKOUT, SnapstoneServer

CONNECTION_COUNTS: Final = (8, 16)
WORKERS_CONNECTION_COUNT: Final = 8
TARGETS: Final[dict[Kind, Bound]] = {"put": Bound("≥", 1000), "get": Bound("≥", 2000)}
RATIO_TARGETS: Final[dict[Kind, Bound]] = {"put": Bound("≥", 4), "get": Bound("≥", 8)}
ENCRYPTED_RATIO: Final = Bound("≥", 0.8)
BEFORE_RATIO: Final = Bound("≥", 0.98)
NAMES: Final[dict[Kind, str]] = {"put": "PutSnapshotBlock, durable", "get": "GetSnapshotBlock"}
MEMORY_TARGET_MIB: Final = Bound("<", 200)


def measure(run: Run) -> list[Line]:
    """Durable puts and gets with 8 and 16 connections, and peak memory after 4 GiB of puts."""
    sizes = run.sizes
    ours, theirs = Rates(), Rates()
    with run.folder("put-get") as folder, SnapstoneServer(folder / "data") as server:
        snapstone = Rival(server.endpoint, server.process, ours, sizes.put_count, sizes.get_pass_count)
        for _ in range(sizes.repeat_count):
            for connection_count in CONNECTION_COUNTS:
                snapstone.put_then_get(connection_count)
                moto = run.moto()
                if moto is not None:
                    Rival(moto.endpoint, moto.process, theirs, sizes.peer_count).put_then_get(connection_count)
        run.stop_moto()
        lines = [_line(kind, count, ours, theirs) for kind in NAMES for count in CONNECTION_COUNTS]
        while snapstone.put_block_count < sizes.memory_block_count:
            snapstone.put(CONNECTION_COUNTS[-1])
        return [*lines, _memory_line(server.process, snapstone.put_block_count)]


def measure_workers(run: Run) -> list[Line]:
    """Puts and gets with two server processes and with one: for information, no bound."""
    sizes = run.sizes
    ours, theirs = Rates(), Rates()
    with (
        run.folder("workers") as folder,
        SnapstoneServer(folder / "two", 2) as two,
        SnapstoneServer(folder / "one", 1) as one,
    ):
        rivals = [
            Rival(server.endpoint, server.process, rates, sizes.put_count, sizes.get_pass_count)
            for server, rates in ((two, ours), (one, theirs))
        ]
        for _ in range(sizes.repeat_count):
            for rival in rivals:
                rival.put_then_get(WORKERS_CONNECTION_COUNT)
    return [_workers_line(kind, ours, theirs) for kind in NAMES]


def measure_before(run: Run) -> list[Line]:
    """Puts and gets, with one process and with the default number, in turn with another checkout's server."""
    if run.before is None:
        return []
    lines = []
    for worker_count in (1, None):
        now, then = Rates(), Rates()
        for number in range(2 * run.sizes.repeat_count):
            _measure_pair(run, worker_count, [(now, CHECKOUT), (then, run.before)], number)
        lines += [_before_line(kind, worker_count, now, then) for kind in NAMES]
    return lines


def _measure_pair(run: Run, worker_count: int | None, sides: list[tuple[Rates, Path]], number: int) -> None:
    """Two new servers, loaded once each; over four numbers each of them is started first and loaded first twice.

    On the machines seen, of two equal servers the one started second was up to a tenth faster.
    """
    if number % 2:
        sides.reverse()
    with run.folder("before") as folder, ExitStack() as servers:
        rivals: list[Rival] = []
        for rates, checkout in sides:
            server = servers.enter_context(
                SnapstoneServer(folder / f"data-{len(rivals)}", worker_count, checkout=checkout)
            )
            rivals.append(Rival(server.endpoint, server.process, rates, run.sizes.put_count, run.sizes.get_pass_count))
        for rival in rivals if number // 2 % 2 else reversed(rivals):
            rival.put_then_get(WORKERS_CONNECTION_COUNT)


def _before_line(kind: Kind, worker_count: int | None, now: Rates, then: Rates) -> Line:
    subject = (kind, WORKERS_CONNECTION_COUNT)
    processes = "1 process" if worker_count == 1 else "processes by default"
    cpu_now, cpu_then = (statistics.median(rates.server_cpu_ms[subject]) for rates in (now, then))
    return Line(
        f"{NAMES[kind]}, {WORKERS_CONNECTION_COUNT} connections, {processes}"
        f" (server's processor time {cpu_now:.3f} ms, before {cpu_then:.3f} ms)",
        "/s",
        now.per_second(subject),
        peer="before",
        peer_values=then.per_second(subject),
        ratio_target=BEFORE_RATIO,
        details={"now": now.details(subject), "before": then.details(subject)},
    )


def measure_encrypted(run: Run) -> list[Line]:
    """Puts and gets of encrypted and plain snapshots, in turn on one server."""
    sizes = run.sizes
    encrypted, plain = Rates(), Rates()
    with run.folder("encrypted") as folder, SnapstoneServer(folder / "data") as server:
        rivals = [
            Rival(server.endpoint, server.process, rates, sizes.put_count, sizes.get_pass_count, encrypted=is_encrypted)
            for rates, is_encrypted in ((encrypted, True), (plain, False))
        ]
        for _ in range(sizes.repeat_count):
            for rival in rivals:
                rival.put_then_get(WORKERS_CONNECTION_COUNT)
    return [_encrypted_line(kind, encrypted, plain) for kind in NAMES]


def _encrypted_line(kind: Kind, encrypted: Rates, plain: Rates) -> Line:
    subject = (kind, WORKERS_CONNECTION_COUNT)
    return Line(
        f"{NAMES[kind]}, encrypted, {WORKERS_CONNECTION_COUNT} connections",
        "/s",
        encrypted.per_second(subject),
        peer="plain",
        peer_values=plain.per_second(subject),
        ratio_target=ENCRYPTED_RATIO,
        details={"encrypted": encrypted.details(subject), "plain": plain.details(subject)},
    )


def _line(kind: Kind, connection_count: int, ours: Rates, theirs: Rates) -> Line:
    subject = (kind, connection_count)
    return Line(
        f"{NAMES[kind]}, {connection_count} connections",
        "/s",
        ours.per_second(subject),
        TARGETS[kind],
        "moto",
        theirs.per_second(subject),
        RATIO_TARGETS[kind],
        {"snapstone": ours.details(subject), "moto": theirs.details(subject)},
    )


def _memory_line(process: Process, put_block_count: int) -> Line:
    peaks = process.peak_rss_mib()
    name = f"peak memory of the largest server process after {put_block_count / 2048:.1f} GiB of puts"
    return Line(name, "MiB", [max(peaks)], MEMORY_TARGET_MIB, details={"each_process_mib": peaks})


def _workers_line(kind: Kind, ours: Rates, theirs: Rates) -> Line:
    subject = (kind, WORKERS_CONNECTION_COUNT)
    return Line(
        f"{NAMES[kind]}, 2 server processes, {WORKERS_CONNECTION_COUNT} connections",
        "/s",
        ours.per_second(subject),
        peer="1 process",
        peer_values=theirs.per_second(subject),
        details={"two": ours.details(subject), "one": theirs.details(subject)},
    )
