"""The decisions of a network with marks, and where in it they act."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from supernets.networks.marks import Mark
from supernets.spaces.architecture import Decision
from supernets.spaces.marked import MarkedDecision, MarkedSpace


def space_of(name: str, network: nn.Module) -> tuple[MarkedSpace, dict[int, list[Mark]]]:
    """Finds the decisions of a marked network.

    Args:
        name: Name of the space.
        network: The network.

    Returns:
        The space, and the marks of each decision by its index.

    Raises:
        ValueError: If there is no mark, one is in places of two decisions, or marks of one decision
            differ in their options.
    """
    marks: dict[str, list[Mark]] = {}
    names: dict[Mark, str] = {}
    places: dict[str, list[list[tuple[str, frozenset[int]]]]] = {}
    for decision, mark, conditions in marks_in(network, "", []):
        other = names.setdefault(mark, decision)
        if other != decision:
            raise ValueError(
                f"One {type(mark).__name__} is in two places, {other} and {decision}, and can be "
                "chosen once; make another for each, or give it a decision=… of both."
            )
        known = marks.setdefault(decision, [])
        if known and known[0].option_names != mark.option_names:
            raise ValueError(
                f"Marks of decision {decision!r} must have the same options, got "
                f"{', '.join(known[0].option_names)} and {', '.join(mark.option_names)}."
            )
        known.append(mark)
        places.setdefault(decision, []).append(conditions)
    order = {decision: i for i, decision in enumerate(marks)}
    marked = []
    for decision, found in marks.items():
        where = tuple(
            tuple((order[outer], options) for outer, options in conditions)
            for conditions in dict.fromkeys(map(tuple, places[decision]))
        )
        marked.append(MarkedDecision(Decision(decision, found[0].option_names), where))
    return MarkedSpace(name, marked), {order[each]: found for each, found in marks.items()}


def marks_in(
    module: nn.Module, path: str, conditions: list[tuple[str, frozenset[int]]]
) -> Iterator[tuple[str, Mark, list[tuple[str, frozenset[int]]]]]:
    """Yields the marks within a module, outer ones first, and what has to be chosen for them.

    Args:
        module: The module.
        path: Its name in the network.
        conditions: The outer decisions, and the options of each with which the module exists.

    Returns:
        An iterator over the name of the decision, the mark, and its conditions.
    """
    inner = conditions
    if isinstance(module, Mark):
        decision = module.decision or path or "network"
        yield decision, module, conditions
    for name, child in module.named_children():
        children = [(name, child)]
        if isinstance(module, Mark) and isinstance(child, nn.ModuleDict | nn.ModuleList):
            children = [(f"{name}.{each}", inside) for each, inside in child.named_children()]
        for child_name, inside in children:
            if isinstance(module, Mark):
                options = module.needed_for(child_name)
                is_always = len(options) == len(module.option_names)
                inner = conditions if is_always else [*conditions, (decision, options)]
            yield from marks_in(inside, f"{path}.{child_name}".lstrip("."), inner)
