"""docs/api-coverage.md says what is offered, as it is now."""

from __future__ import annotations

from pathlib import Path

from snapstone.wire.coverage import document


def test_the_page_is_what_the_code_and_the_models_make() -> None:
    assert Path("docs/api-coverage.md").read_text() == document(), (
        "python -m snapstone.wire.coverage > docs/api-coverage.md"
    )


def test_the_page_names_every_ebs_operation() -> None:
    assert "6 of 6 operations." in document()
