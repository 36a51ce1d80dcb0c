"""What every object store must do: the contract of storage.contract.ObjectStore as tests that each implementation runs.

An implementation's test class derives from `ObjectStoreSuite` and supplies the fixtures at its top.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import count
from multiprocessing.connection import Connection
from threading import Barrier, Lock, Thread
from typing import Final, TypeVar

import pytest

from snapstone.core.blocks import BLOCK_SIZE, Address, Digest
from snapstone.core.data_key import DataKey, Domain
from snapstone.core.errors import DamageError, KeyHiddenError, OverloadedError
from snapstone.storage.contract import Encryption, ObjectEntry, ObjectKind, ObjectStore

THREADS: Final = 8

SUITE_NOW_MS: Final = 1_790_337_440_328
"""What the clock of every store under test says."""

SUITE_BUFFER_COUNT: Final = 3
"""Block buffers of `small_store`."""

SUITE_KEY: Final = DataKey(b"data key 1......", bytes(range(32)))

SUITE_DOMAIN: Final = Domain(b"a" * 32)

Outcome = TypeVar("Outcome")

StoreOpener = Callable[[], ObjectStore]
"""Opens the test's store, repeatedly the same one; can be pickled, so that other processes open it."""


def suite_data_key(data_key_id: bytes) -> DataKey:
    """How every store under test finds data keys: there is one."""
    if data_key_id != SUITE_KEY.data_key_id:
        raise KeyHiddenError
    return SUITE_KEY


def address_of(content: bytes) -> Address:
    """SHA-256 of some bytes, as an address."""
    return Address(sha256(content).digest())


def numbered_block(number: int) -> bytes:
    """A block of its own for each number."""
    return number.to_bytes(8, "big") * (BLOCK_SIZE // 8)


def numbered_page(number: int) -> bytes:
    """An odd-sized small object of its own for each number."""
    return number.to_bytes(8, "big") * 13 + b"."


def put_block(store: ObjectStore, content: bytes) -> bool:
    """Put one block under its digest, as the service does."""
    buffer = store.borrow_block_buffer()
    try:
        buffer.payload[:] = content
        return store.put_block(address_of(content), buffer)
    finally:
        buffer.release()


def put_encrypted(store: ObjectStore, content: bytes, key: DataKey = SUITE_KEY) -> bool:
    """Put one encrypted block under its address in the suite's domain, as the service does."""
    digest = Digest(address_of(content))
    buffer = store.borrow_block_buffer()
    try:
        buffer.payload[:] = content
        return store.put_block(SUITE_DOMAIN.address_of(digest), buffer, Encryption(key, digest))
    finally:
        buffer.release()


def encrypted_address_of(content: bytes) -> Address:
    """Where `put_encrypted` puts a block."""
    return SUITE_DOMAIN.address_of(Digest(address_of(content)))


def get_block(store: ObjectStore, address: Address) -> bytes:
    """Read one block, as the service does."""
    buffer = store.get_block(address)
    try:
        return bytes(buffer.payload)
    finally:
        buffer.release()


def put_pages(store: ObjectStore, contents: Sequence[bytes]) -> int:
    """Put small objects under their digests."""
    return store.put_many(ObjectKind.PAGE, [(address_of(content), content) for content in contents])


def at_once(work: Callable[[int], Outcome]) -> list[Outcome]:
    """What `work` returns for the numbers of THREADS threads that begin it together."""
    barrier = Barrier(THREADS)

    def run(number: int) -> Outcome:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(run, range(THREADS)))


