"""The function behind each operation of rbin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

RBIN_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {}
