"""Reads genotypes as the DARTS community writes them, without evaluating anything.

Around the ``Genotype(…)`` may stand what people copy with it: the name it is given, a dotted
module, the beginning of a line of a log, comments.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence

_MAX_TEXT = 10_000  # characters
_MAX_RANGE = 100
_CALL = re.compile(r"\bGenotype\s*\(")
#: Up to the next bracket; strings and comments are passed over whole.
_PART = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|#[^\n]*|[()]", re.DOTALL)
#: What may follow: white space, commas and semicolons, comments, and ends of quotes and of JSON.
_NOTHING = re.compile(r"(?:[\s,;\"'}\]]|#[^\n]*)*")
#: What word processors and PDF files make of quotes and spaces.
_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u200b": " "})
#: Calls around one value that change nothing of it, as numpy prints scalars.
_WRAPPERS = re.compile(r"(?:u?int(?:8|16|32|64|p|_)?|str_?|tensor)")
_SEQUENCES = ("list", "tuple", "array")
#: What such a call may say beside the value, as torch prints tensors.
_IGNORED = ("device", "dtype")


def read_genotype(
    text: str, cells: Sequence[str], nodes: range
) -> dict[str, list[tuple[str, int]]]:
    """Reads the (operation, input) pairs of each cell of ``Genotype(cell=[…], cell_concat=…, …)``.

    Arguments may be given by position. Numbers and names may be numpy's, and what is concatenated
    a range or any sequence.

    Args:
        text: The genotype.
        cells: Names of the cells.
        nodes: The states that every cell must concatenate.

    Raises:
        ValueError: If ``text`` is something else; says why in a clause without a full stop.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"it has {len(text):,} characters")
    call = _parse_call(_cut_out(text.translate(_PLAIN)))
    names = [f"{cell}{suffix}" for cell in cells for suffix in ("", "_concat")]
    given = [*names[: len(call.args)], *(keyword.arg for keyword in call.keywords)]
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    if len(given) != len(values) or sorted(map(str, given)) != sorted(names):
        raise ValueError(f"it needs exactly {', '.join(f'{name}=…' for name in names)}")
    try:
        fields = {name: _value(node) for name, node in zip(given, values, strict=True)}
    except RecursionError as error:
        raise ValueError("it is no Genotype(…): its brackets are too deep") from error
    for cell in cells:
        concat = fields[f"{cell}_concat"]
        states = concat if isinstance(concat, list) else []
        if not all(type(state) is int for state in states) or sorted(states) != list(nodes):
            expected = f"range({nodes.start}, {nodes.stop}), all nodes"
            raise ValueError(f"{cell}_concat is not {expected}, but {_shown(concat)}")
    return {cell: _pairs(cell, fields[cell]) for cell in cells}


def _cut_out(text: str) -> str:
    """The call of ``Genotype`` alone."""
    calls = list(_CALL.finditer(text))
    if not calls:
        raise ValueError("it is no Genotype(…)")
    if len(calls) > 1:
        raise ValueError(f"it holds {len(calls)} of Genotype(…); give one of them")
    depth = 0
    for part in _PART.finditer(text, calls[0].start()):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0 and part[0] == ")":
            rest = text[part.end() :]
            if _NOTHING.fullmatch(rest) is None:
                raise ValueError(f"it is no Genotype(…) alone, {_shown(rest.strip())} follows it")
            return text[calls[0].start() : part.end()]
    raise ValueError("it is no Genotype(…): a parenthesis is not closed, so its end is missing")


def _parse_call(text: str) -> ast.Call:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful Python: it is an error here anyway
            call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f" that Python can read: {error.msg}" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"it is no Genotype(…){reason}") from error
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise ValueError("it is no Genotype(…)")
    return call


class _Unreadable:
    """An expression that is no plain value; shown as it was written."""

    def __init__(self, node: ast.expr) -> None:
        self._node = node

    def __repr__(self) -> str:
        return ast.unparse(self._node)


def _value(node: ast.expr) -> object:
    """What an expression stands for if it is plain: numbers, names, and lists of them."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(element) for element in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        operand = _value(node.operand)
        return -operand if type(operand) is int else _Unreadable(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _value(node.left), _value(node.right)
        if isinstance(left, list) and isinstance(right, list):
            return left + right
        return left + right if type(left) is type(right) is int else _Unreadable(node)
    if isinstance(node, ast.Call) and all(k.arg in _IGNORED for k in node.keywords):
        return _called(node)
    return _Unreadable(node)


def _called(node: ast.Call) -> object:
    """The value of the few calls that are known."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else None
    if isinstance(node.func, ast.Name):
        name = node.func.id
    arguments = [_value(argument) for argument in node.args]
    if name in ("range", "arange") and 1 <= len(arguments) <= 3:
        bounds = [bound for bound in arguments if type(bound) is int]
        if len(bounds) == len(arguments) and 0 not in bounds[2:]:
            states = range(*bounds)
            if len(states) <= _MAX_RANGE:
                return list(states)
    elif len(arguments) == 1:
        (argument,) = arguments
        if name in _SEQUENCES and isinstance(argument, list):
            return argument
        if name is not None and _WRAPPERS.fullmatch(name) and type(argument) in (int, str):
            return argument
    return _Unreadable(node)


def _pairs(cell: str, value: object) -> list[tuple[str, int]]:
    if not isinstance(value, list):
        raise ValueError(f"{cell} is no list")
    if value and all(_is_group(element) for element in value):  # of the pairs of a node
        value = [pair for group in value for pair in group]
    for pair in value:
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and _is_index(pair[1])
        ):
            shown = _shown(tuple(pair) if isinstance(pair, list) else pair)
            raise ValueError(f"{shown} in {cell} is not of the form ('op', input)")
    return [(op, int(source)) for op, source in value]


def _is_index(value: object) -> bool:
    """Whether a value is a whole number, also as tables of floats have it."""
    return type(value) is int or (type(value) is float and value.is_integer())


def _is_group(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, list) for v in value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
