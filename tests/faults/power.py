"""What a power cut leaves of a folder: a model of a disk, fed with a recording, from which folders are made.

What a successful sync covers, that is, what had ended before the sync began, stays. What none covers is dropped, kept,
or kept in part: any sectors or pages of it. A sync that failed takes with it whatever was written to its file before or
during the call and no earlier sync has covered: the kernel marks those pages clean and tells the error once, so no
later sync brings them back. A name stays where its folder was synced after it was made; otherwise it depends (`Names`).
Files are told apart by inode, so a file keeps its content through renames and links.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from tests.faults.recording import Event, Kind

SECTOR: Final = 512
PAGE: Final = 4096
NEVER: Final = 1 << 62

_KEEP_SIZE: Final = 1
_PUNCH: Final = 2
"""Modes of fallocate."""


class Content(Enum):
    """What becomes of writes that no sync covers."""

    DROPPED = "dropped"
    KEPT = "kept"
    TORN_SECTORS = "torn in sectors"
    TORN_PAGES = "torn in pages"
    MIXED = "another for each file"


class Names(Enum):
    """What becomes of names whose folder was not synced."""

    DROPPED = "dropped"
    KEPT = "kept"
    UP_TO_SOME = "kept up to some moment, as by a journal"


@dataclass(frozen=True)
class Cut:
    """One power cut: when, and what the disk made of it."""

    moment: int
    content: Content
    names: Names
    seed: int

    def __str__(self) -> str:
        return f"moment {self.moment}, writes {self.content.value}, names {self.names.value}, seed {self.seed}"


@dataclass(frozen=True)
class FileImage:
    """A file's bytes: its size, and pieces in the order in which they were written."""

    size: int = 0
    pieces: tuple[tuple[int, memoryview | None, int], ...] = ()
    """Offset, bytes (None: zeros), size."""

    def write(self, path: Path) -> None:
        """Make the file. Stretches that were never written are holes."""
        with path.open("xb", buffering=0) as file:
            end = 0
            for offset, data, size in self.pieces:
                if data is not None:
                    os.pwrite(file.fileno(), data, offset)
                    end = max(end, offset + size)
                elif offset < end:
                    os.pwrite(file.fileno(), bytes(min(size, end - offset)), offset)
            os.ftruncate(file.fileno(), self.size)


@dataclass(frozen=True)
class Image:
    """A folder as a power cut left it."""

    folders: tuple[str, ...]
    """Paths below the root, each after its parent."""
    files: tuple[tuple[str, FileImage], ...]
    """By path; two paths with one FileImage object are links of one file."""

    def write(self, root: Path) -> dict[str, int]:
        """Make it at `root`, which must be empty or missing; returns the inode of each path."""
        root.mkdir(parents=True, exist_ok=True)
        for folder in self.folders:
            (root / folder).mkdir(mode=0o700)
        made: dict[int, Path] = {}
        for name, image in self.files:
            path = root / name
            if id(image) in made:
                os.link(made[id(image)], path)
                continue
            image.write(path)
            path.chmod(0o600)
            made[id(image)] = path
        return {name: (root / name).stat().st_ino for name in (*self.folders, *(name for name, _ in self.files))}


EMPTY: Final = Image((), ())


@dataclass(slots=True)
class _Change:
    """A change of a file's content or size, and from when it stays or is gone."""

    event: Event
    durable_at: int = NEVER
    lost_at: int = NEVER


@dataclass(eq=False)
class _File:
    """One file, under whatever names."""

    base: FileImage
    changes: list[_Change] = field(default_factory=list)
    settled_count: int = 0
    """Changes at the front of the list whose fate is known."""
    last_failure: int = -1
    """When a sync of it failed last."""


class _Folder:
    """Stands for a folder, as an entry of its parent."""


_FOLDER: Final = _Folder()
_Entry = _File | _Folder


@dataclass(slots=True)
class _NameChange:
    """A change of names: what is taken away, then what is there."""

    event: Event
    removed: tuple[str, str] | None
    """Folder and name."""
    added: tuple[str, str] | None
    entry: _Entry | None
    durable_at: int = NEVER
    is_forgotten: bool = False
    """A sync of its folder failed, so that no later one makes it durable."""


