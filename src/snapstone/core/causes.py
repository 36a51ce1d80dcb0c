"""Why a server could not do its work, as one word in a header: Snapstone's client reads it, AWS's clients ignore it.

AWS's model has one code for every failure of the server (`InternalServerException`, 500), and clients try it again. A
client that knows the cause can do better: damage does not pass, and a full disk waits for an operator.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

CAUSE_HEADER: Final = "x-snapstone-cause"
"""Beside a fault, in every protocol; absent if there is nothing to say beyond the fault's code."""


class Cause(StrEnum):
    """What the header says."""

    DAMAGED = "damaged"
    """What is stored does not hold what was written."""
    FULL = "full"
    """The disk has no space left for what was to be stored."""
    LOST = "lost"
    """The data folder is gone, or is another one."""
