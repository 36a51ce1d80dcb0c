"""One endpoint as the client sees it: a real server, and boto3 as the witness of what is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from snapstone.client.api.endpoint import resolve
from snapstone.client.api.retrying import Options
from snapstone.client.api.service import Service
from snapstone.client.api.values import ChangedBlock, StartRequest
from snapstone.client.errors import DeniedError, NotFoundError, RemoteError, UnreachableError, UsageError
from snapstone.core.blocks import BLOCK_SIZE, ZERO_DIGEST, Digest, digest_of, linear_aggregate
from tests.server_process import REGION, AccessKeyPair, ServerProcess
from tests.unit.client.transfer.two_sides import service_of


@pytest.fixture
def service(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with point_at(server, monkeypatch) as found:
        yield found


def point_at(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, options: Options | None = None) -> Service:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in server.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return Service(resolve(), options)


def block_of(text: str) -> memoryview:
    return memoryview(bytearray((text * BLOCK_SIZE)[:BLOCK_SIZE].encode()))


def started(service: Service, **more: object) -> str:
    return service.start_snapshot(StartRequest(1, f"test-{uuid4()}", **more))  # type: ignore[arg-type]


def completed(service: Service, blocks: dict[int, memoryview], **more: object) -> str:
    snapshot_id = started(service, **more)
    for block_index, block in blocks.items():
        service.put_block(snapshot_id, block_index, block, digest_of(block))
    digests = [digest_of(blocks[block_index]) for block_index in sorted(blocks)]
    assert service.complete_snapshot(snapshot_id, len(blocks), linear_aggregate(digests)) == "completed"
    return snapshot_id


def test_blocks_come_back_as_they_were_sent(service: Service) -> None:
    blocks = {0: block_of("a"), 7: block_of("b"), 2_047: block_of("c")}
    snapshot_id = completed(service, blocks)
    service.wait_completed(snapshot_id, 1.0)
    assert service.volume_size_gib(snapshot_id) == 1
    into = memoryview(bytearray(BLOCK_SIZE))
    found = {}
    for page in service.block_pages(snapshot_id):
        assert page.volume_size_gib == 1
        for entry in page.blocks:
            assert service.get_block(snapshot_id, entry.block_index, entry.token, into) == digest_of(into)
            found[entry.block_index] = bytes(into)
    assert found == {block_index: bytes(block) for block_index, block in blocks.items()}


def test_pages_follow_each_other_and_begin_where_asked(service: Service) -> None:
    block = block_of("p")
    snapshot_id = completed(service, dict.fromkeys(range(250), block))
    pages = list(service.block_pages(snapshot_id, 20, page_length=100))
    assert [len(page.blocks) for page in pages] == [100, 100, 30]
    assert [entry.block_index for page in pages for entry in page.blocks] == list(range(20, 250))


def test_changes_tell_on_which_side_a_block_is(service: Service) -> None:
    root = completed(service, {0: block_of("a"), 1: block_of("b")})
    child = completed(service, {1: block_of("B"), 5: block_of("c")}, parent_id=root)
    sibling = completed(service, {9: block_of("s")}, parent_id=root)
    changes = [entry for page in service.changed_pages(child, sibling) for entry in page.blocks]
    assert [(entry.block_index, bool(entry.first_token), bool(entry.second_token)) for entry in changes] == [
        (1, True, True),
        (5, True, False),
        (9, False, True),
    ]
    assert all(isinstance(entry, ChangedBlock) for entry in changes)
    assert [entry.block_index for page in service.changed_pages(child, sibling, 5) for entry in page.blocks] == [5, 9]


def test_what_was_started_is_described(service: Service) -> None:
    snapshot_id = started(service, description="nightly", tags={"a": "b"})
    described = service.describe([snapshot_id])
    assert [(one.snapshot_id, one.state, one.volume_size_gib) for one in described] == [(snapshot_id, "pending", 1)]
    assert (described[0].description, dict(described[0].tags), described[0].encrypted) == ("nightly", {"a": "b"}, False)
    assert snapshot_id in [one.snapshot_id for one in service.describe(filters={"tag:a": ["b"]})]
    assert snapshot_id not in [one.snapshot_id for one in service.describe(filters={"tag:a": ["c"]})]


def test_one_client_token_starts_one_snapshot(service: Service) -> None:
    request = StartRequest(1, f"test-{uuid4()}", tags={"once": "yes"})
    assert service.start_snapshot(request) == service.start_snapshot(request)


def test_tags_come_and_go(service: Service) -> None:
    snapshot_id = started(service)
    service.tag(snapshot_id, {"a": "1", "b": "2"})
    service.untag(snapshot_id, ["a"])
    assert dict(service.describe([snapshot_id])[0].tags) == {"b": "2"}


def test_a_deleted_snapshot_is_gone(service: Service) -> None:
    snapshot_id = started(service)
    service.delete_snapshot(snapshot_id, dry_run=True)
    assert service.describe([snapshot_id])
    service.delete_snapshot(snapshot_id)
    with pytest.raises(NotFoundError, match=snapshot_id):
        service.put_block(snapshot_id, 0, block_of("x"), digest_of(block_of("x")))


def test_a_wrong_count_ends_in_error_and_waiting_says_so(service: Service) -> None:
    snapshot_id = started(service)
    assert service.complete_snapshot(snapshot_id, 3, Digest(linear_aggregate([ZERO_DIGEST] * 3))) == "error"
    with pytest.raises(RemoteError, match="Changed blocks count mismatch"):
        service.wait_completed(snapshot_id, 1.0)


def test_waiting_for_a_snapshot_that_nobody_completes_is_bounded(service: Service) -> None:
    with pytest.raises(UnreachableError, match="still pending after"):
        service.wait_completed(started(service), 0.3)


def test_a_block_beyond_the_volume_is_refused_and_named(service: Service) -> None:
    snapshot_id = started(service)
    with pytest.raises(RemoteError, match=f"put block 2048 of {snapshot_id}.*beyond the volume size") as raised:
        service.put_block(snapshot_id, 2_048, block_of("x"), digest_of(block_of("x")))
    assert raised.value.code == "ValidationException"


def test_a_digest_that_is_not_of_the_block_is_never_acknowledged(service: Service) -> None:
    snapshot_id = started(service)
    with pytest.raises(Exception, match="does not match the computed checksum"):
        service.put_block(snapshot_id, 0, block_of("x"), digest_of(block_of("y")))
    assert service.complete_snapshot(snapshot_id, 0, linear_aggregate([])) == "completed"


def test_another_ones_token_is_refused(service: Service) -> None:
    snapshot_id = completed(service, {0: block_of("a"), 1: block_of("b")})
    first, second = next(service.block_pages(snapshot_id)).blocks
    with pytest.raises(RemoteError, match="block token"):
        service.get_block(snapshot_id, second.block_index, first.token, memoryview(bytearray(BLOCK_SIZE)))


def test_the_right_to_complete_is_found_out_without_a_snapshot(server: ServerProcess, service: Service) -> None:
    assert service.may_complete()
    iam = server.client("iam")
    name = f"writer-{uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    with service_of(server, key=AccessKeyPair(key["AccessKeyId"], key["SecretAccessKey"])) as nobody:
        assert not nobody.may_complete()


def test_who_we_are(service: Service) -> None:
    assert service.caller_arn().startswith("arn:aws:iam::")


def test_a_wrong_secret_is_denied_at_once(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(server, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with Service(resolve()) as service, pytest.raises(DeniedError):
        started(service)


def test_profiles_name_endpoint_region_and_credentials(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(server, monkeypatch)
    config = tmp_path / "config"
    config.write_text(
        f"[profile there]\nregion = {REGION}\nendpoint_url = {server.endpoint}\n"
        f"aws_access_key_id = {server.key.access_key_id}\naws_secret_access_key = {server.key.secret_access_key}\n"
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with Service(resolve(profile="there")) as service:
        assert service.endpoint.url == server.endpoint
        assert service.endpoint.region == REGION
        assert service.caller_arn().startswith("arn:aws:iam::")
    with pytest.raises(UsageError, match="nowhere"):
        resolve(profile="nowhere")


def test_a_profile_that_is_named_goes_before_the_environment(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(server, monkeypatch)
    config = tmp_path / "config"
    config.write_text(
        "[profile there]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:9\n"
        "aws_access_key_id = THERE\naws_secret_access_key = x\n"
        "[profile bare]\naws_access_key_id = BARE\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    there, bare = resolve(profile="there"), resolve(profile="bare")
    assert (there.url, there.region, there.access_key().access_key_id) == ("http://127.0.0.1:9", "eu-west-3", "THERE")
    assert (bare.url, bare.region, bare.access_key().access_key_id) == (server.endpoint, REGION, "BARE")
    monkeypatch.setenv("AWS_PROFILE", "there")
    assert (resolve().url, resolve().region) == (server.endpoint, REGION)
    assert resolve(profile="there", region="eu-west-1").region == "eu-west-1"


def test_without_a_region_or_credentials_it_is_said_what_to_set(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(server, monkeypatch)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(DeniedError, match="AWS_ACCESS_KEY_ID"):
        resolve()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UsageError, match="--region"):
        resolve()
    with pytest.raises(UsageError, match="ftp://x"):
        resolve(endpoint_url="ftp://x")


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_either_variable_names_the_region(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    point_at(server, monkeypatch)
    for other in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "us-west-2")
    assert resolve().region == "us-west-2"
    assert resolve(region="eu-west-1").region == "eu-west-1"


def test_renewed_credentials_are_read_from_the_file_again(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(server, monkeypatch)
    credentials = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    credentials.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = old\n")
    endpoint = resolve()
    stale = endpoint.access_key()
    assert not endpoint.renew_credentials(stale)
    credentials.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = new\n")
    assert endpoint.renew_credentials(stale)
    assert endpoint.access_key().access_key_id == "NEW"
    assert not endpoint.renew_credentials(endpoint.access_key())
