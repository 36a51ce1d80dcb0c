"""The tour: three generations of a real ext4 image into a server and back, every step checked and printed."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.server_process import ServerProcess

from tour import image, transfer, tree
from tour.commands import Commands

IMAGE_SIZE_MIB: Final = 192
VOLUME_SIZE_GIB: Final = 1
MIB: Final = 1 << 20
ZERO: Final = bytes(image.BLOCK_SIZE)


class MismatchError(Exception):
    """A result differs from what was expected; ends the tour."""


@dataclass(frozen=True)
class Generation:
    """One state of the volume, known without querying the server."""

    number: int
    path: Path
    tree: Path
    blocks: dict[int, bytes]
    """The expected content of the snapshot: non-zero blocks, and zeros where an ancestor has data."""
    snapshot_id: str


class Tour:
    """The steps, in order; each prints what it did."""

    def __init__(self, folder: Path, server: ServerProcess) -> None:
        self._folder = folder
        self._snapstone = Commands(server, folder / "state")
        self._ebs = server.client("ebs")
        self._kms = server.client("kms")
        self._ec2 = server.client("ec2")
        self._began_at = monotonic()
        self._step = 0

    def run(self) -> None:
        """All steps. Raises MismatchError at the first that fails."""
        first = self._snapshot(1, None)
        second = self._snapshot(2, first)
        third = self._snapshot(3, second)
        generations = [first, second, third]
        self._describe(generations)
        for generation in generations:
            self._list(generation)
        for one, other in [(first, second), (second, third), (first, third), (third, first)]:
            self._compare(one, other)
        for generation in generations:
            self._restore(generation)
        self._apply(first, third)
        self._encrypted(third)
        self._commands(generations)
        self._delete(second)
        self._restore(third)
        self._compare(first, third)
        self._delete(first)
        self._delete(third)

    def _say(self, outcome: str) -> None:
        self._step += 1
        print(f"{self._step:3}  {monotonic() - self._began_at:5.1f} s  {outcome}", flush=True)

    def _snapshot(self, number: int, parent: Generation | None) -> Generation:
        path, files = self._folder / f"generation-{number}.img", self._folder / f"tree-{number}"
        if parent is None:
            files.mkdir()
            tree.grow(files)
            image.make(path, files, IMAGE_SIZE_MIB)
            self._say(f"made an ext4 image of {IMAGE_SIZE_MIB} MiB from {len(tree.files(files)):,} files")
        else:
            shutil.copytree(parent.tree, files)
            shutil.copyfile(parent.path, path)
            changes = tree.work(files, number)
            image.change(path, files, changes)
            self._say(f"{changes}: image of generation {number}")
        self._say(f"e2fsck finds it clean: {image.check(path)}")
        return self._upload(number, path, files, parent)

    def _upload(self, number: int, path: Path, files: Path, parent: Generation | None) -> Generation:
        inherited = parent.blocks if parent else {}
        current = dict.fromkeys(inherited, ZERO) | image.blocks(path)
        new = {index: data for index, data in current.items() if inherited.get(index) != data}
        lineage = {"ParentSnapshotId": parent.snapshot_id} if parent else {}
        tags = [{"Key": "generation", "Value": str(number)}]
        began_at = monotonic()
        started = self._ebs.start_snapshot(
            VolumeSize=VOLUME_SIZE_GIB, Description=f"Generation {number}", Tags=tags, **lineage
        )
        snapshot_id = str(started["SnapshotId"])
        _expect("status after the start", started["Status"], "pending")
        _expect("status after completion", transfer.upload(self._ebs, snapshot_id, new), "completed")
        seconds = monotonic() - began_at
        self._ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id])
        kind = f"incremental on {parent.snapshot_id}" if parent else "full"
        size = len(new) * image.BLOCK_SIZE / MIB
        self._say(f"generation {number}, {kind}: {len(new)} of {len(current)} blocks put, completed as {snapshot_id}")
        self._say(
            f"{size:.1f} MiB in {seconds:.2f} s ({len(new) / seconds:.0f} blocks/s), count and aggregate accepted"
        )
        return Generation(number, path, files, current, snapshot_id)

    def _encrypted(self, plain: Generation) -> None:
        """The same image again, under a KMS key: equal to the plain one in all but what lies on disk."""
        key = self._kms.create_key(Description="the tour's")["KeyMetadata"]
        started = self._ebs.start_snapshot(VolumeSize=VOLUME_SIZE_GIB, Encrypted=True, KmsKeyArn=key["Arn"])
        sealed = replace(plain, snapshot_id=str(started["SnapshotId"]))
        _expect("status", transfer.upload(self._ebs, sealed.snapshot_id, plain.blocks), "completed")
        self._say(f"generation {plain.number} again: {len(plain.blocks)} blocks put, encrypted under {key['Arn']}")
        self._list(sealed)
        self._restore(sealed)
        self._kms.disable_key(KeyId=key["KeyId"])
        _expect("reading under a disabled key", self._refusal(sealed), "INVALID_DEPENDENCY_REQUEST")
        self._kms.enable_key(KeyId=key["KeyId"])
        self._say("with the key disabled nothing is read; enabled again:")
        self._list(sealed)
        self._delete(sealed)

    def _commands(self, generations: list[Generation]) -> None:
        """The same three generations by Snapstone's own commands, under one roof with those that boto3 made."""
        snapshot_ids: list[str] = []
        for generation in generations:
            parent = ["--parent", snapshot_ids[-1]] if snapshot_ids else []
            uploaded = self._snapstone.report("upload", generation.path, *parent)
            snapshot_ids.append(uploaded["snapshot_id"])
            self._say(
                f"snapstone upload {generation.path.name} {' '.join(parent)}: {uploaded['kind']}, "
                f"{uploaded['sent_count']} blocks sent, {uploaded['unchanged_count']} unchanged"
            )
        first_id, last_id = snapshot_ids[0], snapshot_ids[-1]
        self._say(f"snapstone diff {first_id} {last_id}:\n{self._snapstone.run('diff', first_id, last_id, '--quiet')}")
        whole, patched = self._folder / "whole.img", self._folder / "patched-by-commands.img"
        self._snapstone.run("download", last_id, whole, "--quiet")
        _same_image(whole, generations[-1].path)
        self._say(f"snapstone download {last_id}: e2fsck finds it clean, byte for byte: {image.check(whole)}")
        shutil.copyfile(generations[0].path, patched)
        applied = self._snapstone.report("download", last_id, patched, "--from", first_id, "--force")
        _same_image(patched, generations[-1].path)
        self._say(f"snapstone download --from {first_id}: {applied['received_count']} blocks make image 1 image 3")
        self._snapstone.run("verify", last_id, whole, "--quiet")
        self._say(f"snapstone verify finds no difference between {last_id} and the image")
        self._snapstone.run("rm", "--force", "--quiet", *snapshot_ids)
        self._say(f"snapstone rm deleted {len(snapshot_ids)} snapshots")

    def _refusal(self, generation: Generation) -> str | None:
        try:
            transfer.listed(self._ebs, generation.snapshot_id)
        except self._ebs.exceptions.ValidationException as error:
            return str(error.response["Reason"])
        return None

    def _describe(self, generations: list[Generation]) -> None:
        shown = self._ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        found = {
            snapshot["SnapshotId"]: (snapshot["State"], snapshot["Progress"], snapshot["FullSnapshotSizeInBytes"])
            for snapshot in shown
        }
        expected = {
            generation.snapshot_id: ("completed", "100%", len(generation.blocks) * image.BLOCK_SIZE)
            for generation in generations
        }
        _expect("snapshots that EC2 describes", found, expected)
        self._say(f"EC2 describes {len(found)} snapshots, all completed, with their full sizes")

    def _list(self, generation: Generation) -> None:
        tokens = transfer.listed(self._ebs, generation.snapshot_id)
        _expect("blocks listed", list(tokens), sorted(generation.blocks))
        self._say(
            f"generation {generation.number} lists its {len(tokens)} blocks, in order, by pages of {transfer.PAGE}"
        )

    def _compare(self, first: Generation, second: Generation) -> None:
        found = {
            entry.block_index: (entry.first_token is not None, entry.second_token is not None)
            for entry in transfer.changed(self._ebs, first.snapshot_id, second.snapshot_id)
        }
        expected = {
            index: (index in first.blocks, index in second.blocks)
            for index in sorted(first.blocks.keys() | second.blocks.keys())
            if first.blocks.get(index) != second.blocks.get(index)
        }
        _expect("changed blocks", list(found.items()), list(expected.items()))
        sides = list(found.values())
        self._say(
            f"changed blocks {first.number} → {second.number} are those of the images: {len(found)} "
            f"({sides.count((True, True))} in both, {sides.count((True, False))} only in the first, "
            f"{sides.count((False, True))} only in the second)"
        )

    def _restore(self, generation: Generation) -> None:
        restored = self._folder / "restored.img"
        restored.unlink(missing_ok=True)
        with restored.open("wb") as file:
            file.truncate(IMAGE_SIZE_MIB * MIB)
        tokens = transfer.listed(self._ebs, generation.snapshot_id)
        began_at = monotonic()
        transfer.download(self._ebs, generation.snapshot_id, tokens, restored)
        rate = len(tokens) / (monotonic() - began_at)
        _same_image(restored, generation.path)
        self._say(
            f"generation {generation.number} restored from {len(tokens)} blocks ({rate:.0f} blocks/s), "
            f"byte for byte the original: sha256 {_sha256(restored)[:16]}…"
        )
        self._look_into(restored, generation)

    def _look_into(self, restored: Path, generation: Generation) -> None:
        summary = image.check(restored)
        extracted = self._folder / "extracted"
        image.extract(restored, extracted)
        _expect("first file that differs", tree.first_difference(extracted, generation.tree), None)
        self._say(f"e2fsck finds it clean, and its {len(tree.files(extracted)):,} files are the originals: {summary}")
        shutil.rmtree(extracted)

    def _apply(self, first: Generation, last: Generation) -> None:
        patched = self._folder / "patched.img"
        shutil.copyfile(first.path, patched)
        changes = transfer.changed(self._ebs, first.snapshot_id, last.snapshot_id)
        tokens = {entry.block_index: entry.second_token for entry in changes if entry.second_token}
        transfer.download(self._ebs, last.snapshot_id, tokens, patched)
        _same_image(patched, last.path)
        self._say(f"the {len(changes)} changed blocks written over image {first.number} make it image {last.number}")

    def _delete(self, generation: Generation) -> None:
        self._ec2.delete_snapshot(SnapshotId=generation.snapshot_id)
        left = [snapshot["SnapshotId"] for snapshot in self._ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]]
        _expect("the deleted snapshot among those left", generation.snapshot_id in left, False)
        self._say(f"deleted generation {generation.number}; {len(left)} left")


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise MismatchError(f"{what}: got {_short(found)}, expected {_short(expected)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _same_image(restored: Path, original: Path) -> None:
    _expect(f"SHA-256 of {restored.name}", _sha256(restored), _sha256(original))
    _expect(f"cmp of {restored.name} and {original.name}", image.same_bytes(restored, original), True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    """Take the tour in a temporary folder; return 0 if every step passed, else 1."""
    with tempfile.TemporaryDirectory(prefix="snapstone-tour-") as name:
        folder = Path(name)
        server = ServerProcess(folder / "data")
        try:
            print(f"A server on an empty data folder: {server.ready_line.strip()}", flush=True)
            Tour(folder, server).run()
        except MismatchError as mismatch:
            print(f"MISMATCH  {mismatch}", flush=True)
            return 1
        finally:
            exit_code = server.stop()
        print(f"Stopped the server (exit code {exit_code}). Every step passed.", flush=True)
        return exit_code


if __name__ == "__main__":
    sys.exit(main())
