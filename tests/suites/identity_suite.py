"""The part of a catalog's contract about accounts, users, roles, access keys and policies, as a suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from snapstone.catalog.contract.catalog import Catalog
from snapstone.catalog.contract.errors import RowRefusedError
from snapstone.catalog.contract.identities import (
    Account,
    Identity,
    IdentityKind,
    ManagedPolicy,
    NameTakenError,
    OwnerGoneError,
    PolicyGoneError,
    PolicyVersion,
    SealedAccessKey,
    StillUsedError,
    TooManyError,
)
from snapstone.core.ids import AccountId
from tests.suites.catalog_fixtures import CatalogFixtures
from tests.suites.catalog_rows import ALICE, BOB, STARTED
from tests.suites.races import racing

MANY = 100
USER, ROLE = IdentityKind.USER, IdentityKind.ROLE
AWS_POLICY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def user(name: str, **changes: Any) -> Identity:
    """Alice's user of that name, with nothing."""
    return replace(Identity(f"AIDA{name.upper()}", USER, ALICE, name, "/", STARTED), **changes)


def role(name: str, **changes: Any) -> Identity:
    """Alice's role of that name, with a trust policy and nothing else."""
    return replace(Identity(f"AROA{name.upper()}", ROLE, ALICE, name, "/", STARTED, trust_policy="{}"), **changes)


def arn_of(name: str, account_id: AccountId = ALICE) -> str:
    return f"arn:aws:iam::{account_id}:policy/{name}"


def policy(name: str, account_id: AccountId = ALICE, **changes: Any) -> ManagedPolicy:
    """An account's policy of that name, with one version."""
    made = ManagedPolicy(
        arn=arn_of(name, account_id),
        policy_id=f"ANPA{account_id}{name}",
        account_id=account_id,
        name=name,
        path="/",
        description="",
        created_at_ms=STARTED,
        updated_at_ms=STARTED,
        default_version=1,
        next_version=2,
        versions=(PolicyVersion(1, "{}", STARTED),),
    )
    return replace(made, **changes)


def key(
    number: int, owner: str | None = None, account_id: AccountId = ALICE, created_at_ms: int = 0
) -> SealedAccessKey:
    """An active key of a user, or of an account's root."""
    return SealedAccessKey(f"AKIA{number}", account_id, owner, True, created_at_ms, b"sealed %d" % number)


def refuse(_: object) -> NoReturn:
    """A change that raises."""
    raise LookupError


def taken(work: Callable[[], None], *refusals: type[Exception]) -> bool:
    """Whether a call went well, rather than raise one of these errors."""
    try:
        work()
    except refusals:
        return False
    return True


