"""Pages read and written through the object store, with a bounded cache: pages are immutable, so it is never stale."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from snapstone.core.block_map import EMPTY_ROOT
from snapstone.core.blocks import Address
from snapstone.core.data_key import DataKey
from snapstone.core.errors import DamageError
from snapstone.core.page import EMPTY_PAGE, Page
from snapstone.storage.contract import ObjectKind, ObjectStore


class _CachedPage:
    """A page in the cache. Using it takes no lock: it leaves a mark, which is looked at when room is needed."""

    __slots__ = ("page", "was_used")

    def __init__(self, page: Page) -> None:
        self.page = page
        self.was_used = False


class PageStore:
    """A core.block_map.PageSource over an object store. Safe from many threads."""

    def __init__(self, objects: ObjectStore, cache_bytes: int) -> None:
        """`cache_bytes` limits the page content that is kept in memory."""
        self._objects = objects
        self._cache_limit = cache_bytes
        self._cache_size = 0
        self._cache: OrderedDict[Address, _CachedPage] = OrderedDict()
        self._lock = Lock()

    def page(self, address: Address) -> Page:
        """The page of that name. Raises DamageError if it cannot be read, or is not the page that is named."""
        kept = self._cache.get(address)
        if kept is not None:
            kept.was_used = True
            return kept.page
        if address == EMPTY_ROOT:
            return EMPTY_PAGE
        page = Page(self._objects.get(ObjectKind.PAGE, address))
        if page.address != address:
            raise DamageError(address.hex(), "the stored page has another name")
        self._keep(address, page)
        return page

    def store(self, pages: Iterable[tuple[Address, Page]], data_key: DataKey | None = None) -> int:
        """Store pages, encrypted where a key is given, durable when it returns; returns how many were new."""
        return self._objects.put_many(ObjectKind.PAGE, ((address, page.content) for address, page in pages), data_key)

    def _keep(self, address: Address, page: Page) -> None:
        with self._lock:
            if address in self._cache:
                return
            self._cache[address] = _CachedPage(page)
            self._cache_size += len(page.content)
            while self._cache_size > self._cache_limit:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop the oldest page; one that was used since it became the oldest is kept for another round."""
        address, kept = self._cache.popitem(last=False)
        if kept.was_used:
            kept.was_used = False
            self._cache[address] = kept
        else:
            self._cache_size -= len(kept.page.content)