class Disk:
    """A recording of one folder, understood. Cuts are made of it in any order."""

    def __init__(
        self, root: Path, events: Sequence[Event], base: Image = EMPTY, inodes: Mapping[str, int] | None = None
    ) -> None:
        """`base` is what lay at `root`, durable, when the recording began, and `inodes` what its `write` returned."""
        self._root = os.path.realpath(root)
        self._folders: dict[int, str] = {root.stat().st_ino: ""}
        self._files: dict[int, _File] = {}
        self._live: dict[str, dict[str, _Entry]] = {"": {}}
        self._name_changes: list[_NameChange] = []
        self.syncs: list[Event] = []
        """All syncs, those that failed too."""
        self._take_base(base, inodes or {})
        self._base_names = {folder: dict(entries) for folder, entries in self._live.items()}
        for event in events:
            self._take(event)
        self.last_moment = max((event.ended for event in events), default=0) + 1

    def moments_at_syncs(self) -> list[int]:
        """Just before each sync begins, and just after it has ended."""
        return sorted({moment for sync in self.syncs for moment in (sync.begun, sync.ended + 1)})

    @property
    def failed_sync_count(self) -> int:
        """Syncs that failed."""
        return sum(sync.error != 0 for sync in self.syncs)

    # -- understanding the recording --

    def _take_base(self, base: Image, inodes: Mapping[str, int]) -> None:
        for folder in base.folders:
            parent, name = _split(folder)
            self._live[parent][name] = _FOLDER
            self._live[folder] = {}
            self._folders[inodes[folder]] = folder
        for path, image in base.files:
            parent, name = _split(path)
            self._live[parent][name] = self._files.setdefault(inodes[path], _File(image))

    def _take(self, event: Event) -> None:
        match event.kind:
            case Kind.CREATE:
                self._take_creation(event)
            case Kind.WRITE | Kind.TRUNCATE | Kind.ALLOCATE:
                file = self._files[event.inode]
                change = _Change(event)
                if event.kind is Kind.WRITE and event.begun < file.last_failure:
                    change.lost_at = file.last_failure
                file.changes.append(change)
            case Kind.SYNC:
                self.syncs.append(event)
                if event.inode in self._folders:
                    self._sync_folder(self._folders[event.inode], event)
                else:
                    _sync_file(self._files[event.inode], event)
            case _:
                self._take_names(event)

    def _take_creation(self, event: Event) -> None:
        folder, name = self._place(event.path)
        known = self._live[folder].get(name)
        if known is not None and known is self._files.get(event.inode):
            return  # two processes made it at once: one of them only opened it
        file = self._files[event.inode] = _File(FileImage())
        self._change_names(_NameChange(event, None, (folder, name), file))

    def _take_names(self, event: Event) -> None:
        place = self._place(event.path)
        entry = self._live[place[0]].get(place[1])
        match event.kind:
            case Kind.MAKE_FOLDER:
                self._folders[event.inode] = _join(*place)
                self._live[_join(*place)] = {}
                self._change_names(_NameChange(event, None, place, _FOLDER))
            case Kind.UNLINK | Kind.REMOVE_FOLDER:
                self._change_names(_NameChange(event, place, None, None))
            case Kind.LINK:
                self._change_names(_NameChange(event, None, self._place(event.other), self._files[event.inode]))
            case Kind.RENAME:
                assert isinstance(entry, _File), f"the renaming of {event.path} is not modelled"
                self._change_names(_NameChange(event, place, self._place(event.other), self._files[event.inode]))

    def _change_names(self, change: _NameChange) -> None:
        self._name_changes.append(change)
        _apply(change, self._live)

    def _sync_folder(self, folder: str, sync: Event) -> None:
        for change in self._name_changes:
            places = [place[0] for place in (change.removed, change.added) if place is not None]
            if folder in places and change.event.ended < sync.begun and change.durable_at == NEVER:
                if sync.error:
                    change.is_forgotten = True
                elif not change.is_forgotten:
                    change.durable_at = sync.ended

    def _place(self, path: str) -> tuple[str, str]:
        return _split(os.path.relpath(path, self._root))

    # -- cutting the power --

    def image(self, cut: Cut) -> Image:
        """What is left after a cut."""
        chance = random.Random(cut.seed)
        names = self._names_at(cut, chance)
        images: dict[_File, FileImage] = {}
        folders: list[str] = []
        files: list[tuple[str, FileImage]] = []
        for path, entry in _walk(names, ""):
            if isinstance(entry, _Folder):
                folders.append(path)
                continue
            if entry not in images:
                images[entry] = _image_of(entry, cut, chance)
            files.append((path, images[entry]))
        return Image(tuple(folders), tuple(files))

    def _names_at(self, cut: Cut, chance: random.Random) -> dict[str, dict[str, _Entry]]:
        names = {folder: dict(self._base_names.get(folder, {})) for folder in self._live}
        kept_until = {Names.DROPPED: -1, Names.KEPT: cut.moment, Names.UP_TO_SOME: chance.randrange(cut.moment + 1)}
        for change in self._name_changes:
            if change.durable_at < cut.moment or change.event.ended < kept_until[cut.names]:
                _apply(change, names)
        return names


