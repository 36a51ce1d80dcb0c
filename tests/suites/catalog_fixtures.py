"""The fixtures that every suite of the catalog's contract stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from snapstone.catalog.contract.catalog import Catalog

Opener = Callable[[], Catalog]
"""Opens the test's catalog, repeatedly the same one; can be pickled, so that other processes open it."""


class CatalogFixtures:
    """A suite derives from this; who implements the contract derives from the suite and supplies `opener`."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Opens the test's catalog, which is empty at first."""
        pytest.fail("each implementation supplies this")

    @pytest.fixture
    def catalog(self, opener: Opener) -> Iterator[Catalog]:
        """The test's catalog, open."""
        catalog = opener()
        yield catalog
        catalog.close()

    @pytest.fixture
    def other(self, opener: Opener, catalog: Catalog) -> Iterator[Catalog]:
        """The same catalog, opened a second time beside the first, as another process has it."""
        other = opener()
        yield other
        other.close()

    @pytest.fixture
    def reopen(self, opener: Opener, catalog: Catalog) -> Iterator[Callable[[], Catalog]]:
        """Closes the catalog and opens it anew."""
        opened: list[Catalog] = []

        def reopen() -> Catalog:
            catalog.close()
            opened.append(opener())
            return opened[-1]

        yield reopen
        for later in opened:
            later.close()
