"""The function behind each operation of IAM and of STS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

IAM_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {}
STS_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {}
