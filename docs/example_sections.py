"""Lets the site show an ``Example:`` of a docstring as code; Griffe knows ``Examples:`` alone."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Reads ``Example:`` as what Griffe calls ``Examples:``."""

    def on_object(self, *, obj: griffe.Object, **others: Any) -> None:
        """Renames the section in the docstring of a module, class or function."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
