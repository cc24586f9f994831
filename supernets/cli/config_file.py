"""Reads YAML files of options, every value as the text that stands there.

YAML 1.1 makes 8 of ``010``, 90 of ``1:30``, false of ``no`` and a date of ``2024-01-01``. Here it
is left to the types of the options what a text means, so that a file says the same as flags do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode

from supernets.runtime.text_files import read_text

_READ_AS_USUAL = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}


def _text_resolvers() -> dict[Any, list[tuple[str, Any]]]:
    """What becomes of a scalar by its looks, by first character: nulls and merges alone."""
    usual = yaml.SafeLoader.yaml_implicit_resolvers
    return {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _READ_AS_USUAL]
        for first, resolvers in usual.items()
    }


class _TextLoader(yaml.SafeLoader):
    """Reads scalars as text, but for null; refuses keys that a mapping has twice."""

    yaml_implicit_resolvers = _text_resolvers()

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = str(key_node.value).replace("-", "_")
            if key in keys and key_node.tag != _READ_AS_USUAL[1]:
                raise ConstructorError(
                    None, None, f"{key_node.value!r} is there twice", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


def read_config(path: Path) -> dict[str, str | list[str] | None]:
    """Reads the options of a file, by name as it is written there.

    Raises:
        ValueError: If the file cannot be read, or holds something other than options, each with a
            value, a list of values, or null.
    """
    try:
        options = yaml.load(read_text(path), _TextLoader)  # noqa: S506
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ValueError(f"{path} must hold 'option: value' lines, got a {type(options).__name__}")
    return {str(name): _plain(value, f"{path}: {name}") for name, value in options.items()}


def read_boolean(text: str) -> bool | None:
    """Returns the boolean that a text stands for in YAML, or None if it stands for none."""
    return _BOOLEANS.get(text.lower())


def _plain(value: object, where: str) -> str | list[str] | None:
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise ValueError(f"{where} must be a list of plain values, got {_shown(value)}")
        return value
    if isinstance(value, dict):
        raise ValueError(f"{where} must be a value or a list of values, got {_shown(value)}")
    return None if value is None else str(value)


def _shown(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:60]}…"
