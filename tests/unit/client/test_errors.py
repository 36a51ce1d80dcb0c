"""OSErrors become members of the family."""

from __future__ import annotations

import errno

import pytest

from snapstone.client.errors import (
    ClientError,
    DamagedError,
    DeniedError,
    NoSpaceError,
    NotFoundError,
    UsageError,
    refusal,
)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOENT, NotFoundError),
        (errno.EACCES, DeniedError),
        (errno.EROFS, DeniedError),
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EIO, DamagedError),
        (errno.EBUSY, UsageError),
        (errno.EMFILE, ClientError),
    ],
)
def test_each_kind_of_refusal_has_its_member(code: int, kind: type[ClientError]) -> None:
    assert type(refusal(OSError(code, "x"), "disk", "be read")) is kind


def test_the_text_says_what_why_and_what_to_do() -> None:
    text = str(refusal(OSError(errno.ENOSPC, "x"), "/srv/disk", "be written at block 5"))
    assert text.startswith("/srv/disk cannot be written at block 5: No space left on device (free some space")


def test_an_error_without_a_number_keeps_its_text() -> None:
    assert str(refusal(OSError("odd"), "disk", "be read")) == "disk cannot be read: odd"