class IdentitySuite(CatalogFixtures):
    """Every promise of `identity_contract.IdentityCatalog`."""

    # -- accounts --

    def test_an_account_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        catalog.insert_account(Account(ALICE, "Zoë's", 17))
        assert catalog.account(ALICE) == Account(ALICE, "Zoë's", 17)
        assert catalog.account(BOB) is None

    def test_accounts_are_listed_in_the_order_in_which_they_were_added(self, catalog: Catalog) -> None:
        assert catalog.accounts() == []
        catalog.insert_account(Account(BOB, "b", 30))
        catalog.insert_account(Account(ALICE, "a", 20))
        assert catalog.accounts() == [Account(BOB, "b", 30), Account(ALICE, "a", 20)]

    def test_an_account_whose_name_or_id_is_taken_is_not_added(self, catalog: Catalog) -> None:
        catalog.insert_account(Account(ALICE, "lab", 1))
        for refused in (Account(BOB, "lab", 2), Account(ALICE, "other", 2)):
            with pytest.raises(NameTakenError) as raised:
                catalog.insert_account(refused)
            assert raised.value.name == refused.name
        assert catalog.accounts() == [Account(ALICE, "lab", 1)]

    def test_any_number_of_accounts_have_no_name(self, catalog: Catalog) -> None:
        catalog.insert_account(Account(ALICE, "", 1))
        catalog.insert_account(Account(BOB, "", 2))
        assert [account.account_id for account in catalog.accounts()] == [ALICE, BOB]

    def test_an_account_is_renamed(self, catalog: Catalog, other: Catalog) -> None:
        catalog.insert_account(Account(ALICE, "lab", 1))
        assert catalog.rename_account(ALICE, "works")
        assert other.account(ALICE) == Account(ALICE, "works", 1)
        assert catalog.rename_account(ALICE, "works")
        catalog.insert_account(Account(BOB, "lab", 2))

    def test_an_account_takes_no_name_of_another_and_none_takes_a_name_where_there_is_no_account(
        self, catalog: Catalog
    ) -> None:
        catalog.insert_account(Account(ALICE, "lab", 1))
        assert not catalog.rename_account(BOB, "works")
        catalog.insert_account(Account(BOB, "works", 2))
        with pytest.raises(NameTakenError) as raised:
            catalog.rename_account(BOB, "lab")
        assert raised.value.name == "lab"
        assert catalog.account(BOB) == Account(BOB, "works", 2)

    def test_of_racing_accounts_one_gets_the_name(self, catalog: Catalog) -> None:
        def insert(number: int) -> bool:
            return taken(lambda: catalog.insert_account(Account(AccountId(f"{number:012d}"), "lab", 1)), NameTakenError)

        assert racing(8, insert).count(True) == 1
        assert len(catalog.accounts()) == 1

    # -- users and roles --

    @pytest.mark.parametrize("make", [user, role])
    def test_an_identity_is_read_back_field_for_field(self, catalog: Catalog, make: Callable[..., Identity]) -> None:
        for name in ("first", "second", "bound"):
            catalog.insert_managed_policy(policy(name), MANY)
        identity = make(
            "Anna",
            path="/staff/ops/",
            boundary_arn=arn_of("bound"),
            description="Größe: 5 €",
            max_session_seconds=43_200,
            tags=(("apple", ""), ("zebra", "é")),
            inline_policies=(("a", '{"Version": "2012-10-17"}'), ("b", "{}")),
            attached_arns=(arn_of("first"), arn_of("second")),
        )
        catalog.insert_identity(identity, 1)
        assert catalog.identity(ALICE, identity.kind, "Anna") == identity
        assert catalog.remembered_identity(identity.identity_id) == identity
        assert catalog.identities(ALICE, identity.kind) == [identity]

    def test_parts_of_an_identity_are_listed_in_order(self, catalog: Catalog) -> None:
        for name in ("first", "second"):
            catalog.insert_managed_policy(policy(name), MANY)
        parts = {
            "tags": (("b", "1"), ("a", "2")),
            "inline_policies": (("b", "{}"), ("a", "{}")),
            "attached_arns": (arn_of("second"), arn_of("first")),
        }
        catalog.insert_identity(user("anna", **parts), 1)
        assert catalog.identity(ALICE, USER, "anna") == user(
            "anna", **{part: tuple(reversed(values)) for part, values in parts.items()}
        )

    def test_what_is_not_there_is_none(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), 1)
        assert catalog.identity(ALICE, USER, "berta") is None
        assert catalog.identity(ALICE, ROLE, "anna") is None
        assert catalog.identity(BOB, USER, "anna") is None
        assert catalog.remembered_identity("AIDABERTA") is None
        assert catalog.remembered_role(ALICE, "anna") is None
        assert catalog.identities(ALICE, ROLE) == []
        assert catalog.identities(BOB, USER) == []

    def test_names_are_told_apart_by_more_than_case(self, catalog: Catalog) -> None:
        anna, ops = user("Anna"), role("Ops")
        catalog.insert_identity(anna, MANY)
        catalog.insert_identity(ops, MANY)
        assert catalog.identity(ALICE, USER, "aNNA") == anna
        assert catalog.remembered_role(ALICE, "OPS") == ops
        with pytest.raises(NameTakenError) as raised:
            catalog.insert_identity(user("anna", identity_id="AIDAOTHER"), MANY)
        assert raised.value.name == "anna"
        assert catalog.identities(ALICE, USER) == [anna]

    def test_a_user_a_role_and_another_accounts_user_may_have_one_name(self, catalog: Catalog) -> None:
        made = [user("anna"), role("anna"), user("anna", identity_id="AIDABOB", account_id=BOB)]
        for identity in made:
            catalog.insert_identity(identity, 1)
        assert catalog.identity(ALICE, USER, "anna") == made[0]
        assert catalog.identity(ALICE, ROLE, "anna") == made[1]
        assert catalog.identity(BOB, USER, "anna") == made[2]

    def test_identities_are_listed_by_name_whatever_its_case(self, catalog: Catalog) -> None:
        for name in ("bea", "Carl", "anna", "Dora"):
            catalog.insert_identity(user(name), MANY)
        assert [each.name for each in catalog.identities(ALICE, USER)] == ["anna", "bea", "Carl", "Dora"]

    def test_an_account_has_no_more_of_a_kind_than_the_limit(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), 2)
        catalog.insert_identity(user("bea"), 2)
        with pytest.raises(TooManyError) as raised:
            catalog.insert_identity(user("carl"), 2)
        assert raised.value.limit == 2
        catalog.insert_identity(role("ops"), 1)
        catalog.insert_identity(user("carl", account_id=BOB), 1)
        assert [each.name for each in catalog.identities(ALICE, USER)] == ["anna", "bea"]

    def test_an_identity_id_that_exists_is_refused(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)
        with pytest.raises(RowRefusedError):
            catalog.insert_identity(user("bea", identity_id="AIDAANNA"), MANY)
        assert catalog.identities(ALICE, USER) == [user("anna")]

    def test_of_racing_identities_one_gets_the_name_and_none_is_beyond_the_limit(self, catalog: Catalog) -> None:
        def insert(number: int) -> bool:
            name = ("anna", "Anna", "bea", "carl", "dora", "emil")[number]
            made = user(name, identity_id=f"AIDA{number}")
            return taken(lambda: catalog.insert_identity(made, 3), NameTakenError, TooManyError)

        assert racing(6, insert).count(True) == 3
        names = [each.name.lower() for each in catalog.identities(ALICE, USER)]
        assert len(names) == len(set(names)) == 3

    @pytest.mark.parametrize("given", [{"attached_arns": (arn_of("gone"),)}, {"boundary_arn": arn_of("gone")}])
    def test_no_identity_gets_a_policy_that_is_gone(self, catalog: Catalog, given: dict[str, Any]) -> None:
        with pytest.raises(PolicyGoneError) as raised:
            catalog.insert_identity(user("anna", **given), MANY)
        assert raised.value.arn == arn_of("gone")
        assert catalog.identity(ALICE, USER, "anna") is None
        catalog.insert_identity(user("anna"), MANY)
        with pytest.raises(PolicyGoneError):
            catalog.change_identity(ALICE, USER, "anna", lambda before: replace(before, description="new", **given))
        assert catalog.identity(ALICE, USER, "anna") == user("anna")

    def test_policies_of_aws_are_given_without_a_row(self, catalog: Catalog) -> None:
        anna = user("anna", attached_arns=(AWS_POLICY,), boundary_arn=AWS_POLICY)
        catalog.insert_identity(anna, MANY)
        assert catalog.identity(ALICE, USER, "anna") == anna

    def test_a_changed_identity_is_returned_and_stored_whole(self, catalog: Catalog) -> None:
        catalog.insert_managed_policy(policy("first"), MANY)
        before = role("ops", tags=(("a", "1"), ("b", "2")), inline_policies=(("old", "{}"),))
        catalog.insert_identity(before, MANY)
        after = replace(
            before,
            name="Night",
            path="/night/",
            boundary_arn=arn_of("first"),
            trust_policy='{"Statement": []}',
            description="at night",
            max_session_seconds=7_200,
            tags=(("b", "3"), ("c", "")),
            inline_policies=(("new", "{}"),),
            attached_arns=(AWS_POLICY, arn_of("first")),
        )
        after = replace(after, attached_arns=tuple(sorted(after.attached_arns)))
        seen: list[Identity] = []

        def change(identity: Identity) -> Identity:
            seen.append(identity)
            return after

        assert catalog.change_identity(ALICE, ROLE, "OPS", change) == after
        assert seen == [before]
        assert catalog.identity(ALICE, ROLE, "night") == after
        assert catalog.identity(ALICE, ROLE, "ops") is None

    def test_an_error_in_a_change_leaves_the_identity_as_it_was(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)
        with pytest.raises(LookupError):
            catalog.change_identity(ALICE, USER, "anna", refuse)
        assert catalog.identity(ALICE, USER, "anna") == user("anna")

    def test_no_identity_there_is_nothing_to_change(self, catalog: Catalog) -> None:
        catalog.insert_identity(role("anna"), MANY)
        assert catalog.change_identity(ALICE, USER, "anna", refuse) is None

    def test_an_identity_is_renamed_to_no_name_that_is_taken_but_to_its_own_in_another_case(
        self, catalog: Catalog
    ) -> None:
        for name in ("anna", "bea"):
            catalog.insert_identity(user(name), MANY)
        with pytest.raises(NameTakenError) as raised:
            catalog.change_identity(ALICE, USER, "bea", lambda before: replace(before, name="ANNA", path="/x/"))
        assert raised.value.name == "ANNA"
        assert catalog.identity(ALICE, USER, "bea") == user("bea")
        assert catalog.change_identity(ALICE, USER, "anna", lambda before: replace(before, name="ANNA"))
        assert [each.name for each in catalog.identities(ALICE, USER)] == ["ANNA", "bea"]

    def test_of_racing_changes_none_is_lost(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)

        def tag(number: int) -> None:
            catalog.change_identity(
                ALICE, USER, "anna", lambda before: replace(before, tags=(*before.tags, (str(number), "")))
            )

        racing(8, tag)
        anna = catalog.identity(ALICE, USER, "anna")
        assert anna is not None
        assert anna.tags == tuple((str(number), "") for number in range(8))

    def test_a_change_elsewhere_is_remembered_at_once(self, catalog: Catalog, other: Catalog) -> None:
        assert catalog.remembered_identity("AROAOPS") is None
        assert catalog.remembered_role(ALICE, "ops") is None
        other.insert_identity(role("ops"), MANY)
        assert catalog.remembered_identity("AROAOPS") == role("ops")
        assert catalog.remembered_role(ALICE, "ops") == role("ops")
        other.change_identity(ALICE, ROLE, "ops", lambda before: replace(before, description="new"))
        assert catalog.remembered_identity("AROAOPS") == role("ops", description="new")
        assert catalog.remembered_role(ALICE, "ops") == role("ops", description="new")
        other.delete_identity(ALICE, ROLE, "ops")
        assert catalog.remembered_identity("AROAOPS") is None
        assert catalog.remembered_role(ALICE, "ops") is None
        other.insert_identity(role("ops", identity_id="AROANEW"), MANY)
        assert catalog.remembered_role(ALICE, "ops") == role("ops", identity_id="AROANEW")

    def test_a_deleted_identity_is_gone_with_its_tags_and_its_name_is_free(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna", tags=(("a", "1"),)), MANY)
        catalog.insert_identity(role("anna"), MANY)
        assert catalog.delete_identity(ALICE, USER, "Anna")
        assert catalog.identity(ALICE, USER, "anna") is None
        assert not catalog.delete_identity(ALICE, USER, "anna")
        assert catalog.identity(ALICE, ROLE, "anna") == role("anna")
        catalog.insert_identity(user("anna"), MANY)
        assert catalog.identity(ALICE, USER, "anna") == user("anna")

    @pytest.mark.parametrize(
        ("parts", "what"),
        [
            ({"inline_policies": (("p", "{}"),)}, "policies"),
            ({"attached_arns": (AWS_POLICY,)}, "attached policies"),
        ],
    )
    def test_an_identity_that_has_policies_is_not_deleted(
        self, catalog: Catalog, parts: dict[str, Any], what: str
    ) -> None:
        catalog.insert_identity(user("anna", **parts), MANY)
        with pytest.raises(StillUsedError) as raised:
            catalog.delete_identity(ALICE, USER, "anna")
        assert raised.value.what == what
        assert catalog.identity(ALICE, USER, "anna") == user("anna", **parts)

    def test_a_user_that_has_keys_is_not_deleted(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna", tags=(("a", "1"),)), MANY)
        catalog.insert_access_key(key(1, "AIDAANNA"), MANY)
        with pytest.raises(StillUsedError) as raised:
            catalog.delete_identity(ALICE, USER, "anna")
        assert raised.value.what == "access keys"
        assert catalog.identity(ALICE, USER, "anna") == user("anna", tags=(("a", "1"),))
        catalog.delete_access_key(key(1, "AIDAANNA"))
        assert catalog.delete_identity(ALICE, USER, "anna")

    def test_a_boundary_does_not_keep_an_identity(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna", boundary_arn=AWS_POLICY), MANY)
        assert catalog.delete_identity(ALICE, USER, "anna")

    def test_no_key_is_left_of_a_user_deleted_in_a_race(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)

        def race(number: int) -> bool:
            if number % 2:
                return taken(lambda: catalog.insert_access_key(key(number, "AIDAANNA"), MANY), OwnerGoneError)
            return taken(lambda: _delete_anna(catalog), StillUsedError)

        made = [number for number, went_well in enumerate(racing(8, race)) if went_well and number % 2]
        keys = [each.access_key_id for each in catalog.sealed_access_keys(ALICE, "AIDAANNA")]
        assert keys == [f"AKIA{number}" for number in made]
        assert (catalog.identity(ALICE, USER, "anna") is not None) == bool(made)

    # -- access keys --

    def test_an_access_key_is_read_back_whole(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)
        root, hers = (
            SealedAccessKey("AKIA1", ALICE, None, True, 17, b"sealed"),
            replace(key(2, "AIDAANNA", created_at_ms=9), active=False, sealed_secret=b"\x00\xff"),
        )
        for made in (root, hers):
            catalog.insert_access_key(made, 1)
            assert catalog.sealed_access_key(made.access_key_id) == made

    def test_an_unknown_access_key_is_none(self, catalog: Catalog) -> None:
        assert catalog.sealed_access_key("AKIA1") is None

    def test_keys_are_listed_for_their_owner_the_oldest_first(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)
        hers = [
            key(2, "AIDAANNA", created_at_ms=10),
            key(3, "AIDAANNA", created_at_ms=10),
            key(1, "AIDAANNA", created_at_ms=20),
        ]
        roots = [key(5, created_at_ms=1), key(4, created_at_ms=2)]
        for made in (hers[2], roots[1], hers[1], roots[0], hers[0], key(6, account_id=BOB)):
            catalog.insert_access_key(made, MANY)
        assert catalog.sealed_access_keys(ALICE, "AIDAANNA") == hers
        assert catalog.sealed_access_keys(ALICE, None) == roots
        assert catalog.sealed_access_keys(BOB, None) == [key(6, account_id=BOB)]
        assert catalog.sealed_access_keys(BOB, "AIDAANNA") == []

    def test_an_owner_has_no_more_keys_than_the_limit(self, catalog: Catalog) -> None:
        catalog.insert_identity(user("anna"), MANY)
        catalog.insert_access_key(key(1, "AIDAANNA"), 2)
        catalog.insert_access_key(key(2, "AIDAANNA"), 2)
        with pytest.raises(TooManyError) as raised:
            catalog.insert_access_key(key(3, "AIDAANNA"), 2)
        assert raised.value.limit == 2
        assert catalog.sealed_access_key("AKIA3") is None
        catalog.insert_access_key(key(3), 1)
        catalog.insert_access_key(key(4, account_id=BOB), 1)

    def test_racing_keys_keep_to_the_limit(self, catalog: Catalog) -> None:
        assert (
            racing(8, lambda number: taken(lambda: catalog.insert_access_key(key(number), 2), TooManyError)).count(True)
            == 2
        )
        assert len(catalog.sealed_access_keys(ALICE, None)) == 2

    def test_a_key_id_that_is_taken_is_refused_whoever_has_it(self, catalog: Catalog) -> None:
        catalog.insert_access_key(key(1), MANY)
        with pytest.raises(NameTakenError) as raised:
            catalog.insert_access_key(key(1, account_id=BOB), MANY)
        assert raised.value.name == "AKIA1"
        assert catalog.sealed_access_key("AKIA1") == key(1)

    def test_no_key_is_made_for_a_user_that_is_gone(self, catalog: Catalog) -> None:
        with pytest.raises(OwnerGoneError):
            catalog.insert_access_key(key(1, "AIDAANNA"), MANY)
        assert catalog.sealed_access_key("AKIA1") is None
        assert catalog.sealed_access_keys(ALICE, "AIDAANNA") == []

    def test_a_key_is_switched_off_and_on_and_others_see_it_at_once(self, catalog: Catalog, other: Catalog) -> None:
        assert catalog.sealed_access_key("AKIA1") is None
        other.insert_access_key(key(1), MANY)
        catalog.insert_access_key(key(2), MANY)
        for active in (False, False, True):
            assert catalog.sealed_access_key("AKIA1") is not None
            assert other.set_access_key_active(key(1), active)
            assert catalog.sealed_access_key("AKIA1") == replace(key(1), active=active)
        assert catalog.sealed_access_key("AKIA2") == key(2)

    def test_a_deleted_key_is_gone_at_once_and_can_be_neither_switched_nor_deleted(
        self, catalog: Catalog, other: Catalog
    ) -> None:
        catalog.insert_access_key(key(1), MANY)
        catalog.insert_access_key(key(2), MANY)
        assert catalog.sealed_access_key("AKIA1") == key(1)
        assert other.delete_access_key(key(1))
        assert catalog.sealed_access_key("AKIA1") is None
        assert not catalog.set_access_key_active(key(1), True)
        assert not catalog.delete_access_key(key(1))
        assert catalog.sealed_access_keys(ALICE, None) == [key(2)]

    # -- managed policies --

    def test_a_policy_is_read_back_field_for_field(self, catalog: Catalog) -> None:
        made = policy(
            "Ops",
            path="/staff/",
            description="é",
            updated_at_ms=STARTED + 5,
            default_version=3,
            next_version=12,
            versions=(PolicyVersion(3, '{"a": "€"}', 1), PolicyVersion(11, "{}", 2)),
            tags=(("a", "1"), ("b", "")),
        )
        catalog.insert_managed_policy(made, 1)
        assert catalog.managed_policy(arn_of("Ops")) == made
        assert catalog.managed_policies(ALICE) == [made]
        assert catalog.managed_policy(arn_of("other")) is None

    def test_versions_come_by_number_and_tags_by_key(self, catalog: Catalog) -> None:
        versions = PolicyVersion(10, "{}", 1), PolicyVersion(9, "{}", 2)
        catalog.insert_managed_policy(
            policy("ops", default_version=9, next_version=11, versions=versions, tags=(("b", ""), ("a", ""))), 1
        )
        made = catalog.managed_policy(arn_of("ops"))
        assert made is not None
        assert made.versions == (versions[1], versions[0])
        assert made.tags == (("a", ""), ("b", ""))

    def test_an_accounts_policies_are_listed_by_name_whatever_its_case(self, catalog: Catalog) -> None:
        for name in ("bea", "Carl", "anna"):
            catalog.insert_managed_policy(policy(name), MANY)
        catalog.insert_managed_policy(policy("bobs", BOB), MANY)
        assert catalog.managed_policies(ALICE) == [policy("anna"), policy("bea"), policy("Carl")]

    def test_a_policy_whose_name_is_taken_in_the_account_is_not_added(self, catalog: Catalog) -> None:
        catalog.insert_managed_policy(policy("ops"), MANY)
        with pytest.raises(NameTakenError) as raised:
            catalog.insert_managed_policy(policy("Ops", arn=arn_of("staff/Ops"), path="/staff/"), MANY)
        assert raised.value.name == "Ops"
        catalog.insert_managed_policy(policy("ops", BOB), MANY)
        assert catalog.managed_policies(ALICE) == [policy("ops")]

    def test_an_account_has_no_more_policies_than_the_limit(self, catalog: Catalog) -> None:
        def insert(number: int) -> bool:
            return taken(lambda: catalog.insert_managed_policy(policy(f"p{number}"), 3), TooManyError)

        assert racing(8, insert).count(True) == 3
        with pytest.raises(TooManyError) as raised:
            catalog.insert_managed_policy(policy("ops"), 3)
        assert raised.value.limit == 3
        catalog.insert_managed_policy(policy("ops", BOB), 1)
        assert len(catalog.managed_policies(ALICE)) == 3

    def test_a_changed_policy_is_returned_and_stored_and_keeps_its_name_and_path(self, catalog: Catalog) -> None:
        before = policy("ops", tags=(("a", "1"),))
        catalog.insert_managed_policy(before, MANY)
        after = replace(
            before,
            description="new",
            updated_at_ms=STARTED + 9,
            default_version=2,
            next_version=3,
            versions=(PolicyVersion(2, '{"new": 1}', STARTED + 9),),
            tags=(("b", "2"),),
        )
        assert catalog.change_managed_policy(before.arn, lambda _: after) == after
        assert catalog.managed_policy(before.arn) == after
        catalog.change_managed_policy(before.arn, lambda found: replace(found, name="other", path="/other/"))
        assert catalog.managed_policy(before.arn) == after

    def test_an_error_in_a_change_leaves_the_policy_as_it_was(self, catalog: Catalog) -> None:
        catalog.insert_managed_policy(policy("ops"), MANY)
        with pytest.raises(LookupError):
            catalog.change_managed_policy(arn_of("ops"), refuse)
        assert catalog.managed_policy(arn_of("ops")) == policy("ops")
        assert catalog.change_managed_policy(arn_of("gone"), refuse) is None

    def test_of_racing_versions_of_a_policy_none_is_lost(self, catalog: Catalog) -> None:
        catalog.insert_managed_policy(policy("ops"), MANY)

        def add(_: int) -> None:
            catalog.change_managed_policy(
                arn_of("ops"),
                lambda found: replace(
                    found,
                    next_version=found.next_version + 1,
                    versions=(*found.versions, PolicyVersion(found.next_version, "{}", STARTED)),
                ),
            )

        racing(8, add)
        made = catalog.managed_policy(arn_of("ops"))
        assert made is not None
        assert [version.number for version in made.versions] == list(range(1, 10))
        assert made.next_version == 10

    def test_a_policys_change_elsewhere_is_seen_at_once(self, catalog: Catalog, other: Catalog) -> None:
        assert catalog.managed_policy(arn_of("ops")) is None
        other.insert_managed_policy(policy("ops"), MANY)
        assert catalog.managed_policy(arn_of("ops")) == policy("ops")
        other.change_managed_policy(arn_of("ops"), lambda found: replace(found, description="new"))
        assert catalog.managed_policy(arn_of("ops")) == policy("ops", description="new")
        assert other.delete_managed_policy(arn_of("ops"))
        assert catalog.managed_policy(arn_of("ops")) is None

    def test_a_deleted_policys_name_is_free(self, catalog: Catalog) -> None:
        catalog.insert_managed_policy(policy("ops", tags=(("a", ""),)), 1)
        assert catalog.delete_managed_policy(arn_of("ops"))
        assert not catalog.delete_managed_policy(arn_of("ops"))
        assert catalog.managed_policies(ALICE) == []
        catalog.insert_managed_policy(policy("ops"), 1)
        assert catalog.managed_policy(arn_of("ops")) == policy("ops")

    @pytest.mark.parametrize("use", [{"attached_arns": (arn_of("ops"),)}, {"boundary_arn": arn_of("ops")}])
    def test_a_policy_that_somebody_has_is_not_deleted(self, catalog: Catalog, use: dict[str, Any]) -> None:
        catalog.insert_managed_policy(policy("ops"), MANY)
        catalog.insert_identity(role("night", **use), MANY)
        with pytest.raises(StillUsedError) as raised:
            catalog.delete_managed_policy(arn_of("ops"))
        assert raised.value.what == "attachments"
        assert catalog.managed_policy(arn_of("ops")) == policy("ops")
        catalog.change_identity(
            ALICE, ROLE, "night", lambda before: replace(before, attached_arns=(), boundary_arn=None)
        )
        assert catalog.delete_managed_policy(arn_of("ops"))

    def test_a_policy_with_more_than_one_version_is_not_deleted(self, catalog: Catalog) -> None:
        versions = PolicyVersion(1, "{}", 1), PolicyVersion(2, "{}", 2)
        catalog.insert_managed_policy(policy("ops", next_version=3, versions=versions), MANY)
        with pytest.raises(StillUsedError) as raised:
            catalog.delete_managed_policy(arn_of("ops"))
        assert raised.value.what == "versions"
        assert catalog.managed_policy(arn_of("ops")) == policy("ops", next_version=3, versions=versions)

    def test_a_policy_deleted_in_a_race_is_nobodys(self, catalog: Catalog) -> None:
        catalog.insert_managed_policy(policy("ops"), MANY)
        for number in range(6):
            catalog.insert_identity(user(f"u{number}"), MANY)

        def race(number: int) -> bool:
            if number < 6:
                return taken(lambda: _attach(catalog, f"u{number}"), PolicyGoneError)
            return taken(lambda: _delete_ops(catalog), StillUsedError)

        attached = racing(8, race)[:6].count(True)
        assert catalog.attachment_counts(ALICE) == ({arn_of("ops"): (attached, 0)} if attached else {})
        assert (catalog.managed_policy(arn_of("ops")) is not None) == bool(attached)

    def test_attachments_and_boundaries_are_counted_apart(self, catalog: Catalog) -> None:
        assert catalog.attachment_counts(ALICE) == {}
        for name in ("first", "second", "third"):
            catalog.insert_managed_policy(policy(name), MANY)
        catalog.insert_identity(user("anna", attached_arns=(arn_of("first"), AWS_POLICY)), MANY)
        catalog.insert_identity(role("ops", attached_arns=(arn_of("first"),), boundary_arn=arn_of("second")), MANY)
        catalog.insert_identity(user("bob", account_id=BOB, attached_arns=(AWS_POLICY,), boundary_arn=AWS_POLICY), MANY)
        assert catalog.attachment_counts(ALICE) == {
            arn_of("first"): (2, 0),
            arn_of("second"): (0, 1),
            AWS_POLICY: (1, 0),
        }
        assert catalog.attachment_counts(BOB) == {AWS_POLICY: (1, 1)}

    def test_identities_are_there_after_a_restart(self, catalog: Catalog, reopen: Callable[[], Catalog]) -> None:
        anna = user("anna", attached_arns=(arn_of("ops"),), tags=(("a", "1"),))
        catalog.insert_account(Account(ALICE, "lab", 1))
        catalog.insert_managed_policy(policy("ops"), MANY)
        catalog.insert_identity(anna, MANY)
        catalog.insert_access_key(key(1, "AIDAANNA"), MANY)
        again = reopen()
        assert again.accounts() == [Account(ALICE, "lab", 1)]
        assert again.managed_policies(ALICE) == [policy("ops")]
        assert again.identities(ALICE, USER) == [anna]
        assert again.sealed_access_keys(ALICE, "AIDAANNA") == [key(1, "AIDAANNA")]


# -- what other threads run --


def _delete_anna(catalog: Catalog) -> None:
    catalog.delete_identity(ALICE, USER, "anna")


def _attach(catalog: Catalog, name: str) -> None:
    catalog.change_identity(ALICE, USER, name, lambda before: replace(before, attached_arns=(arn_of("ops"),)))


def _delete_ops(catalog: Catalog) -> None:
    catalog.delete_managed_policy(arn_of("ops"))
