"""Which split a recorded accuracy is of: a search goes by validation, test is for the report."""

from __future__ import annotations

import re
from typing import Literal

Split = Literal["valid", "test"]


def split_of_name(column: str) -> Split | None:
    """Returns the split that the name of a column speaks of; None where it does not say."""
    words = re.split(r"[^a-z]+", column.lower())
    if "test" in words:
        return "test"
    return "valid" if {"val", "valid", "validation"} & set(words) else None


def test_warning(column: str) -> str:
    """Returns the warning on a search by test accuracy."""
    return (
        f"The search goes by test accuracy ({column}): what it finds was chosen by the images it "
        "is judged on, so its value is too high for a result. Where validation accuracies are "
        "recorded, search by those and give this column as --test-column."
    )
