"""`python -m snapstone`, and the `snapstone` command."""

from __future__ import annotations

import sys

from snapstone.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
