"""`snapstone diff` as a person meets it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conformance.given import ZERO, A, B, C, completed
from tests.server_process import ServerProcess
from tests.unit.cli.running import Client, on_terminal


@pytest.fixture
def pair(server: ServerProcess) -> tuple[str, str]:
    """A parent, and a child with two blocks changed and three added."""
    ebs = server.client("ebs")
    parent = completed(ebs, {0: A, 1: A, 9: A})
    return parent, completed(ebs, {0: B, 1: B, 20: C, 21: C, 2047: C}, ParentSnapshotId=parent)


def test_the_summary_says_how_many_and_where(client: Client, pair: tuple[str, str]) -> None:
    assert client.output("diff", *pair) == (
        "changed            2 blocks     1.0 MiB\n"
        "added              3 blocks     1.5 MiB\n"
        "removed            0 blocks         0 B\n"
        "5 of 2,048 blocks differ: 2.5 MiB of 1.0 GiB, 0.244 %, in 3 ranges\n"
        "from byte 0 (block 0) to byte 1073741824 (block 2047)\n"
    )


def test_the_summary_as_json(client: Client, pair: tuple[str, str]) -> None:
    done = client.run("diff", *pair, "--json")
    assert json.loads(done.stdout) == {
        "changed_count": 2,
        "added_count": 3,
        "removed_count": 0,
        "differing_count": 5,
        "differing_bytes": 2_621_440,
        "block_count": 2048,
        "range_count": 3,
        "first_block_index": 0,
        "last_block_index": 2047,
    }


def test_the_list_has_ranges_of_bytes(client: Client, pair: tuple[str, str]) -> None:
    assert client.output("diff", *pair, "--list") == (
        "0\t1048576\tchanged\n10485760\t1048576\tadded\n1073217536\t524288\tadded\n"
    )
    lines = client.run("diff", *pair, "--list", "--json").stdout.splitlines()
    assert json.loads(lines[0]) == {
        "offset": 0,
        "length": 1_048_576,
        "kind": "changed",
        "block_index": 0,
        "block_count": 2,
    }
    assert len(lines) == 3


def test_the_map_shows_where_in_the_volume(client: Client, pair: tuple[str, str]) -> None:
    lines = client.output("diff", *pair, "--map").splitlines()
    assert lines[0] == "       0 B  ██··················██" + "·" * 42
    assert lines[1] == "       ...  30 unchanged rows"
    assert lines[2] == " 992.0 MiB  " + "·" * 63 + "█"
    assert "a cell is 512.0 KiB" in lines[3]
    assert lines[4].startswith("5 of 2,048 blocks differ")


def test_the_map_as_json_has_the_cells_that_differ(client: Client, pair: tuple[str, str]) -> None:
    facts = json.loads(client.run("diff", *pair, "--map", "--json").stdout)
    assert facts["cell_size"] == 524_288
    assert facts["cells"][0] == {"offset": 0, "changed": 1}
    assert len(facts["cells"]) == 5


def test_on_a_terminal_the_map_is_as_wide_as_it(client: Client, pair: tuple[str, str]) -> None:
    code, shown = on_terminal(client, "diff", *pair, "--map", columns=150)
    assert code == 0
    assert "       0 B  ██··················██" + "·" * 106 in shown


def test_where_no_unicode_can_be_written_the_map_is_ascii(client: Client, pair: tuple[str, str]) -> None:
    plain = Client({**client.environment, "PYTHONIOENCODING": "ascii"}, client.folder)
    assert plain.output("diff", *pair, "--map").splitlines()[0] == "       0 B  ##..................##" + "." * 42


def test_the_picture_can_be_written_as_svg(client: Client, pair: tuple[str, str]) -> None:
    client.output("diff", *pair, "--svg", "changes.svg")
    assert (client.folder / "changes.svg").read_text().startswith("<svg ")
    done = client.run("diff", *pair, "--svg", "nowhere/changes.svg")
    assert (done.returncode, "nowhere/changes.svg cannot be written" in done.stderr) == (1, True)


def test_exit_code_9_is_for_those_who_ask(client: Client, pair: tuple[str, str]) -> None:
    assert client.run("diff", *pair).returncode == 0
    assert client.run("diff", *pair, "--exit-code").returncode == 9
    done = client.run("diff", pair[0], pair[0], "--exit-code")
    assert (done.returncode, done.stdout) == (0, "nothing differs\n")


def test_exactly_bytes_are_compared(client: Client, server: ServerProcess) -> None:
    ebs = server.client("ebs")
    parent = completed(ebs, {0: A})
    child = completed(ebs, {3: ZERO}, ParentSnapshotId=parent)
    assert client.run("diff", parent, child, "--list").stdout == "1572864\t524288\tadded\n"
    assert client.run("diff", parent, child, "--list", "--exact").stdout == ""


def test_an_image_is_compared_with_a_snapshot(client: Client, server: ServerProcess) -> None:
    snapshot_id = completed(server.client("ebs"), {0: A, 1: B})
    (client.folder / "disk.img").write_bytes(A + C + A)
    done = client.run("diff", snapshot_id, "disk.img", "--list", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "524288\t524288\tchanged\n1048576\t524288\tadded\n", "")


def test_an_image_is_compared_by_the_index_that_an_upload_left_unless_exactly(client: Client) -> None:
    image: Path = client.folder / "disk.img"
    image.write_bytes(A * 12)
    snapshot_id = client.run("upload", str(image)).stdout.strip()
    image.write_bytes(A * 11 + B)
    by_index = client.run("diff", snapshot_id, str(image), "--json")
    assert json.loads(by_index.stdout)["changed_count"] == 1
    (end,) = [json.loads(line) for line in by_index.stderr.splitlines() if '"end"' in line]
    assert (end["visited_count"], end["moved_count"]) == (12, 0)
    exact = client.run("diff", snapshot_id, str(image), "--exact", "--json")
    assert json.loads(exact.stdout)["changed_count"] == 1
    (end,) = [json.loads(line) for line in exact.stderr.splitlines() if '"end"' in line]
    assert end["moved_count"] == 12


def test_strangers_cannot_be_compared(client: Client, server: ServerProcess) -> None:
    ebs = server.client("ebs")
    done = client.run("diff", completed(ebs, {}), completed(ebs, {}))
    assert (done.returncode, "UNRELATED_SNAPSHOTS" in done.stderr) == (1, True)


def test_an_image_that_is_not_there_is_not_found(client: Client, pair: tuple[str, str]) -> None:
    done = client.run("diff", pair[0], "no-such.img")
    assert (done.returncode, "no-such.img" in done.stderr) == (7, True)


def test_a_stream_is_compared_as_it_comes(client: Client, server: ServerProcess) -> None:
    snapshot_id = completed(server.client("ebs"), {0: A, 1: B})
    image = client.folder / "disk.img"
    image.write_bytes(A + C)
    with subprocess.Popen(["cat", str(image)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        arguments = ("diff", snapshot_id, "-", "--size", "1MiB", "--list", "--quiet")
        with client.start(*arguments, stdin=cat.stdout.fileno()) as process:
            output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "524288\t524288\tchanged\n", ""), errors
