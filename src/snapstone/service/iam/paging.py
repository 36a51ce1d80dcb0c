"""IAM's pages: MaxItems and Marker, over a list in the order of a key."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from snapstone.core.identity_errors import IdentityValidationError
from snapstone.service.iam.members import check_range

DEFAULT_MAX_ITEMS: Final = 100
MOST_MAX_ITEMS: Final = 1_000

Item = TypeVar("Item")


def page_of(
    items: Iterable[Item],
    key: Callable[[Item], str],
    member: str,
    render: Callable[[Item], object],
    marker: str | None,
    max_items: int | None,
) -> dict[str, object]:
    """The answer's page after `marker`: what `render` makes of the items under `member`, and whether more follow.

    Keys are unique. Raises IdentityValidationError.
    """
    size = DEFAULT_MAX_ITEMS if max_items is None else max_items
    check_range("maxItems", size, 1, MOST_MAX_ITEMS)
    after = None if marker is None else _read_marker(marker)
    left = sorted((item for item in items if after is None or key(item) > after), key=key)
    answer: dict[str, object] = {member: [render(item) for item in left[:size]], "IsTruncated": len(left) > size}
    if len(left) > size:
        answer["Marker"] = urlsafe_b64encode(key(left[size - 1]).encode()).decode()
    return answer


def _read_marker(marker: str) -> str:
    try:
        return b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise IdentityValidationError("Invalid Marker.") from None
