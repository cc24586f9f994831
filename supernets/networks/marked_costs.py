"""Exact costs of the subnets of a marked network, traced once for each block and not each subnet.

A module's own parameters and multiply-accumulates depend on few decisions. Which they are is found
by changing decisions one at a time; then a table is filled by tracing one subnet for each
combination of these few that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from supernets.spaces.base import SearchSpace

#: Subnets that are drawn to change decisions in, and others that check what was found.
_MAX_BASES, _NUM_CHECKS = 1000, 8


class MarkedCosts:
    """Counts what subnets cost.

    Args:
        trace: Builds the subnet of choices on the meta device, in eval mode; it knows the size of
            its images as ``input_size``.
    """

    def __init__(self, trace: Callable[[tuple[int, ...]], nn.Module], input_size: tuple[int, ...]):
        self._trace, self._input_size = trace, input_size
        self._seen: dict[tuple[int, ...], dict[str, tuple[int, int]]] = {}
        #: Decisions that modules depend on, and for their choices (params, macs) of these modules.
        self._tables: dict[tuple[int, ...], dict[tuple[int, ...], tuple[int, int]]] | None = None
        self._module_keys: dict[str, tuple[int, ...]] = {}

    def count(
        self, space: SearchSpace, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts params and macs, (num_archs,), of choices (num_archs, num_decisions)."""
        if self._tables is None:
            self._find_dependencies(space)
        assert self._tables is not None
        total = np.zeros((len(choices), 2), np.int64)
        for key, table in self._tables.items():
            columns = choices[:, list(key)]
            rows, first, inverse = np.unique(
                columns, axis=0, return_index=True, return_inverse=True
            )
            for row, index in zip(map(tuple, rows.tolist()), first, strict=True):
                if row not in table:
                    self._fill(tuple(choices[index].tolist()))
            costs = np.array([table[tuple(row)] for row in rows.tolist()], np.int64)
            total += costs[inverse.reshape(-1)]
        return total[:, 0], total[:, 1]

    def _find_dependencies(self, space: SearchSpace) -> None:
        """Finds the decisions that each module's own costs depend on."""
        rng = np.random.default_rng(0)
        bases = [space.architecture([allowed[-1] for allowed in space.allowed]).choices]
        bases.append(space.sample(rng).choices)
        seen = space.is_active(np.array(bases)).any(axis=0)
        for _ in range(_MAX_BASES):  # until every decision has an effect in one of them
            if seen.all():
                break
            drawn = space.sample_choices(1, rng)
            is_active = space.is_active(drawn)[0]
            if (is_active & ~seen).any():
                seen |= is_active
                bases.append(tuple(drawn[0].tolist()))
        found: dict[str, set[int]] = {}
        for base in bases:
            before = self._costs_of(base)
            for name in before:
                found.setdefault(name, set())
            for i, allowed in enumerate(space.allowed):
                for option in allowed:
                    changed = list(base)
                    changed[i] = option
                    now = self._costs_of(space.architecture(changed).choices)
                    for name in before.keys() | now.keys():
                        if before.get(name) != now.get(name):
                            found.setdefault(name, set()).add(i)
        self._module_keys = {name: tuple(sorted(each)) for name, each in found.items()}
        self._set_tables()
        everything = tuple(range(len(space.decisions)))
        for _ in range(_NUM_CHECKS):
            arch = space.sample(rng).choices
            self.count(space, np.array([arch]))
            for name in self._unlike(arch):
                self._module_keys[name] = everything
        self._set_tables()

    def _set_tables(self) -> None:
        """Starts tables for the decisions found so far, of all subnets that were traced."""
        self._tables = {key: {} for key in dict.fromkeys(self._module_keys.values())}
        for choices in list(self._seen):
            self._fill(choices)

    def _fill(self, choices: tuple[int, ...]) -> None:
        """Adds what a subnet says to all tables."""
        assert self._tables is not None
        costs = self._costs_of(choices)
        for name in costs.keys() - self._module_keys.keys():  # a module that was never met
            self._module_keys[name] = tuple(range(len(choices)))
            self._tables.setdefault(self._module_keys[name], {})
        sums: dict[tuple[int, ...], tuple[int, int]] = dict.fromkeys(self._tables, (0, 0))
        for name, (params, macs) in costs.items():
            key = self._module_keys[name]
            sums[key] = (sums[key][0] + params, sums[key][1] + macs)
        for key, cost in sums.items():
            self._tables[key].setdefault(tuple(choices[i] for i in key), cost)

    def _unlike(self, choices: tuple[int, ...]) -> list[str]:
        """The modules whose tables say something else than a trace of the subnet does."""
        assert self._tables is not None
        costs = self._costs_of(choices)
        wrong = []
        for key, table in self._tables.items():
            names = [name for name, each in self._module_keys.items() if each == key]
            own = [costs.get(name, (0, 0)) for name in names]
            traced = (sum(each[0] for each in own), sum(each[1] for each in own))
            if table[tuple(choices[i] for i in key)] != traced:
                wrong += names
        return wrong

    def _costs_of(self, choices: tuple[int, ...]) -> dict[str, tuple[int, int]]:
        """Own (params, macs) of each module of a subnet, by its name, where there are any."""
        if choices not in self._seen:
            self._seen[choices] = own_costs(self._trace(choices), self._input_size)
        return self._seen[choices]


def own_costs(network: nn.Module, input_size: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Counts what each module costs beside the modules in it.

    Args:
        network: A network on the meta device, in eval mode.
        input_size: Images as (channels, height, width).

    Returns:
        Parameters and multiply-accumulates for one image by names of modules, where there are any.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *input_size, device="meta"))
    root = type(network).__name__
    flops = {
        name.removeprefix(root).removeprefix("."): sum(ops.values())
        for name, ops in counter.get_flop_counts().items()
        if name != "Global"
    }
    own = {}
    for name, module in network.named_modules():
        macs = flops.get(name, 0) - sum(
            flops.get(f"{name}.{child}".lstrip("."), 0) for child, _ in module.named_children()
        )
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if macs or params:
            own[name] = (params, macs // 2)
    return own
