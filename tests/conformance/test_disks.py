"""Real disks through the command line client: an ext4 image in three generations, and qcow2, up and down again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.client_command import LOGGING_ALL, ClientCommand, Requests
from tests.conformance.given import BLOCK_SIZE
from tests.server_process import ServerProcess
from tour import image, tree

IMAGE_SIZE_MIB: Final = 1024
"""A whole volume: what is downloaded has the volume's size."""

pytestmark = pytest.mark.xdist_group("disks")


@dataclass(frozen=True)
class Generation:
    """One state of the file system: its image, and the files that were put into it."""

    path: Path
    tree: Path


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> list[Generation]:
    """Three generations, each with files edited, added and deleted."""
    folder = tmp_path_factory.mktemp("generations")
    first = Generation(folder / "1.img", folder / "tree-1")
    first.tree.mkdir()
    tree.grow(first.tree)
    image.make(first.path, first.tree, IMAGE_SIZE_MIB)
    made = [first]
    for number in (2, 3):
        made.append(Generation(folder / f"{number}.img", folder / f"tree-{number}"))
        shutil.copytree(made[-2].tree, made[-1].tree)
        shutil.copy(made[-2].path, made[-1].path)
        image.change(made[-1].path, made[-1].tree, tree.work(made[-1].tree, number))
    return made


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that logs every block."""
    with ServerProcess(tmp_path_factory.mktemp("disks") / "data", LOGGING_ALL) as server:
        yield server


@pytest.fixture
def client(disks: ServerProcess, tmp_path: Path) -> ClientCommand:
    """A client that knows nothing of other tests' snapshots."""
    return ClientCommand(disks, tmp_path / "state")


@pytest.fixture(scope="module")
def uploaded(
    disks: ServerProcess, generations: list[Generation], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """A snapshot of each generation, from files."""
    return upload_all(ClientCommand(disks, tmp_path_factory.mktemp("uploaded") / "state"), "file", generations)


@pytest.fixture(params=["file", "loop device"])
def kind(request: pytest.FixtureRequest) -> str:
    """What a generation is uploaded from."""
    return str(request.param)


@contextmanager
def offered_as(kind: str, path: Path) -> Iterator[Path]:
    """The image itself, or a loop device of it."""
    if kind == "file":
        yield path
        return
    try:
        device = image.run("losetup", "--find", "--show", "--read-only", str(path)).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"loop devices cannot be set up here: {error}")
    try:
        yield Path(device)
    finally:
        image.run("losetup", "--detach", device)


def upload_all(client: ClientCommand, kind: str, generations: list[Generation]) -> list[str]:
    """A snapshot of each generation, each but the first an increment of the one before."""
    made: list[str] = []
    for generation in generations:
        with offered_as(kind, generation.path) as source:
            made.append(client.run("upload", source, *(["--parent", made[-1]] if made else [])))
    return made


