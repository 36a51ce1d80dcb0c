"""The function behind each operation of KMS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

KMS_OPERATIONS: Final[Mapping[str, Callable[..., dict[str, object]]]] = {}
