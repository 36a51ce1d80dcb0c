"""The contract of a catalog as a suite: who implements `contract.Catalog` supplies `opener` and inherits the rest."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from threading import Lock, Thread

import pytest

from snapstone.catalog.contract.catalog import TIMED_OUT, Catalog, NotWritableError, ParentGoneError, PendingLimitError
from snapstone.catalog.contract.errors import CatalogUnavailableError, RowRefusedError
from snapstone.catalog.contract.identities import Account, SealedAccessKey
from snapstone.catalog.contract.snapshots import Deletion, PendingWrite, SnapshotState
from snapstone.core.blocks import MAX_BLOCK_COUNT, Address, Digest
from snapstone.core.ids import AccountId
from tests.suites.catalog_fixtures import CatalogFixtures, Opener
from tests.suites.catalog_rows import (
    ALICE,
    BOB,
    DEADLINE,
    FRANKFURT,
    MINUTE,
    OREGON,
    OTHER_ROOT,
    ROOT,
    STARTED,
    answer,
    name,
    pending,
    plain,
    put_in_state,
    record,
    record_many,
    state_of,
    writes,
)
from tests.suites.races import in_processes, racing, wait_for_the_others

RACED_TOKEN_COUNT = 30


class CatalogSuite(CatalogFixtures):
    """Every promise of the contract."""

    # -- accounts and keys --

    def test_the_first_candidate_becomes_the_secret(self, catalog: Catalog) -> None:
        assert catalog.secret("token", b"first") == b"first"
        assert catalog.secret("token", b"second") == b"first"

    def test_secrets_of_two_names_are_apart(self, catalog: Catalog) -> None:
        catalog.secret("token", b"first")
        assert catalog.secret("cookie", b"second") == b"second"

    def test_racing_callers_agree_on_one_secret(self, catalog: Catalog) -> None:
        secrets = racing(8, lambda number: catalog.secret("token", b"secret of %d" % number))
        assert len(set(secrets)) == 1

    def test_racing_callers_agree_on_one_first_account(self, catalog: Catalog) -> None:
        accounts = racing(8, lambda number: catalog.first_account(AccountId(f"{number:012d}")))
        assert len(set(accounts)) == 1
        assert catalog.first_account(BOB) == accounts[0]

    def test_a_candidate_that_does_not_become_the_first_account_is_not_kept(self, catalog: Catalog) -> None:
        for candidate in (ALICE, BOB, ALICE):
            assert catalog.first_account(candidate) == ALICE
        assert [account.account_id for account in catalog.accounts()] == [ALICE]

    def test_the_first_account_is_the_oldest_one_where_some_were_added(self, catalog: Catalog) -> None:
        catalog.insert_account(Account(BOB, "bob", 7))
        catalog.insert_account(Account(ALICE, "alice", 3))
        assert catalog.first_account(AccountId("333333333333")) == BOB

    def test_nothing_that_is_sealed_already_is_sealed_again(self, catalog: Catalog) -> None:
        key = SealedAccessKey("AKIA1", ALICE, None, True, 17, b"sealed key")
        catalog.secret("token", b"sealed secret")
        catalog.insert_access_key(key, 1)
        asked: list[str] = []

        def seal(_: bytes, purpose: str) -> bytes:
            asked.append(purpose)
            return b"sealed again"

        catalog.seal_plain_secrets(seal)
        assert asked == []
        assert catalog.secret("token", b"other") == b"sealed secret"
        assert catalog.sealed_access_key("AKIA1") == key

    # -- snapshots --

    def test_a_snapshot_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        child = pending(
            2,
            account_id=BOB,
            region=OREGON,
            volume_size_gib=65_536,
            parent_id=name(1),
            lineage_id=name(1),
            description='Größe: "5 €"\n\N{PACKAGE}',
            tags=(("zebra", "1"), ("Name", "disk é"), ("apple", "")),
            started_at_ms=17,
            timeout_minutes=4_320,
            deadline_at_ms=99,
            root=OTHER_ROOT,
            block_count=134_217_728,
        )
        assert catalog.insert_snapshot(child, None) is None
        assert catalog.snapshot(name(2)) == child

    def test_an_unknown_snapshot_is_none(self, catalog: Catalog) -> None:
        assert catalog.snapshot(name(1)) is None

    def test_snapshots_come_by_start_time_then_id(self, catalog: Catalog) -> None:
        for number, started_at_ms in ((3, 20), (1, 30), (4, 10), (2, 20)):
            catalog.insert_snapshot(pending(number, started_at_ms=started_at_ms), None)
        listed = catalog.snapshots(ALICE, FRANKFURT)
        assert [snapshot.snapshot_id for snapshot in listed] == [name(4), name(2), name(3), name(1)]

    def test_snapshots_of_other_accounts_and_regions_are_left_out(self, catalog: Catalog) -> None:
        mine = pending(1, tags=(("Name", "mine"),))
        catalog.insert_snapshot(mine, None)
        catalog.insert_snapshot(pending(2, account_id=BOB), None)
        catalog.insert_snapshot(pending(3, region=OREGON), None)
        assert catalog.snapshots(ALICE, FRANKFURT) == [mine]
        assert catalog.snapshots(ALICE, FRANKFURT, [name(1), name(2), name(3)]) == [mine]

    def test_snapshots_can_be_asked_for_by_id(self, catalog: Catalog) -> None:
        for number in (1, 2, 3):
            catalog.insert_snapshot(pending(number), None)
        assert catalog.snapshots(ALICE, FRANKFURT, [name(3), name(9), name(1)]) == [pending(1), pending(3)]
        assert catalog.snapshots(ALICE, FRANKFURT, []) == []

    def test_only_snapshots_being_deleted_are_left_out(self, catalog: Catalog) -> None:
        for number, state in enumerate(SnapshotState, start=1):
            put_in_state(catalog, number, state)
        listed = catalog.snapshots(ALICE, FRANKFURT)
        assert [snapshot.state for snapshot in listed] == ["pending", "sealing", "completed", "error"]

    def test_a_snapshot_id_that_exists_is_refused_and_stores_no_answer(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        with pytest.raises(RowRefusedError):
            catalog.insert_snapshot(pending(1, root=OTHER_ROOT), answer("token"))
        assert catalog.snapshot(name(1)) == pending(1)
        assert catalog.stored_answer(ALICE, FRANKFURT, "token") is None

    def test_a_tag_given_twice_is_refused_and_inserts_no_snapshot(self, catalog: Catalog) -> None:
        with pytest.raises(RowRefusedError):
            catalog.insert_snapshot(pending(1, tags=(("Name", "a"), ("Name", "b"))), answer("token"))
        assert catalog.snapshot(name(1)) is None
        assert catalog.stored_answer(ALICE, FRANKFURT, "token") is None

    # -- client tokens --

    def test_an_answer_is_stored_with_its_snapshot(self, catalog: Catalog) -> None:
        first = answer("token", '{"SnapshotId":"é"}', b"\x00\xff")
        assert catalog.insert_snapshot(pending(1), first) is None
        assert catalog.stored_answer(ALICE, FRANKFURT, "token") == first

    def test_an_unused_token_has_no_answer(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), answer("token"))
        assert catalog.stored_answer(ALICE, FRANKFURT, "Token") is None

    def test_a_token_used_before_gives_the_first_answer_and_inserts_nothing(self, catalog: Catalog) -> None:
        first = answer("token", "first")
        catalog.insert_snapshot(pending(1), first)
        assert catalog.insert_snapshot(pending(2), answer("token", "second", b"other")) == first
        assert catalog.snapshot(name(2)) is None
        assert catalog.stored_answer(ALICE, FRANKFURT, "token") == first

    def test_a_token_is_one_accounts_in_one_region(self, catalog: Catalog) -> None:
        assert catalog.insert_snapshot(pending(1), answer("token", "1")) is None
        assert catalog.insert_snapshot(pending(2, account_id=BOB), answer("token", "2")) is None
        assert catalog.insert_snapshot(pending(3, region=OREGON), answer("token", "3")) is None
        assert catalog.stored_answer(BOB, FRANKFURT, "token") == answer("token", "2")
        assert catalog.stored_answer(ALICE, OREGON, "token") == answer("token", "3")

    def test_snapshots_without_a_token_are_all_inserted(self, catalog: Catalog) -> None:
        assert catalog.insert_snapshot(pending(1), None) is None
        assert catalog.insert_snapshot(pending(2), None) is None
        assert len(catalog.snapshots(ALICE, FRANKFURT)) == 2

    def test_racing_threads_with_one_token_make_one_snapshot(self, catalog: Catalog) -> None:
        outcomes = racing(8, lambda number: catalog.insert_snapshot(pending(number), answer("token", str(number))))
        [winner] = catalog.snapshots(ALICE, FRANKFURT)
        assert outcomes.count(None) == 1
        assert outcomes[int(winner.snapshot_id[5:], 16)] is None
        assert {stored.answer for stored in outcomes if stored} == {str(int(winner.snapshot_id[5:], 16))}

    def test_racing_threads_insert_as_many_as_may_be_pending(self, catalog: Catalog) -> None:
        def insert(number: int) -> bool:
            try:
                catalog.insert_snapshot(pending(number), None, 3)
            except PendingLimitError:
                return False
            return True

        assert sum(racing(8, insert)) == 3
        assert len(catalog.snapshots(ALICE, FRANKFURT)) == 3
        assert catalog.insert_snapshot(pending(9, account_id=BOB), None, 1) is None
        assert catalog.insert_snapshot(pending(10, deadline_at_ms=2 * DEADLINE), None, 1) is None

    def test_racing_processes_with_one_token_make_one_snapshot(self, catalog: Catalog, opener: Opener) -> None:
        winners = in_processes(3, _race_for_tokens, opener)
        assert sorted(token for won in winners for token in won) == list(range(RACED_TOKEN_COUNT))
        assert len(catalog.snapshots(ALICE, FRANKFURT)) == RACED_TOKEN_COUNT

    # -- parents --

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.COMPLETED])
    def test_a_parent_that_is_not_completed_is_gone(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        with pytest.raises(ParentGoneError):
            catalog.insert_snapshot(pending(2, parent_id=name(1)), answer("token"))
        assert catalog.snapshot(name(2)) is None
        assert catalog.stored_answer(ALICE, FRANKFURT, "token") is None

    def test_a_parent_that_never_was_is_gone(self, catalog: Catalog) -> None:
        with pytest.raises(ParentGoneError):
            catalog.insert_snapshot(pending(2, parent_id=name(1)), None)

    def test_a_replay_gets_its_answer_though_the_parent_is_deleted(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        child = pending(2, parent_id=name(1))
        catalog.insert_snapshot(child, answer("token", "first"))
        catalog.begin_delete(name(1), STARTED, STARTED)
        assert catalog.insert_snapshot(replace(child, snapshot_id=name(3)), answer("token")) == answer("token", "first")

    # -- writes --

    def test_writes_come_back_in_index_order(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        for block_index in (7, 0, MAX_BLOCK_COUNT - 1, 256, 3):
            record(catalog, 1, plain(block_index, str(block_index)))
        assert writes(catalog) == [plain(i, str(i)) for i in (0, 3, 7, 256, 134_217_727)]

    def test_an_encrypted_write_keeps_both_digest_and_address(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        encrypted = PendingWrite(5, Address(b"\xaa" * 32), Digest(b"\xbb" * 32))
        record(catalog, 1, encrypted)
        assert writes(catalog) == [encrypted]

    def test_the_last_write_of_an_index_wins(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        record(catalog, 1, PendingWrite(5, Address(b"\xaa" * 32), Digest(b"\xbb" * 32)))
        record(catalog, 1, plain(5, "last"))
        assert writes(catalog) == [plain(5, "last")]

    def test_each_snapshot_has_its_own_writes(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        catalog.insert_snapshot(pending(2), None)
        record(catalog, 1, plain(0, "one"))
        record(catalog, 2, plain(0, "two"))
        assert writes(catalog, 1) == [plain(0, "one")]
        assert writes(catalog, 2) == [plain(0, "two")]

    def test_a_snapshot_without_writes_has_none(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        assert writes(catalog, 1) == []
        assert writes(catalog, 2) == []

    def test_racing_writes_are_all_there(self, catalog: Catalog) -> None:
        for number in range(4):
            catalog.insert_snapshot(pending(number), None)
        racing(16, lambda thread: record_many(catalog, thread % 4, range(thread, 800, 16)))
        for number in range(4):
            expected = sorted(thread + 16 * i for thread in range(number, 16, 4) for i in range(50))
            assert [write.block_index for write in writes(catalog, number)] == expected

    def test_a_refused_write_fails_alone_among_racing_ones(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(0), None)

        def write(thread: int) -> list[bool]:
            """Whether each of ten writes was taken; odd threads write to a snapshot that is not there."""
            return [_taken(catalog, thread % 2, thread * 10 + i) for i in range(10)]

        outcomes = racing(8, write)
        assert outcomes == [[True] * 10, [False] * 10] * 4
        assert [write.block_index for write in writes(catalog, 0)] == [
            thread * 10 + i for thread in (0, 2, 4, 6) for i in range(10)
        ]

    def test_a_write_extends_the_deadline_from_now(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1, timeout_minutes=10), None)
        record(catalog, 1, plain(0), now=5_000_000)
        assert catalog.snapshot(name(1)) == pending(1, timeout_minutes=10, deadline_at_ms=5_600_000)

    def test_a_write_never_shortens_the_deadline(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        record(catalog, 1, plain(0), now=STARTED - 1)
        assert catalog.snapshot(name(1)) == pending(1)

    def test_the_largest_progress_stays(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        for progress in (30, 100, 0):
            catalog.record_write(name(1), plain(0), progress, STARTED, STARTED)
        assert catalog.snapshot(name(1)) == pending(1, progress=100)

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.PENDING])
    def test_a_write_to_a_snapshot_that_is_not_pending_changes_nothing(
        self, catalog: Catalog, state: SnapshotState
    ) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1)), writes(catalog)
        with pytest.raises(NotWritableError) as refused:
            catalog.record_write(name(1), plain(1), 50, STARTED, STARTED + 1)
        assert refused.value.state is state
        assert (catalog.snapshot(name(1)), writes(catalog)) == before

    def test_a_write_to_no_snapshot_is_refused_without_a_state(self, catalog: Catalog) -> None:
        with pytest.raises(NotWritableError) as refused:
            record(catalog, 1, plain(0))
        assert refused.value.state is None

    def test_a_write_begun_at_the_deadline_may_finish_after_it(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        record(catalog, 1, plain(0), begun=DEADLINE, now=DEADLINE + 30_000)
        assert writes(catalog) == [plain(0)]
        assert catalog.snapshot(name(1)) == pending(1, deadline_at_ms=DEADLINE + 30_000 + 60 * MINUTE)

    def test_a_write_begun_after_the_deadline_finds_the_snapshot_in_error(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        with pytest.raises(NotWritableError) as refused:
            record(catalog, 1, plain(0), begun=DEADLINE + 1, now=DEADLINE + 1)
        assert refused.value.state is SnapshotState.ERROR
        assert writes(catalog) == []
        assert catalog.snapshot(name(1)) == pending(1)

    def test_a_write_begun_in_time_is_refused_once_the_snapshot_has_timed_out(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        catalog.expire_pending(DEADLINE + 1, TIMED_OUT)
        with pytest.raises(NotWritableError) as refused:
            record(catalog, 1, plain(0), begun=DEADLINE, now=DEADLINE + 2)
        assert refused.value.state is SnapshotState.ERROR

    def test_pending_writes_are_as_of_one_moment_and_hinder_no_writer(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        racing(16, lambda thread: record_many(catalog, 1, range(thread, 3_200, 16)))
        stream = catalog.pending_writes(name(1))
        first = next(stream)
        record(catalog, 1, plain(3_199, "later"))
        record(catalog, 1, plain(9_999))
        assert [first, *stream] == [plain(i) for i in range(3_200)]
        assert writes(catalog)[-2:] == [plain(3_199, "later"), plain(9_999)]

    def test_many_streams_at_once_leave_room_for_other_calls(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        record(catalog, 1, plain(0))
        streams = [catalog.pending_writes(name(1)) for _ in range(40)]
        assert [next(stream) for stream in streams] == [plain(0)] * 40
        record(catalog, 1, plain(1))
        assert catalog.snapshot(name(1)) is not None

    # -- the end of writing --

    def test_every_acknowledged_write_is_sealed_and_none_comes_later(self, catalog: Catalog) -> None:
        for number in range(5):
            catalog.insert_snapshot(pending(number), None)
            with ThreadPoolExecutor(8) as threads:
                writers = [threads.submit(_write_until_refused, catalog, number, first) for first in range(8)]
                _wait_for_writes(catalog, number, 50)
                catalog.begin_seal(name(number), 0, None, STARTED, STARTED)
                sealed = writes(catalog, number)
            acknowledged = sorted(block_index for writer in writers for block_index in writer.result())
            assert [write.block_index for write in sealed] == acknowledged
            assert writes(catalog, number) == sealed

    def test_every_write_acknowledged_by_another_process_is_sealed(self, catalog: Catalog, opener: Opener) -> None:
        catalog.insert_snapshot(pending(1), None)
        sealed: list[PendingWrite] = []

        def seal() -> None:
            _wait_for_writes(catalog, 1, 50)
            catalog.begin_seal(name(1), 0, None, STARTED, STARTED)
            sealed.extend(writes(catalog))

        acknowledged = in_processes(2, _write_until_sealed, opener, meanwhile=seal)
        assert [write.block_index for write in sealed] == sorted(i for process in acknowledged for i in process)
        assert writes(catalog) == sealed

    def test_writes_acknowledged_before_kill_9_are_there(self, catalog: Catalog, opener: Opener) -> None:
        catalog.insert_snapshot(pending(1), None)
        processes = multiprocessing.get_context("spawn")
        receiver, sender = processes.Pipe(duplex=False)
        writer = processes.Process(target=_write_and_tell, args=(opener, sender))
        writer.start()
        sender.close()
        acknowledged = [receiver.recv() for _ in range(500)]
        writer.kill()
        writer.join()
        try:
            while True:
                acknowledged.append(receiver.recv())
        except EOFError:
            receiver.close()
        survived = {write.block_index: write for write in writes(catalog)}
        assert {i: survived.get(i) for i in acknowledged} == {i: plain(i, str(i)) for i in acknowledged}
        record(catalog, 1, plain(9_999_999))

    # -- sealing --

    def test_begin_seal_returns_the_row_as_it_is_then(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.PENDING)
        checksum = Digest(b"\xcc" * 32)
        sealing = catalog.begin_seal(name(1), 1, checksum, STARTED + 7, STARTED + 7)
        assert sealing == pending(
            1,
            state=SnapshotState.SEALING,
            expected_count=1,
            expected_checksum=checksum,
            seal_begun_at_ms=STARTED + 7,
        )
        assert catalog.snapshot(name(1)) == sealing
        assert writes(catalog) == [plain(0)]

    def test_begin_seal_of_no_snapshot_is_none(self, catalog: Catalog) -> None:
        assert catalog.begin_seal(name(1), 0, None, STARTED, STARTED) is None

    def test_a_snapshot_can_be_sealed_up_to_its_deadline(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        sealing = catalog.begin_seal(name(1), 0, None, DEADLINE, DEADLINE)
        assert sealing is not None
        assert sealing.state is SnapshotState.SEALING

    def test_a_seal_past_the_deadline_finds_the_snapshot_timed_out(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.PENDING)
        timed_out = catalog.begin_seal(name(1), 1, None, DEADLINE + 1, DEADLINE + 1)
        assert timed_out == pending(1, state=SnapshotState.ERROR, state_message="Snapshot timed out")
        assert catalog.snapshot(name(1)) == timed_out
        assert writes(catalog) == []

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.PENDING])
    def test_begin_seal_of_a_snapshot_that_is_not_pending_changes_nothing(
        self, catalog: Catalog, state: SnapshotState
    ) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1))
        assert catalog.begin_seal(name(1), 99, Digest(b"\xcc" * 32), DEADLINE + 1, DEADLINE + 1) == before
        assert catalog.snapshot(name(1)) == before

    def test_a_lease_has_one_holder_among_racing_claimers(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        assert racing(8, lambda _: catalog.claim_seal(name(1), 100, 200)).count(True) == 1

    def test_a_lease_is_free_again_when_it_has_run_out(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        assert catalog.claim_seal(name(1), 100, 200)
        assert not catalog.claim_seal(name(1), 199, 300)
        assert catalog.claim_seal(name(1), 200, 300)
        assert not catalog.claim_seal(name(1), 299, 400)

    def test_a_renewed_lease_is_held_longer(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.claim_seal(name(1), 100, 200)
        catalog.renew_seal(name(1), 300)
        assert not catalog.claim_seal(name(1), 299, 400)
        assert catalog.claim_seal(name(1), 300, 400)

    def test_a_renewal_never_shortens_a_lease(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.claim_seal(name(1), 100, 300)
        catalog.renew_seal(name(1), 200)
        assert not catalog.claim_seal(name(1), 250, 400)

    def test_a_lease_that_nobody_took_cannot_be_renewed(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.renew_seal(name(1), 300)
        assert catalog.claim_seal(name(1), 100, 200)

    def test_released_seals_are_due_at_once(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.claim_seal(name(1), 100, 200)
        catalog.release_leases()
        assert catalog.seals_due(101) == [name(1)]
        assert catalog.claim_seal(name(1), 101, 201)

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.SEALING])
    def test_only_a_sealing_snapshot_can_be_claimed(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        assert not catalog.claim_seal(name(1), 100, 200)
        assert not catalog.claim_seal(name(2), 100, 200)

    def test_seals_are_due_while_nobody_holds_their_lease(self, catalog: Catalog) -> None:
        for number, state in enumerate(SnapshotState, start=10):
            put_in_state(catalog, number, state)
        for number, begun_at_ms in ((1, 30), (2, 20), (3, 10)):
            catalog.insert_snapshot(pending(number), None)
            catalog.begin_seal(name(number), 0, None, begun_at_ms, begun_at_ms)
        catalog.claim_seal(name(2), 100, 200)
        assert catalog.seals_due(199) == [name(3), name(1), name(11)]
        assert catalog.seals_due(200) == [name(3), name(2), name(1), name(11)]

    def test_a_finished_seal_completes_the_snapshot_and_drops_its_writes(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.claim_seal(name(1), 100, 200)
        assert catalog.finish_seal(name(1), OTHER_ROOT, 1, STARTED + 9)
        assert catalog.snapshot(name(1)) == pending(
            1,
            state=SnapshotState.COMPLETED,
            completed_at_ms=STARTED + 9,
            root=OTHER_ROOT,
            block_count=1,
            expected_count=1,
            seal_begun_at_ms=STARTED,
        )
        assert writes(catalog) == []
        assert catalog.seals_due(999) == []

    def test_a_failed_seal_turns_the_snapshot_to_error_and_drops_its_writes(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        catalog.claim_seal(name(1), 100, 200)
        assert catalog.fail_seal(name(1), "Changed blocks count mismatch for snapshot")
        assert catalog.snapshot(name(1)) == pending(
            1,
            state=SnapshotState.ERROR,
            state_message="Changed blocks count mismatch for snapshot",
            expected_count=1,
            seal_begun_at_ms=STARTED,
        )
        assert writes(catalog) == []

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.SEALING])
    def test_a_seal_that_is_not_under_way_neither_finishes_nor_fails(
        self, catalog: Catalog, state: SnapshotState
    ) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1)), writes(catalog)
        assert not catalog.finish_seal(name(1), ROOT, 7, STARTED + 9)
        assert not catalog.fail_seal(name(1), "too late")
        assert (catalog.snapshot(name(1)), writes(catalog)) == before

    def test_the_seal_of_no_snapshot_neither_finishes_nor_fails(self, catalog: Catalog) -> None:
        assert not catalog.finish_seal(name(1), ROOT, 0, STARTED)
        assert not catalog.fail_seal(name(1), "gone")

    def test_of_racing_sealers_one_finishes(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.SEALING)
        assert racing(8, lambda _: catalog.finish_seal(name(1), OTHER_ROOT, 1, STARTED)).count(True) == 1

    # -- time-out and deletion --

    def test_pending_snapshots_past_their_deadline_expire(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1, deadline_at_ms=DEADLINE), None)
        catalog.insert_snapshot(pending(2, deadline_at_ms=DEADLINE - 1), None)
        record(catalog, 2, plain(0), begun=0, now=0)
        assert catalog.expire_pending(DEADLINE, "Snapshot timed out") == [name(2)]
        assert catalog.snapshot(name(1)) == pending(1)
        assert catalog.snapshot(name(2)) == pending(
            2, deadline_at_ms=DEADLINE - 1, state=SnapshotState.ERROR, state_message="Snapshot timed out"
        )
        assert writes(catalog, 2) == []
        assert catalog.expire_pending(DEADLINE, "Snapshot timed out") == []

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.PENDING])
    def test_only_pending_snapshots_expire(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1))
        assert catalog.expire_pending(DEADLINE * 9, TIMED_OUT) == []
        assert catalog.snapshot(name(1)) == before

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.DELETING])
    def test_a_snapshot_of_any_state_can_be_deleted(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        catalog.claim_seal(name(1), 100, 200)
        assert catalog.begin_delete(name(1), STARTED, STARTED)
        assert state_of(catalog) is SnapshotState.DELETING
        assert writes(catalog) == []
        assert catalog.deletions_due() == [name(1)]
        catalog.finish_delete(name(1), 500)
        assert catalog.snapshot(name(1)) is None
        assert catalog.deletions_due() == []

    def test_what_is_deleted_cannot_be_deleted_again(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.DELETING)
        assert not catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        assert not catalog.begin_delete(name(1), STARTED, STARTED)

    def test_of_racing_deletions_one_begins(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        assert racing(8, lambda _: catalog.begin_delete(name(1), STARTED, STARTED)).count(Deletion.BEGUN) == 1

    def test_deletions_due_names_those_begun_and_not_finished(self, catalog: Catalog) -> None:
        for number, state in enumerate(SnapshotState, start=1):
            put_in_state(catalog, number, state)
        put_in_state(catalog, 6, SnapshotState.DELETING)
        catalog.finish_delete(name(6), 500)
        assert catalog.deletions_due() == [name(5)]

    @pytest.mark.parametrize("state", [state for state in SnapshotState if state is not SnapshotState.DELETING])
    def test_a_deletion_that_was_not_begun_cannot_be_finished(self, catalog: Catalog, state: SnapshotState) -> None:
        put_in_state(catalog, 1, state)
        before = catalog.snapshot(name(1))
        catalog.finish_delete(name(1), 500)
        assert catalog.snapshot(name(1)) == before

    def test_deleting_a_parent_leaves_its_child_as_it_was(self, catalog: Catalog) -> None:
        put_in_state(catalog, 1, SnapshotState.COMPLETED)
        child = pending(2, parent_id=name(1), lineage_id=name(1), root=OTHER_ROOT, block_count=1)
        catalog.insert_snapshot(child, None)
        catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        assert catalog.snapshot(name(2)) == child

    def test_a_deleted_snapshots_answer_stays_until_its_time(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), answer("token", "first"))
        catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        assert catalog.drop_expired_answers(500) == 0
        assert catalog.insert_snapshot(pending(2), answer("token")) == answer("token", "first")
        assert catalog.drop_expired_answers(501) == 1
        assert catalog.stored_answer(ALICE, FRANKFURT, "token") is None
        assert catalog.insert_snapshot(pending(2), answer("token", "second")) is None

    def test_finishing_a_deletion_again_does_not_keep_the_answer_longer(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), answer("token"))
        catalog.begin_delete(name(1), STARTED, STARTED)
        catalog.finish_delete(name(1), 500)
        catalog.finish_delete(name(1), 900)
        assert catalog.drop_expired_answers(501) == 1

    def test_answers_of_snapshots_that_are_there_never_expire(self, catalog: Catalog) -> None:
        catalog.insert_snapshot(pending(1), answer("one"))
        catalog.insert_snapshot(pending(2), answer("two"))
        catalog.begin_delete(name(2), STARTED, STARTED)
        assert catalog.drop_expired_answers(10**15) == 0
        assert catalog.stored_answer(ALICE, FRANKFURT, "two") == answer("two")

    # -- the catalog itself --

    def test_a_catalog_opened_anew_holds_everything(self, catalog: Catalog, reopen: Callable[[], Catalog]) -> None:
        key = SealedAccessKey("AKIA1", ALICE, None, True, 17, b"sealed")
        catalog.secret("token", b"secret")
        catalog.first_account(ALICE)
        catalog.insert_access_key(key, 1)
        catalog.insert_snapshot(pending(1, tags=(("Name", "disk"),)), answer("token"))
        catalog.record_write(name(1), plain(4), 20, STARTED, STARTED + 1)
        put_in_state(catalog, 2, SnapshotState.SEALING)
        catalog.claim_seal(name(2), 100, 200)
        put_in_state(catalog, 3, SnapshotState.DELETING)
        again = reopen()
        assert again.secret("token", b"other") == b"secret"
        assert again.first_account(BOB) == ALICE
        assert again.sealed_access_key("AKIA1") == key
        assert again.snapshot(name(1)) == pending(1, tags=(("Name", "disk"),), progress=20, deadline_at_ms=DEADLINE + 1)
        assert again.stored_answer(ALICE, FRANKFURT, "token") == answer("token")
        assert writes(again, 1) == [plain(4)]
        assert again.seals_due(199) == []
        assert again.seals_due(200) == [name(2)]
        assert again.deletions_due() == [name(3)]

    def test_two_openings_see_each_others_changes_at_once(self, catalog: Catalog, opener: Opener) -> None:
        other = opener()
        catalog.insert_snapshot(pending(1), None)
        assert other.snapshot(name(1)) == pending(1)
        record(other, 1, plain(0))
        assert writes(catalog) == [plain(0)]
        other.begin_seal(name(1), 1, None, STARTED, STARTED)
        with pytest.raises(NotWritableError):
            record(catalog, 1, plain(1))
        other.close()

    def test_a_remembered_snapshot_is_as_others_have_just_left_it(self, catalog: Catalog, other: Catalog) -> None:
        def remembered(number: int = 1) -> SnapshotState | None:
            row = catalog.remembered_snapshot(name(number))
            return None if row is None else row.state

        assert remembered() is None
        for number in (1, 2, 3):
            other.insert_snapshot(pending(number), None)
            assert remembered(number) is SnapshotState.PENDING
        other.begin_seal(name(1), 0, None, STARTED, STARTED)
        assert remembered() is SnapshotState.SEALING
        assert other.finish_seal(name(1), OTHER_ROOT, 0, STARTED)
        assert catalog.remembered_snapshot(name(1)) == other.snapshot(name(1))
        assert remembered() is SnapshotState.COMPLETED
        other.begin_delete(name(1), STARTED, STARTED)
        assert remembered() is SnapshotState.DELETING
        other.finish_delete(name(1), STARTED)
        assert remembered() is None
        other.begin_seal(name(2), 0, None, STARTED, STARTED)
        assert remembered(2) is SnapshotState.SEALING
        assert other.fail_seal(name(2), "why")
        assert remembered(2) is SnapshotState.ERROR
        assert other.expire_pending(DEADLINE + 1, TIMED_OUT) == [name(3)]
        assert remembered(3) is SnapshotState.ERROR

    def test_an_open_catalog_passes_its_check(self, catalog: Catalog) -> None:
        catalog.check()

    def test_an_open_catalog_is_in_place(self, catalog: Catalog, other: Catalog) -> None:
        catalog.insert_snapshot(pending(1), None)
        assert catalog.is_in_place()
        assert other.is_in_place()

    def test_a_whole_catalog_has_no_faults(self, catalog: Catalog) -> None:
        for number, state in enumerate(SnapshotState, start=1):
            put_in_state(catalog, number, state)
        assert list(catalog.structure()) == []
        assert list(catalog.integrity()) == []

    def test_a_closed_catalog_refuses_every_call(self, catalog: Catalog, reopen: Callable[[], Catalog]) -> None:
        catalog.insert_snapshot(pending(1), None)
        catalog.close()
        calls: list[Callable[[], object]] = [
            catalog.check,
            partial(catalog.snapshot, name(1)),
            partial(catalog.secret, "token", b"secret"),
            partial(record, catalog, 1, plain(0)),
            partial(writes, catalog),
        ]
        for call in calls:
            with pytest.raises(CatalogUnavailableError, match="closed"):
                call()
        assert writes(reopen()) == []

    def test_closing_twice_is_harmless(self, catalog: Catalog, reopen: Callable[[], Catalog]) -> None:
        catalog.insert_snapshot(pending(1), None)
        catalog.close()
        catalog.close()
        assert reopen().snapshot(name(1)) == pending(1)


# -- what other threads and processes run --


def _race_for_tokens(opener: Opener, process: int) -> list[int]:
    """Start a snapshot for each of the tokens; returns for which of them this process made one."""
    catalog = opener()
    wait_for_the_others()
    won = []
    for token in range(RACED_TOKEN_COUNT):
        snapshot = pending(token * 10 + process)
        if catalog.insert_snapshot(snapshot, answer(str(token), snapshot.snapshot_id)) is None:
            won.append(token)
    catalog.close()
    return won


def _write_until_sealed(opener: Opener, process: int) -> list[int]:
    """Write to the first snapshot until a write is refused; returns the indexes acknowledged."""
    catalog = opener()
    wait_for_the_others()
    acknowledged = _write_until_refused(catalog, 1, process)
    catalog.close()
    return acknowledged


def _write_until_refused(catalog: Catalog, number: int, first: int) -> list[int]:
    acknowledged = []
    for block_index in range(first, MAX_BLOCK_COUNT, 8):
        try:
            record(catalog, number, plain(block_index))
        except NotWritableError:
            break
        acknowledged.append(block_index)
    return acknowledged


def _wait_for_writes(catalog: Catalog, number: int, count: int) -> None:
    while len(writes(catalog, number)) < count:
        pass


def _taken(catalog: Catalog, number: int, block_index: int) -> bool:
    try:
        record(catalog, number, plain(block_index))
    except NotWritableError:
        return False
    return True


def _write_and_tell(opener: Opener, told: Connection) -> None:
    """Write from eight threads until killed, and tell each index once its write is acknowledged."""
    catalog = opener()
    telling = Lock()

    def write(first: int) -> None:
        for block_index in range(first, MAX_BLOCK_COUNT, 8):
            record(catalog, 1, plain(block_index, str(block_index)))
            with telling:
                told.send(block_index)

    for first in range(8):
        Thread(target=write, args=(first,)).start()
