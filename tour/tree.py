"""A tree of real files (this project's, Python's library, botocore's) and what happens to it between generations."""

from __future__ import annotations

import shutil
import sysconfig
import tarfile
from pathlib import Path
from typing import Final

import botocore

from tour.image import Change

PROJECT: Final = Path(__file__).parents[1]
PROJECT_FOLDERS: Final = ("src", "tests", "docs", "tour")
NOT_COPIED: Final = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "test", "*.egg-info", "config-*"
)


def grow(tree: Path) -> None:
    """Copy the files of the first generation."""
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, tree / "library", ignore=NOT_COPIED, ignore_dangling_symlinks=True)
    shutil.copytree(Path(botocore.__file__).parent, tree / "botocore", ignore=NOT_COPIED)
    for name in PROJECT_FOLDERS:
        shutil.copytree(PROJECT / name, tree / "project" / name, ignore=NOT_COPIED)


def files(tree: Path) -> list[Path]:
    """Every file, relative to the root, in order."""
    return sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file())


def work(tree: Path, generation: int) -> Change:
    """Change, add and delete some files; which ones depends on the generation."""
    present = files(tree)
    edited, deleted = present[generation::200], present[generation + 100 :: 300]
    edited = [path for path in edited if path not in deleted]
    for path in edited:
        with (tree / path).open("ab") as file:
            file.write(f"\n# generation {generation}\n".encode())
    for path in deleted:
        (tree / path).unlink()
    added = [Path(f"generation-{generation}", name) for name in ("library.tar.gz", "Makefile", "LICENSE")]
    (tree / added[0].parent).mkdir()
    with tarfile.open(tree / added[0], "w:gz", compresslevel=1) as archive:
        archive.add(tree / "library", "library")
    for path in added[1:]:
        shutil.copy(PROJECT / path.name, tree / path)
    return Change(edited, added, deleted)


def first_difference(one: Path, other: Path) -> str | None:
    """Where two trees differ, or None."""
    if files(one) != files(other):
        return f"not the same files: {sorted(set(files(one)) ^ set(files(other)))[:3]}"
    return next((str(path) for path in files(one) if (one / path).read_bytes() != (other / path).read_bytes()), None)