class ObjectStoreSuite:
    """The contract. Fixtures: `store`; `reopen`, which closes `store` and opens it anew; `small_store`; `opener`.

    Every store finds data keys by `suite_data_key`.
    """

    @pytest.fixture
    def store(self) -> ObjectStore:
        """An empty store."""
        pytest.fail("each implementation supplies this")

    @pytest.fixture
    def reopen(self) -> Callable[[], ObjectStore]:
        """Closes the store that was opened last and opens it anew, as a restart does."""
        pytest.fail("each implementation supplies this")

    @pytest.fixture
    def small_store(self) -> ObjectStore:
        """An empty store with SUITE_BUFFER_COUNT buffers, whose borrowers soon lose patience."""
        pytest.fail("each implementation supplies this")

    @pytest.fixture
    def opener(self) -> StoreOpener:
        """Opens the store of `store` again, beside those that are open."""
        pytest.fail("each implementation supplies this")

    @pytest.fixture
    def other(self, opener: StoreOpener, store: ObjectStore) -> Iterator[ObjectStore]:
        """The same store, opened a second time beside the first, as another process has it."""
        other = opener()
        yield other
        other.close()

    # -- put and get --

    def test_a_block_is_read_back_as_it_was_written(self, store: ObjectStore) -> None:
        content = numbered_block(1)
        assert put_block(store, content)
        assert get_block(store, address_of(content)) == content
        assert store.get(ObjectKind.BLOCK, address_of(content)) == content

    def test_the_first_put_of_a_block_writes_it_and_the_next_one_finds_it(self, store: ObjectStore) -> None:
        assert put_block(store, numbered_block(1)) is True
        assert put_block(store, numbered_block(1)) is False
        assert len(list(store.walk())) == 1

    def test_equal_blocks_put_by_many_threads_at_once_are_stored_once(self, store: ObjectStore) -> None:
        for number in range(5):
            content = numbered_block(number)
            written = at_once(lambda _, content=content: put_block(store, content))  # type: ignore[misc]
            assert sorted(written) == [False] * (THREADS - 1) + [True]
            assert get_block(store, address_of(content)) == content
        assert len(list(store.walk())) == 5

    def test_different_blocks_put_by_many_threads_at_once_are_all_stored(self, store: ObjectStore) -> None:
        def put_some(thread: int) -> list[bool]:
            return [put_block(store, numbered_block(thread * 10 + step)) for step in range(10)]

        assert at_once(put_some) == [[True] * 10] * THREADS
        for number in range(THREADS * 10):
            assert get_block(store, address_of(numbered_block(number))) == numbered_block(number)

    def test_blocks_are_read_right_while_their_neighbours_are_written(self, store: ObjectStore) -> None:
        def put_and_read(thread: int) -> bool:
            for step in range(20):
                content = numbered_block(thread * 20 + step)
                put_block(store, content)
                if get_block(store, address_of(content)) != content:
                    return False
            return True

        assert all(at_once(put_and_read))

    def test_small_objects_are_read_back_as_they_were_written(self, store: ObjectStore) -> None:
        contents = [b"", b"x", bytes(64), numbered_page(1), bytes(4_095) + b"x", bytes(4_096) + b"x", bytes(16_448)]
        assert put_pages(store, contents) == len(contents)
        for content in contents:
            assert store.get(ObjectKind.PAGE, address_of(content)) == content

    def test_put_many_counts_what_was_new(self, store: ObjectStore) -> None:
        assert put_pages(store, [numbered_page(1), numbered_page(2)]) == 2
        assert put_pages(store, [numbered_page(2), numbered_page(3)]) == 1
        assert put_pages(store, [numbered_page(1), numbered_page(2), numbered_page(3)]) == 0
        assert put_pages(store, []) == 0
        assert len(list(store.walk())) == 3

    def test_put_many_stores_an_object_given_twice_once(self, store: ObjectStore) -> None:
        assert put_pages(store, [numbered_page(1), numbered_page(2), numbered_page(1)]) == 2
        many = [numbered_page(number % 700) for number in range(3, 1_403)]
        assert put_pages(store, many) == 700 - 2
        assert len(list(store.walk())) == 700

    def test_put_many_of_the_same_objects_by_many_threads_stores_each_once(self, store: ObjectStore) -> None:
        contents = [numbered_page(number) for number in range(40)]
        assert sum(at_once(lambda _: put_pages(store, contents))) == 40
        assert len(list(store.walk())) == 40
        assert all(store.get(ObjectKind.PAGE, address_of(content)) == content for content in contents)

    # -- missing --

    def test_what_was_never_stored_is_damage_to_a_reader(self, store: ObjectStore) -> None:
        missing = address_of(b"never stored")
        assert not store.has(missing)
        for read in (
            lambda: store.get(ObjectKind.PAGE, missing),
            lambda: store.get(ObjectKind.BLOCK, missing),
            lambda: store.get_block(missing),
        ):
            with pytest.raises(DamageError) as raised:
                read()
            assert raised.value.address == missing.hex()

    def test_an_object_is_not_read_as_another_kind_than_it_was_stored_as(self, store: ObjectStore) -> None:
        put_pages(store, [numbered_page(1)])
        with pytest.raises(DamageError):
            store.get(ObjectKind.MANIFEST, address_of(numbered_page(1)))
        with pytest.raises(DamageError):
            store.get_block(address_of(numbered_page(1)))

    # -- encrypted objects --

    def test_an_encrypted_block_is_read_back_with_its_digest(self, store: ObjectStore, other: ObjectStore) -> None:
        content = numbered_block(1)
        assert put_encrypted(store, content) is True
        for reader in (store, other):
            buffer = reader.get_block(encrypted_address_of(content))
            assert bytes(buffer.payload) == content
            assert buffer.digest == Digest(address_of(content))
            buffer.release()
            assert reader.get(ObjectKind.BLOCK, encrypted_address_of(content)) == content

    def test_a_plain_blocks_digest_is_its_address(self, store: ObjectStore) -> None:
        put_block(store, numbered_block(1))
        buffer = store.get_block(address_of(numbered_block(1)))
        assert buffer.digest == Digest(address_of(numbered_block(1)))
        buffer.release()

    def test_an_encrypted_block_is_written_once(self, store: ObjectStore) -> None:
        assert put_encrypted(store, numbered_block(1)) is True
        assert put_encrypted(store, numbered_block(1)) is False
        assert put_block(store, numbered_block(1)) is True
        assert len(list(store.walk())) == 2

    def test_encrypted_small_objects_are_read_back_as_they_were_written(
        self, store: ObjectStore, reopen: Callable[[], ObjectStore]
    ) -> None:
        objects = [(Address(bytes([number]) * 32), numbered_page(number)) for number in range(1, 40)]
        assert store.put_many(ObjectKind.PAGE, objects, SUITE_KEY) == 39
        assert store.put_many(ObjectKind.PAGE, objects[:2], SUITE_KEY) == 0
        pages = [page for _, page in objects]
        assert [store.get(ObjectKind.PAGE, address) for address, _ in objects] == pages
        reopened = reopen()
        assert [reopened.get(ObjectKind.PAGE, address) for address, _ in objects] == pages

    def test_without_its_key_an_object_is_there_and_hidden_and_no_buffer_is_lost(
        self, small_store: ObjectStore
    ) -> None:
        stranger = DataKey(b"data key 2......", bytes(32))
        put_encrypted(small_store, numbered_block(1), stranger)
        small_store.put_many(ObjectKind.PAGE, [(address_of(b"page"), b"page")], stranger)
        for _ in range(SUITE_BUFFER_COUNT + 1):
            with pytest.raises(KeyHiddenError):
                small_store.get_block(encrypted_address_of(numbered_block(1)))
        with pytest.raises(KeyHiddenError):
            small_store.get(ObjectKind.PAGE, address_of(b"page"))
        assert small_store.has(encrypted_address_of(numbered_block(1)))

    def test_what_another_key_of_the_same_id_encrypted_is_damage(self, store: ObjectStore) -> None:
        impostor = DataKey(SUITE_KEY.data_key_id, bytes(32))
        put_encrypted(store, numbered_block(1), impostor)
        store.put_many(ObjectKind.PAGE, [(address_of(b"page"), b"page")], impostor)
        with pytest.raises(DamageError) as raised:
            store.get_block(encrypted_address_of(numbered_block(1)))
        assert raised.value.address == encrypted_address_of(numbered_block(1)).hex()
        with pytest.raises(DamageError):
            store.get(ObjectKind.PAGE, address_of(b"page"))

    # -- has, walk, remove --

    def test_has_tells_what_is_stored(self, store: ObjectStore) -> None:
        put_block(store, numbered_block(1))
        put_pages(store, [numbered_page(1)])
        assert store.has(address_of(numbered_block(1)))
        assert store.has(address_of(numbered_page(1)))
        assert not store.has(address_of(numbered_block(2)))

    def test_walk_names_every_object_with_its_kind_size_and_time(self, store: ObjectStore) -> None:
        put_block(store, numbered_block(1))
        put_pages(store, [numbered_page(1)])
        store.put_many(ObjectKind.MANIFEST, [(address_of(b"place"), b"a manifest")])
        expected = [
            ObjectEntry(address_of(numbered_block(1)), ObjectKind.BLOCK, 524_288, SUITE_NOW_MS),
            ObjectEntry(address_of(numbered_page(1)), ObjectKind.PAGE, 105, SUITE_NOW_MS),
            ObjectEntry(address_of(b"place"), ObjectKind.MANIFEST, 10, SUITE_NOW_MS),
        ]
        assert sorted(store.walk(), key=lambda entry: entry.kind) == expected

    def test_walk_names_each_of_many_objects_once(self, store: ObjectStore) -> None:
        put_pages(store, [numbered_page(number) for number in range(2_001)])
        walked = [entry.address for entry in store.walk()]
        assert len(walked) == 2_001
        assert set(walked) == {address_of(numbered_page(number)) for number in range(2_001)}

    def test_a_removed_object_is_gone_and_the_others_stay(self, store: ObjectStore) -> None:
        put_block(store, numbered_block(1))
        put_block(store, numbered_block(2))
        put_pages(store, [numbered_page(1)])
        assert store.remove([address_of(numbered_block(1)), address_of(numbered_page(1))]) == 2
        assert not store.has(address_of(numbered_block(1)))
        with pytest.raises(DamageError):
            store.get_block(address_of(numbered_block(1)))
        assert get_block(store, address_of(numbered_block(2))) == numbered_block(2)
        assert [entry.address for entry in store.walk()] == [address_of(numbered_block(2))]

    def test_removing_what_is_not_there_counts_nothing(self, store: ObjectStore) -> None:
        put_block(store, numbered_block(1))
        address = address_of(numbered_block(1))
        assert store.remove([address, address, address_of(b"never stored")]) == 1
        assert store.remove([address]) == 0
        assert store.remove([]) == 0

    def test_a_removed_object_can_be_put_again(self, store: ObjectStore) -> None:
        content = numbered_block(1)
        put_block(store, content)
        store.remove([address_of(content)])
        assert put_block(store, content) is True
        assert get_block(store, address_of(content)) == content

    def test_manifests_are_counted_and_named_in_order(self, store: ObjectStore, other: ObjectStore) -> None:
        assert store.manifest_count() == 0
        assert list(store.manifests()) == []
        names = [address_of(f"manifest {number}".encode()) for number in range(2_100)]
        store.put_many(ObjectKind.MANIFEST, [(name, b"{}") for name in names])
        put_block(store, numbered_block(1))
        put_pages(store, [numbered_page(1)])
        for reader in (store, other):
            assert reader.manifest_count() == 2_100
            assert list(reader.manifests()) == sorted(names)

    def test_a_removed_manifest_is_neither_counted_nor_named(self, store: ObjectStore) -> None:
        names = sorted(address_of(f"manifest {number}".encode()) for number in range(3))
        store.put_many(ObjectKind.MANIFEST, [(name, b"{}") for name in names])
        assert store.remove([names[1]]) == 1
        assert store.manifest_count() == 2
        assert list(store.manifests()) == [names[0], names[2]]

    def test_a_manifest_that_cannot_be_read_is_named_all_the_same(self, store: ObjectStore) -> None:
        impostor = DataKey(SUITE_KEY.data_key_id, bytes(32))
        store.put_many(ObjectKind.MANIFEST, [(address_of(b"damaged"), b"{}")], impostor)
        with pytest.raises(DamageError):
            store.get(ObjectKind.MANIFEST, address_of(b"damaged"))
        assert list(store.manifests()) == [address_of(b"damaged")]
        assert store.manifest_count() == 1

    # -- more than one process --

    def test_what_one_opening_does_the_other_sees_at_once(self, store: ObjectStore, other: ObjectStore) -> None:
        assert put_block(store, numbered_block(1)) is True
        assert put_block(other, numbered_block(1)) is False
        assert put_block(other, numbered_block(2)) is True
        assert put_block(store, numbered_block(2)) is False
        for reader in (store, other):
            for number in (1, 2):
                assert get_block(reader, address_of(numbered_block(number))) == numbered_block(number)
        assert other.remove([address_of(numbered_block(1))]) == 1
        assert not store.has(address_of(numbered_block(1)))
        assert [entry.address for entry in store.walk()] == [address_of(numbered_block(2))]

    def test_of_openings_that_race_to_put_a_block_one_writes_it(self, opener: StoreOpener) -> None:
        stores = [opener() for _ in range(THREADS)]
        for number in range(10):
            content = numbered_block(number)
            written = at_once(lambda thread, content=content: put_block(stores[thread], content))  # type: ignore[misc]
            assert written.count(True) == 1
        for number in range(10):
            assert get_block(stores[0], address_of(numbered_block(number))) == numbered_block(number)
        for opened in stores:
            opened.close()

    def test_two_processes_share_their_objects(self, store: ObjectStore, opener: StoreOpener) -> None:
        put_block(store, numbered_block(1))
        processes = multiprocessing.get_context("spawn")
        here, there = processes.Pipe()
        process = processes.Process(target=_put_and_ask, args=(opener, there))
        process.start()
        there.close()

        def ask(command: str, number: int) -> bool:
            here.send((command, number))
            answer: bool = here.recv()
            return answer

        assert not ask("put", 1)
        assert ask("get", 1)
        assert ask("put", 2)
        assert put_block(store, numbered_block(2)) is False
        for number in (1, 2):
            assert get_block(store, address_of(numbered_block(number))) == numbered_block(number)
        put_block(store, numbered_block(3))
        assert ask("get", 3)
        here.close()
        process.join()
        assert process.exitcode == 0

    # -- durable --

    @pytest.mark.parametrize("acknowledged_count", [1, 7, 40])
    def test_every_put_acknowledged_before_kill_9_is_readable(
        self, opener: StoreOpener, acknowledged_count: int
    ) -> None:
        processes = multiprocessing.get_context("spawn")
        receiver, sender = processes.Pipe(duplex=False)
        writer = processes.Process(target=_put_and_tell, args=(opener, sender))
        writer.start()
        sender.close()
        acknowledged = [receiver.recv() for _ in range(acknowledged_count)]
        writer.kill()
        writer.join()
        try:
            while True:
                acknowledged.append(receiver.recv())
        except EOFError:
            receiver.close()
        store = opener()
        for number in acknowledged:
            assert get_block(store, address_of(numbered_block(number))) == numbered_block(number)
        # What was not acknowledged is there whole or not at all.
        for entry in store.walk():
            assert address_of(store.get(entry.kind, entry.address)) == entry.address
        store.close()

    def test_everything_is_there_after_reopening(self, store: ObjectStore, reopen: Callable[[], ObjectStore]) -> None:
        for number in range(20):
            put_block(store, numbered_block(number))
        put_pages(store, [numbered_page(number) for number in range(300)])
        before = sorted(store.walk(), key=lambda entry: entry.address)
        again = reopen()
        assert sorted(again.walk(), key=lambda entry: entry.address) == before
        for number in range(20):
            assert get_block(again, address_of(numbered_block(number))) == numbered_block(number)
        for number in range(300):
            assert again.get(ObjectKind.PAGE, address_of(numbered_page(number))) == numbered_page(number)

    def test_what_was_removed_stays_removed_after_reopening(
        self, store: ObjectStore, reopen: Callable[[], ObjectStore]
    ) -> None:
        put_block(store, numbered_block(1))
        put_block(store, numbered_block(2))
        store.remove([address_of(numbered_block(1))])
        assert [entry.address for entry in reopen().walk()] == [address_of(numbered_block(2))]

    def test_puts_go_on_after_reopening(self, store: ObjectStore, reopen: Callable[[], ObjectStore]) -> None:
        put_block(store, numbered_block(1))
        again = reopen()
        assert put_block(again, numbered_block(1)) is False
        assert put_block(again, numbered_block(2)) is True
        last = reopen()
        assert get_block(last, address_of(numbered_block(1))) == numbered_block(1)
        assert get_block(last, address_of(numbered_block(2))) == numbered_block(2)

    # -- buffers --

    def test_a_block_buffer_has_room_for_exactly_one_block(self, store: ObjectStore) -> None:
        buffer = store.borrow_block_buffer()
        assert buffer.payload.nbytes == 524_288
        assert not buffer.payload.readonly
        buffer.release()

    def test_no_more_buffers_are_lent_than_the_limit(self, small_store: ObjectStore) -> None:
        buffers = [small_store.borrow_block_buffer() for _ in range(SUITE_BUFFER_COUNT)]
        with pytest.raises(OverloadedError):
            small_store.borrow_block_buffer()
        buffers[0].release()
        small_store.borrow_block_buffer().release()

    def test_a_read_takes_a_buffer_and_is_refused_where_none_comes_free(self, small_store: ObjectStore) -> None:
        put_block(small_store, numbered_block(1))
        read = [small_store.get_block(address_of(numbered_block(1))) for _ in range(SUITE_BUFFER_COUNT)]
        with pytest.raises(OverloadedError):
            small_store.get_block(address_of(numbered_block(1)))
        read[0].release()
        assert get_block(small_store, address_of(numbered_block(1))) == numbered_block(1)

    def test_a_failed_read_gives_its_buffer_back(self, small_store: ObjectStore) -> None:
        for _ in range(SUITE_BUFFER_COUNT + 1):
            with pytest.raises(DamageError):
                small_store.get_block(address_of(b"never stored"))
        assert put_block(small_store, numbered_block(1))

    def test_releasing_a_buffer_twice_is_harmless(self, small_store: ObjectStore) -> None:
        first = small_store.borrow_block_buffer()
        first.release()
        first.release()
        borrowed = [small_store.borrow_block_buffer() for _ in range(SUITE_BUFFER_COUNT)]
        for number, buffer in enumerate(borrowed):
            buffer.payload[:1] = bytes([number])
        assert [bytes(buffer.payload[:1]) for buffer in borrowed] == [b"\0", b"\1", b"\2"]
        with pytest.raises(OverloadedError):
            small_store.borrow_block_buffer()

    def test_a_buffer_that_is_used_again_does_not_change_what_was_stored_from_it(
        self, small_store: ObjectStore
    ) -> None:
        for number in range(20):
            put_block(small_store, numbered_block(number))
        for number in range(20):
            assert get_block(small_store, address_of(numbered_block(number))) == numbered_block(number)


# -- what other processes run --


def _put_and_ask(opener: StoreOpener, asked: Connection) -> None:
    """Put and read numbered blocks as asked, until the asker hangs up."""
    store = opener()
    while True:
        try:
            command, number = asked.recv()
        except EOFError:
            store.close()
            return
        content = numbered_block(number)
        asked.send(put_block(store, content) if command == "put" else get_block(store, address_of(content)) == content)


def _put_and_tell(opener: StoreOpener, told: Connection) -> None:
    """Put numbered blocks from four threads until killed, and tell each number once its put is acknowledged."""
    store, telling = opener(), Lock()

    def put(thread: int) -> None:
        for step in count():
            put_block(store, numbered_block(step * 4 + thread))
            with telling:
                told.send(step * 4 + thread)

    for thread in range(4):
        Thread(target=put, args=(thread,)).start()
