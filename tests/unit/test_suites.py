"""The contracts of catalog and storage are held by suites: whole, and run against what implements them here."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.storage.contract import BlockBuffer, ObjectStore
from tests.suites.catalog_suite import CatalogSuite
from tests.suites.clock_suite import ClockSuite
from tests.suites.identity_suite import IdentitySuite
from tests.suites.inventory_suite import InventorySuite
from tests.suites.key_suite import KeySuite
from tests.suites.object_store_suite import ObjectStoreSuite
from tests.suites.protection_suite import ProtectionSuite
from tests.suites.scan import called, promised
from tests.suites.sharing_suite import SharingSuite

TESTS = Path(__file__).parents[1]

CATALOG_SUITES = [
    CatalogSuite,
    ClockSuite,
    IdentitySuite,
    InventorySuite,
    KeySuite,
    ProtectionSuite,
    SharingSuite,
]


@pytest.mark.parametrize(
    ("contract", "suites"),
    [(Catalog, CATALOG_SUITES), (ObjectStore, [ObjectStoreSuite]), (BlockBuffer, [ObjectStoreSuite])],
)
def test_every_method_of_a_contract_is_called_by_a_test_of_its_suites(contract: type, suites: Collection[type]) -> None:
    assert promised(contract)
    assert promised(contract) - called(suites, contract) == set()


def test_every_suite_is_known_here_and_run_by_a_unit_test() -> None:
    suites = {
        node.name
        for path in (TESTS / "suites").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Suite")
    }
    run = {
        base.id
        for path in (TESTS / "unit").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        for base in node.bases
        if isinstance(base, ast.Name)
    }
    assert suites == {suite.__name__ for suite in (*CATALOG_SUITES, ObjectStoreSuite)}
    assert suites - run == set()


class Part(Protocol):
    """A part of a contract that nobody keeps."""

    def tested(self) -> None: ...

    def tested_by_a_helper(self) -> None: ...


class Whole(Part, Protocol):
    """The contract."""

    def tested_after_reopening(self) -> None: ...

    def called_by_a_fixture_alone(self) -> None: ...

    def called_on_something_else(self) -> None: ...

    def not_called(self) -> None: ...


class OfWhole:
    """Its suite."""

    def called_first(self, whole: Whole) -> None:
        whole.called_by_a_fixture_alone()

    def test_some(self, whole: Whole, reopen: type[Whole], other: OfWhole) -> None:
        whole.tested()
        help_testing(whole)
        other.called_on_something_else()
        again = reopen()
        again.tested_after_reopening()

    def called_on_something_else(self) -> None: ...


def help_testing(whole: Whole) -> None:
    whole.tested_by_a_helper()


def test_what_no_test_calls_is_found() -> None:
    assert promised(Whole) - called([OfWhole], Whole) == {
        "called_by_a_fixture_alone",
        "called_on_something_else",
        "not_called",
    }