def different_blocks(one: Path, other: Path) -> set[int]:
    """Block indexes where two images differ."""
    with one.open("rb") as first, other.open("rb") as second:
        return {
            block_index
            for block_index in range(IMAGE_SIZE_MIB * (1 << 20) // BLOCK_SIZE)
            if first.read(BLOCK_SIZE) != second.read(BLOCK_SIZE)
        }


def test_three_generations_come_back_as_they_were(
    client: ClientCommand, generations: list[Generation], kind: str, tmp_path: Path
) -> None:
    for generation, snapshot_id in zip(generations, upload_all(client, kind, generations), strict=True):
        downloaded = tmp_path / f"{snapshot_id}.img"
        client.run("download", snapshot_id, downloaded)
        assert image.same_bytes(generation.path, downloaded)
        image.check(downloaded)
        files = tmp_path / snapshot_id
        image.extract(downloaded, files)
        assert tree.first_difference(generation.tree, files) is None


def test_increments_bring_an_older_image_to_a_later_generation(
    client: ClientCommand, generations: list[Generation], uploaded: list[str], tmp_path: Path
) -> None:
    first, second, third = uploaded
    disk = tmp_path / "disk.img"
    client.run("download", first, disk)
    for source, snapshot_id, generation in ((first, second, generations[1]), (second, third, generations[2])):
        client.run("download", snapshot_id, disk, "--from", source)
        assert image.same_bytes(generation.path, disk)
        image.check(disk)


def test_an_increment_reaches_over_a_generation_and_back_again(
    client: ClientCommand, generations: list[Generation], uploaded: list[str], tmp_path: Path
) -> None:
    first, _, third = uploaded
    disk = tmp_path / "disk.img"
    shutil.copy(generations[0].path, disk)
    for source, snapshot_id, generation in ((first, third, generations[2]), (third, first, generations[0])):
        client.run("download", snapshot_id, disk, "--from", source)
        assert image.same_bytes(generation.path, disk)
        image.check(disk)


@pytest.mark.parametrize("knows_parent", [True, False], ids=["with the parent's index", "without"])
def test_an_increment_sends_the_blocks_that_differ_and_no_others(
    disks: ServerProcess, client: ClientCommand, generations: list[Generation], knows_parent: bool
) -> None:
    first, second = generations[:2]
    parent_id = client.run("upload", first.path)
    if not knows_parent:
        shutil.rmtree(client.state)
    requests = Requests(disks.log_path)
    client.run("upload", second.path, "--parent", parent_id)
    puts = requests.done("PUT")
    assert set(puts) == different_blocks(first.path, second.path)
    assert set(puts.values()) == {1}


def test_an_increment_without_changes_sends_nothing(
    disks: ServerProcess, client: ClientCommand, generations: list[Generation], tmp_path: Path
) -> None:
    parent_id = client.run("upload", generations[0].path)
    requests = Requests(disks.log_path)
    child_id = client.run("upload", generations[0].path, "--parent", parent_id)
    assert not requests.done("PUT")
    client.run("download", child_id, tmp_path / "same.img")
    assert image.same_bytes(generations[0].path, tmp_path / "same.img")


def test_a_downloaded_image_is_sparse(
    client: ClientCommand, generations: list[Generation], uploaded: list[str], tmp_path: Path
) -> None:
    client.run("download", uploaded[0], tmp_path / "disk.img")
    data_size = len(image.blocks(generations[0].path)) * BLOCK_SIZE
    assert (tmp_path / "disk.img").stat().st_blocks * 512 <= data_size + BLOCK_SIZE


def test_a_loop_device_is_filled_from_a_snapshot(
    client: ClientCommand, generations: list[Generation], uploaded: list[str], tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    shutil.copy(generations[0].path, disk)
    try:
        device = image.run("losetup", "--find", "--show", str(disk)).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"loop devices cannot be set up here: {error}")
    try:
        client.run("download", uploaded[1], device, "--force")
    finally:
        image.run("losetup", "--detach", device)
    assert image.same_bytes(generations[1].path, disk)
    image.check(disk)


@pytest.fixture
def needs_qemu() -> None:
    """Skip where qemu's tools are not installed."""
    if shutil.which("qemu-img") is None or shutil.which("qemu-nbd") is None:
        pytest.skip("qemu-utils is not installed")


@pytest.mark.usefixtures("needs_qemu")
def test_qcow2_images_in_two_generations_come_back_as_they_were(
    client: ClientCommand, generations: list[Generation], tmp_path: Path
) -> None:
    parent: list[str] = []
    for number, generation in enumerate(generations[:2]):
        qcow2 = tmp_path / f"{number}.qcow2"
        image.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(generation.path), str(qcow2))
        snapshot_id = client.run("upload", qcow2, *parent)
        parent = ["--parent", snapshot_id]
        raw, again = tmp_path / f"{number}.img", tmp_path / f"{number}-again.qcow2"
        client.run("download", snapshot_id, raw)
        assert image.same_bytes(generation.path, raw)
        image.check(raw)
        client.run("download", snapshot_id, again, "--format", "qcow2")
        image.run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", str(qcow2), str(again))
