"""Reads genotypes as the DARTS community writes them, without evaluating anything."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

_MAX_TEXT = 10_000  # characters


def read_genotype(
    text: str, cells: Sequence[str], nodes: range
) -> dict[str, list[tuple[str, int]]]:
    """The (operation, input) pairs of each cell of ``Genotype(cell=[…], cell_concat=…, …)``.

    Args:
        text: The genotype.
        cells: Names of the cells.
        nodes: The states that every cell must concatenate.

    Raises:
        ValueError: If ``text`` is something else; says why in a clause without a full stop.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"it has {len(text):,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful Python: it is an error here anyway
            call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("it is no Genotype(…)") from error
    if not (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Genotype"
    ):
        raise ValueError("it is no Genotype(…)")
    names = [f"{cell}{suffix}" for cell in cells for suffix in ("", "_concat")]
    given = [keyword.arg for keyword in call.keywords]
    if call.args or sorted(map(str, given)) != sorted(names):
        raise ValueError(f"it needs exactly {', '.join(f'{name}=…' for name in names)}")
    fields = {keyword.arg: keyword.value for keyword in call.keywords}
    for cell in cells:
        if sorted(_read_concat(fields[f"{cell}_concat"], nodes)) != list(nodes):
            raise ValueError(f"{cell}_concat is not range({nodes.start}, {nodes.stop}), all nodes")
    return {cell: _read_pairs(cell, fields[cell]) for cell in cells}


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None


def _read_concat(node: ast.expr, nodes: range) -> list[int]:
    """A range or a list of states; empty if it is neither."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = [_literal(arg) for arg in node.args]
        if len(bounds) == 2 and bounds == [nodes.start, nodes.stop] and not node.keywords:
            return list(nodes)
        return []
    value = _literal(node)
    if not isinstance(value, list | tuple) or not all(type(state) is int for state in value):
        return []
    return list(value)


def _read_pairs(cell: str, node: ast.expr) -> list[tuple[str, int]]:
    value = _literal(node)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{cell} is no list")
    for pair in value:
        if not (
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and type(pair[1]) is int
        ):
            raise ValueError(f"{pair!r} in {cell} is not of the form ('op', input)")
    return [(op, source) for op, source in value]