def _sync_file(file: _File, sync: Event) -> None:
    if sync.error:
        file.last_failure = sync.ended
    is_settled = True
    for number, change in enumerate(file.changes[file.settled_count :], file.settled_count):
        if change.durable_at == NEVER and change.lost_at == NEVER:
            if not sync.error and change.event.ended < sync.begun:
                change.durable_at = sync.ended
            elif sync.error and change.event.kind is Kind.WRITE:
                change.lost_at = sync.ended
            else:
                is_settled = False
        if is_settled:
            file.settled_count = number + 1


def _apply(change: _NameChange, names: dict[str, dict[str, _Entry]]) -> None:
    if change.removed is not None:
        names[change.removed[0]].pop(change.removed[1], None)
    if change.added is not None and change.entry is not None:
        names[change.added[0]][change.added[1]] = change.entry


def _walk(names: Mapping[str, Mapping[str, _Entry]], folder: str) -> Iterator[tuple[str, _Entry]]:
    """Everything that can be reached, folders before what is in them."""
    for name, entry in sorted(names[folder].items(), key=lambda item: item[0]):
        path = _join(folder, name)
        yield path, entry
        if isinstance(entry, _Folder):
            yield from _walk(names, path)


_FATES: Final = (Content.DROPPED, Content.KEPT, Content.TORN_SECTORS, Content.TORN_PAGES)


def _image_of(file: _File, cut: Cut, chance: random.Random) -> FileImage:
    fate = chance.choice(_FATES) if cut.content is Content.MIXED else cut.content
    pieces, size = list(file.base.pieces), file.base.size
    for change in file.changes:
        event = change.event
        if event.begun >= cut.moment or change.lost_at < cut.moment:
            continue
        if change.durable_at < cut.moment:
            kept = _whole(event)
        else:
            kept = _what_is_kept(event, fate, event.ended >= cut.moment, chance)
        for offset, data, length in kept:
            if event.kind is Kind.TRUNCATE:
                if length < size:
                    pieces.append((length, None, size - length))
                size = length
                continue
            pieces.append((offset, data, length))
            if not (event.kind is Kind.ALLOCATE and event.mode & _KEEP_SIZE):
                size = max(size, offset + length)
    return FileImage(size, tuple(pieces))


_Piece = tuple[int, memoryview | None, int]


def _whole(event: Event) -> list[_Piece]:
    if event.kind is Kind.WRITE:
        return [(event.offset, event.data, event.size)]
    if event.kind is Kind.ALLOCATE and not event.mode & _PUNCH:
        return [(event.offset + event.size, None, 0)]  # the size alone: what is there stays
    return [(event.offset, None, event.size)]


def _what_is_kept(event: Event, fate: Content, is_under_way: bool, chance: random.Random) -> list[_Piece]:
    """Of a change that no sync covers."""
    if fate is Content.DROPPED:
        return []
    if event.kind is not Kind.WRITE:
        return _whole(event) if fate is Content.KEPT or chance.random() < 0.5 else []
    if fate is Content.KEPT and not is_under_way:
        return _whole(event)
    return list(_torn(event, PAGE if fate is Content.TORN_PAGES else SECTOR, chance))


def _torn(event: Event, unit: int, chance: random.Random) -> Iterator[_Piece]:
    """The pieces of a write that reached the disk: all, none, the first ones, or any."""
    bounds = [event.offset, *range((event.offset // unit + 1) * unit, event.offset + event.size, unit)]
    count = len(bounds)
    match chance.randrange(4):
        case 0:
            kept = [True] * count
        case 1:
            kept = [False] * count
        case 2:
            limit = chance.randrange(count + 1)
            kept = [number < limit for number in range(count)]
        case _:
            share = chance.random()
            kept = [chance.random() < share for _ in range(count)]
    bounds.append(event.offset + event.size)
    begin: int | None = None
    for number in range(count + 1):
        if number < count and kept[number]:
            begin = number if begin is None else begin
        elif begin is not None:
            start, end = bounds[begin], bounds[number]
            yield start, event.data[start - event.offset : end - event.offset], end - start
            begin = None


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
