"""The commands about accounts, users and keys, on a data folder that no server runs on."""

from __future__ import annotations

import configparser
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snapstone.cli.main import main
from snapstone.server.config import read_settings
from snapstone.server.folder.administration import open_identities
from snapstone.server.folder.data_folder import use_data_folder
from snapstone.server.folder.root_key import ensure_root_key
from snapstone.server.process.preparation import prepare_catalog
from snapstone.service.identities.identity import Credentials, credentials_of

Run = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of a server that has run."""
    for name in list(os.environ):
        if name.startswith("SNAPSTONE_"):
            monkeypatch.delenv(name)
    settings = read_settings({"data": str(tmp_path / "data")})
    with use_data_folder(settings.data) as opened:
        ensure_root_key(settings, opened)
        prepare_catalog(settings, opened)
    return settings.data


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that is to end well; what it prints."""

    def run(*arguments: str) -> str:
        code = main([*arguments, "--data", str(folder)])
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, "")
        return printed.out

    return run


def as_json(run: Run, *arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def credentials(folder: Path, access_key_id: str) -> Credentials | None:
    with open_identities(read_settings({"data": str(folder)})) as engine:
        return credentials_of(engine, access_key_id, None)


def test_an_account_is_made_with_its_roots_key(run: Run, folder: Path) -> None:
    made = as_json(run, "account", "create", "lab")
    assert re.fullmatch(r"[1-9]\d{11}", made["AccountId"])
    found = credentials(folder, made["AccessKeyId"])
    assert found is not None
    assert found.secret == made["SecretAccessKey"]
    assert found.principal.arn == f"arn:aws:iam::{made['AccountId']}:root"


def test_a_new_key_is_printed_as_a_part_of_a_credentials_file(run: Run, folder: Path) -> None:
    run("user", "create", "anna")
    printed = run("key", "create", "--user", "anna")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(printed)
    found = credentials(folder, parser["anna"]["aws_access_key_id"])
    assert found is not None
    assert found.secret == parser["anna"]["aws_secret_access_key"]
    assert printed.startswith(f"# account {found.account_id}\n")


def test_accounts_are_listed_renamed_and_shown(run: Run) -> None:
    made = as_json(run, "account", "create", "lab")
    run("account", "rename", "lab", "laboratory")
    assert [account["name"] for account in as_json(run, "account", "ls")] == ["", "laboratory"]
    run("user", "create", "anna", "--account", "laboratory")
    shown = as_json(run, "account", "show", made["AccountId"])
    assert (shown["id"], shown["name"], shown["users"]) == (made["AccountId"], "laboratory", "1")
    first, second = run("account", "ls").splitlines()
    assert first.split("\t")[1] == "-"
    assert second.split("\t")[:2] == [made["AccountId"], "laboratory"]


def test_users_are_made_in_the_account_that_is_named(run: Run) -> None:
    run("account", "create", "lab")
    run("user", "create", "anna", "--account", "lab", "--path", "/backup/")
    assert as_json(run, "user", "ls") == []
    [user] = as_json(run, "user", "ls", "--account", "lab")
    assert user["name"] == "anna"
    assert user["arn"].endswith(":user/backup/anna")


def test_policies_are_attached_and_detached(run: Run) -> None:
    run("user", "create", "anna", "--policy", "SnapstoneBackupWriter")
    run("user", "policy", "attach", "anna", "arn:aws:iam::aws:policy/SnapstoneReadOnly")
    run("user", "policy", "detach", "anna", "SnapstoneBackupWriter")
    assert run("user", "policy", "ls", "anna") == "arn:aws:iam::aws:policy/SnapstoneReadOnly\n"


def test_a_user_is_removed_with_keys_and_policies(run: Run, folder: Path) -> None:
    run("user", "create", "anna", "--policy", "SnapstoneReadOnly")
    key = as_json(run, "key", "create", "--user", "anna")
    run("user", "rm", "anna")
    assert run("user", "ls") == ""
    assert credentials(folder, key["AccessKeyId"]) is None


def test_keys_are_switched_off_and_on_and_removed(run: Run, folder: Path) -> None:
    run("user", "create", "anna")
    key = as_json(run, "key", "create", "--user", "anna")["AccessKeyId"]
    states = []
    for verb in ("disable", "enable"):
        run("key", verb, key, "--user", "anna")
        states.append(as_json(run, "key", "ls", "--user", "anna")[0]["state"])
    assert states == ["disabled", "active"]
    run("key", "rm", key, "--user", "anna")
    assert run("key", "ls", "--user", "anna") == ""
    assert credentials(folder, key) is None


def test_a_rotated_key_is_disabled_and_another_takes_its_place(run: Run, folder: Path) -> None:
    [old] = as_json(run, "key", "ls")
    new = as_json(run, "key", "rotate", old["id"])
    found = credentials(folder, new["AccessKeyId"])
    former = credentials(folder, old["id"])
    assert found is not None
    assert former is not None
    assert (found.active, former.active) == (True, False)
    assert found.principal == former.principal


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["account", "show", "none"], 2, "There is no account none."),
        (["account", "rename", "none", "x"], 2, "There is no account none."),
        (["user", "create", "a/b"], 2, "The specified value for userName is invalid."),
        (["user", "create", "anna", "--policy", "Nothing"], 2, "Policy arn:aws:iam::aws:policy/Nothing does not exist"),
        (["user", "ls", "--account", "none"], 2, "There is no account none."),
        (["key", "create", "--user", "nobody"], 2, "The user with name nobody cannot be found."),
        (["key", "rm", "AKIANONE"], 2, "The Access Key with id AKIANONE cannot be found."),
        (["user", "policy", "detach", "root", "SnapstoneReadOnly"], 2, "The user with name root cannot be found."),
    ],
)
def test_bad_input_is_named_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, line: str
) -> None:
    assert main([*arguments, "--data", str(folder)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"snapstone: {line}")
    assert printed.err.count("\n") == 1


def test_what_is_there_already_is_a_failure(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("user", "create", "anna")
    run("account", "create", "lab")
    for arguments in (["user", "create", "ANNA"], ["account", "create", "lab"]):
        assert main([*arguments, "--data", str(folder)]) == 1
        assert "already exists" in capsys.readouterr().err
    assert len(as_json(run, "account", "ls")) == 2


def test_without_a_data_folder_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["account", "create", "lab", "--data", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_another_root_key_opens_nothing(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAPSTONE_ROOT_KEY", "ab" * 32)
    assert main(["account", "create", "lab", "--data", str(folder)]) == 2
    assert "the root key is not the one" in capsys.readouterr().err
    monkeypatch.delenv("SNAPSTONE_ROOT_KEY")
    assert len(as_json(run, "account", "ls")) == 1
