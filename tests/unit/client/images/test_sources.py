"""What a path means as a source."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from snapstone.client.errors import DeniedError, NotFoundError, UsageError
from snapstone.client.images.block_file import RawSource
from snapstone.client.images.device import DeviceSource
from snapstone.client.images.sources import StreamSource, open_source
from snapstone.core.blocks import BLOCK_SIZE
from tests.unit.client.images.conftest import Attach
from tests.unit.client.images.qemu_tools import convert, needs_qemu, raw_disk, tool


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(2 * BLOCK_SIZE))
    return path


@contextmanager
def standard_input(fd: int) -> Iterator[None]:
    """The descriptor takes the place of standard input."""
    saved = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_a_file_is_raw_and_has_an_absolute_name(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image.parent)
    with closing(open_source("image")) as source:
        assert isinstance(source, RawSource)
        assert (source.name, source.size) == (str(image), 2 * BLOCK_SIZE)


def test_a_link_is_followed(image: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(image)
    with closing(open_source(tmp_path / "link")) as source:
        assert source.size == 2 * BLOCK_SIZE


def test_a_device_is_read_as_a_device(image: Path, attach: Attach) -> None:
    with closing(open_source(attach(image))) as source:
        assert isinstance(source, DeviceSource)
        assert source.size == 2 * BLOCK_SIZE


@needs_qemu
def test_the_format_of_a_file_is_told_by_its_first_bytes(tmp_path: Path, into: memoryview) -> None:
    raw = raw_disk(tmp_path / "raw", 3 * BLOCK_SIZE)
    image = convert(raw, tmp_path / "without.suffix", "qcow2")
    got = b""
    with closing(open_source(image)) as source:
        assert source.size == 3 * BLOCK_SIZE
        for block_index in range(3):
            source.read(block_index, into)
            got += bytes(into)
    assert got == raw.read_bytes()


@needs_qemu
def test_a_head_that_refers_to_other_files_is_believed_only_where_the_format_is_said(tmp_path: Path) -> None:
    secret = convert(raw_disk(tmp_path / "secret", 10 * BLOCK_SIZE), tmp_path / "secret.qcow2", "qcow2")
    guest, flat = tmp_path / "guest.disk", tmp_path / "flat.vmdk"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "qcow2", guest)
    tool("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", flat, "1M")
    for image, image_format, other in ((guest, "qcow2", "secret.qcow2"), (flat, "vmdk", "flat-flat.vmdk")):
        with pytest.raises(UsageError, match=f"{other}.*--format {image_format}"):
            open_source(image)
        with closing(open_source(image, format=image_format)) as source:
            assert source.size > 0
    with closing(open_source(guest, format="raw")) as source:
        assert source.size == guest.stat().st_size


def test_a_file_that_says_raw_is_raw_whatever_its_first_bytes_are(image: Path, into: memoryview) -> None:
    image.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(BLOCK_SIZE - 8))
    with closing(open_source(image, format="raw")) as source:
        assert isinstance(source, RawSource)
        source.read(0, into)
        assert bytes(into[:4]) == b"QFI\xfb"


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for path, reason in [
        (tmp_path, "is a directory"),
        (tmp_path / "pipe", "is a pipe; pass it on standard input with its size"),
        (tmp_path / "socket", "neither a file nor a block device"),
        (Path("/dev/zero"), "neither a file nor a block device"),
    ]:
        with pytest.raises(UsageError, match=reason):
            open_source(path)


def test_a_missing_file_is_said(tmp_path: Path, image: Path) -> None:
    with pytest.raises(NotFoundError, match="absent cannot be opened for reading: No such file"):
        open_source(tmp_path / "absent")
    with pytest.raises(NotFoundError, match="Not a directory"):
        open_source(image / "below")


def test_a_file_without_rights_is_said(public_folder: Path, as_nobody: Callable[[], None]) -> None:
    (public_folder / "image").write_bytes(bytes(BLOCK_SIZE))
    os.chmod(public_folder / "image", 0o600)
    as_nobody()
    with pytest.raises(DeniedError, match="Permission denied"):
        open_source(public_folder / "image")


def test_a_user_without_rights_reads_what_he_may(
    public_folder: Path, as_nobody: Callable[[], None], block: memoryview, into: memoryview
) -> None:
    (public_folder / "image").write_bytes(block)
    os.chmod(public_folder / "image", 0o644)
    as_nobody()
    with closing(open_source(public_folder / "image")) as source:
        source.read(0, into)
        assert into == block


def test_a_size_that_is_not_the_files_is_refused(image: Path) -> None:
    open_source(image, size=2 * BLOCK_SIZE).close()
    with pytest.raises(UsageError, match=f"has {2 * BLOCK_SIZE} bytes, not 5"):
        open_source(image, size=5)


def test_standard_input_is_a_stream_of_a_said_size(into: memoryview) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"abc")
    os.close(write_fd)
    with standard_input(read_fd), closing(open_source("-", size=1 << 30)) as source:
        assert isinstance(source, StreamSource)
        assert (source.name, source.size, source.sequential) == ("-", 1 << 30, True)
        source.read(0, into)
        assert bytes(into[:4]) == b"abc\0"
    os.close(read_fd)


def test_a_stream_may_have_one_byte(into: memoryview) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"a")
    os.close(write_fd)
    with standard_input(read_fd), closing(open_source("-", size=1)) as source:
        source.read(0, into)
        assert bytes(into) == b"a" + bytes(BLOCK_SIZE - 1)
    os.close(read_fd)


def test_a_pipe_without_a_size_is_refused() -> None:
    read_fd, write_fd = os.pipe()
    with standard_input(read_fd), pytest.raises(UsageError, match="--size is required"):
        open_source("-")
    os.close(read_fd)
    os.close(write_fd)


def test_a_file_as_standard_input_needs_no_size(image: Path, into: memoryview) -> None:
    with image.open("rb", buffering=0) as file, standard_input(file.fileno()), closing(open_source("-")) as source:
        assert (source.name, source.size, source.sequential) == ("-", 2 * BLOCK_SIZE, False)
        source.read(1, into)
        assert into == image.read_bytes()[BLOCK_SIZE:]


def test_a_file_as_standard_input_of_which_something_was_read_is_a_stream(image: Path) -> None:
    with image.open("rb", buffering=0) as file, standard_input(file.fileno()):
        file.read(1)
        with pytest.raises(UsageError, match="--size is required"):
            open_source("-")


@pytest.mark.parametrize(("format", "size"), [("qcow2", BLOCK_SIZE), (None, 0), (None, -1)])
def test_what_standard_input_cannot_be_is_refused(format: str | None, size: int) -> None:
    with pytest.raises(UsageError, match="standard input"):
        open_source("-", format=format, size=size)


def test_no_descriptor_stays_open_after_refusals_and_closing(image: Path, tmp_path: Path, attach: Attach) -> None:
    before = os.listdir("/proc/self/fd")
    open_source(image).close()
    for path, size in [(image, 5), (tmp_path, None), (Path("-"), None)]:
        with pytest.raises(UsageError):
            open_source(path, size=size)
    (tmp_path / "empty").touch()
    empty = attach(tmp_path / "empty")
    with pytest.raises(NotFoundError, match="size of 0 bytes"):
        open_source(empty)
    assert os.listdir("/proc/self/fd") == before
