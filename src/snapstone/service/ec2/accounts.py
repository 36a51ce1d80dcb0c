"""Account ids as the operations of EC2 take them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from snapstone.core.errors import MalformedAccountIdError

_ACCOUNT_ID = re.compile(r"[0-9]{12}")


def require_account_ids(texts: Iterable[str], besides: Collection[str] = ()) -> None:
    """Raises MalformedAccountIdError for what is no account id and none of the words that may stand in its place."""
    for text in texts:
        if text not in besides and not _ACCOUNT_ID.fullmatch(text):
            raise MalformedAccountIdError(text)
