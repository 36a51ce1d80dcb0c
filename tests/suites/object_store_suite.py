"""What every object store must do: the contract of storage.contract.ObjectStore as tests that each implementation runs.

An implementation's test class derives from `ObjectStoreSuite` and supplies the fixtures at its top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Barrier
from typing import Final, TypeVar

import pytest

from snapstone.core.blocks import BLOCK_SIZE, Address
from snapstone.core.errors import DamageError, OverloadedError
from snapstone.storage.contract import ObjectEntry, ObjectKind, ObjectStore

THREADS: Final = 8

SUITE_NOW_MS: Final = 1_790_337_440_328
"""What the clock of every store under test says."""

SUITE_BUFFER_COUNT: Final = 3
"""Block buffers of `small_store`."""

Outcome = TypeVar("Outcome")


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
    """The contract. Fixtures: `store`; `reopen`, which closes `store` and opens it anew; `small_store`."""

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

    # -- durable --

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
