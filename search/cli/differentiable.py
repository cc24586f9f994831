"""``supernet-search`` with a differentiable algorithm."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timm.utils import random_seed

from estimators import TabularEstimator
from search.cli.differentiable_options import (
    PROGRAM,
    build_parser,
    check_options,
    network_settings,
    recipe,
    search_config,
)
from search.differentiable.derivation import entropy
from search.differentiable.loop import DifferentiableSearch, read_search_checkpoint
from search.report.verdict import (
    Verdict,
    has_convolution,
    judge_alphas,
    judge_truth,
    next_commands,
)
from supernets.cli.command_line import (
    parse_args,
    run_command,
    set_threads,
)
from supernets.cli.training_run import (
    check_same_settings,
    open_data,
    run_training,
)
from supernets.cost.analytic import CostModel
from supernets.export.cell_drawing import draw_cells
from supernets.networks.factory import chosen_amp, create_relaxed_network
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.device import device_of_rank
from supernets.runtime.digests import by_content, unchecked_inputs
from supernets.runtime.foreign_fields import check_dict
from supernets.runtime.outputs import Outputs
from supernets.runtime.ranks import ranks_from_environment
from supernets.runtime.versions import versions
from supernets.spaces import Architecture, CellSpace
from supernets.spaces.factory import create_space
from supernets.training.checkpoint_fields import steps_done
from supernets.training.evaluation import chance_top1
from supernets.training.loop import TrainResult

_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-search`` with a differentiable algorithm and returns the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(
        PROGRAM, lambda outputs: _prepare(args, outputs), quiet=args.quiet, verbose=args.verbose
    )


def _prepare(args: argparse.Namespace, outputs: Outputs) -> Callable[[], int]:
    check_options(args)
    set_threads(args.threads)
    ranks = ranks_from_environment()
    device = device_of_rank(args.device, ranks)
    amp = chosen_amp(args.amp, args.space, device)
    config = search_config(args)
    weights_recipe = recipe(args, config, amp)
    outputs.own(args.output, ranks=ranks)
    checkpoint = _find_checkpoint(args.output)
    truth = _truth(args)
    loaders = open_data(args, seed=args.seed, device=device, ranks=ranks)
    random_seed(args.seed)
    make_network = partial(
        _make_network,
        args.space,
        {
            "num_classes": loaders.num_classes,
            "input_size": loaders.input_size,
            **network_settings(args),
        },
    )
    # as a checkpoint has it, in plain types
    settings: dict[str, Any] = json.loads(
        json.dumps(
            {
                "algorithm": args.algorithm,
                "space": args.space,
                **network_settings(args),
                **asdict(config),
                **asdict(weights_recipe),
                **loaders.settings,
                "batch_size": args.batch_size,
                "world_size": ranks.world_size,
                "table": None if args.table is None else args.table.name,
                "table_digest": None if truth is None else truth.digest,
                "table_column": None if truth is None else truth.column,
            }
        )
    )
    search = DifferentiableSearch(
        make_network,
        loaders,
        config,
        weights_recipe,
        args.output,
        device=device,
        ranks=ranks,
        true_values=None if truth is None else truth.values,
        run_settings={"settings": settings, "versions": versions()},
    )
    if checkpoint is not None:
        stored, unchecked = by_content(
            check_dict(args.output / "last.pt", checkpoint, "settings"), settings
        )
        check_same_settings(args.output, stored, settings)
        if unchecked:
            _logger.warning(unchecked_inputs(args.output / "last.pt", unchecked))
        search.restore(checkpoint)

    def train() -> TrainResult:
        return search.run(args.checkpoint_minutes)

    return lambda: run_training(
        PROGRAM,
        args.output,
        vars(args),
        loaders.splits,
        train,
        ranks=ranks,
        device=device,
        resumed_at=[]
        if checkpoint is None
        else [checkpoint["stage"], steps_done(args.output / "last.pt", checkpoint)],
        on_finished=lambda: _hand_over(args, search),
        how_to_continue="the same command again",
    )


def _make_network(
    space: str,
    settings: Mapping[str, Any],
    op_mask: NDArray[np.bool_] | None,
    partial_channels: int,
) -> RelaxedNetwork:
    return create_relaxed_network(
        space, op_mask=op_mask, partial_channels=partial_channels, **settings
    )


def _find_checkpoint(output: Path) -> dict[str, Any] | None:
    if (output / "trials.db").exists():
        raise ValueError(f"{output} holds a search of another kind; choose another --output.")
    path = output / "last.pt"
    return read_search_checkpoint(path) if path.exists() else None


def _truth(args: argparse.Namespace) -> TabularEstimator | None:
    if args.table is None:
        return None
    return TabularEstimator.open(
        args.table,
        create_space(args.space),
        arch_column=args.arch_column,
        value_column=args.table_column,
        split="test",
        trust_pickle=bool(args.trust_pickle),
    )


def _verdict(args: argparse.Namespace, search: DifferentiableSearch, arch: Architecture) -> Verdict:
    """Whether the result is any good, and what to do with it."""
    network = search.network
    num_left = network.op_mask.sum(axis=2).ravel()
    verdict = judge_alphas(entropy(search.mean_weights()), num_left[num_left > 0].tolist())
    chance = verdict.facts["chance_top1"] = round(chance_top1(search.loaders), 2)
    rows = search.last_rows
    if rows:
        accuracy = rows[-1]["mixture_val_top1"]
        verdict.facts["mixture_val_top1"] = round(accuracy, 2)
        verdict.said.append(
            f"the mixture reaches {accuracy:.1f} % validation accuracy, chance is {chance:.1f} %"
        )
    if not has_convolution(network.space, arch):
        verdict.doubts.append("the derived cell has no convolution that its output depends on")
    if isinstance(search.true_values, dict):
        judge_truth(verdict, arch, search.true_values)
    verdict.next_commands = next_commands(args.output, args.space, loaders=search.loaders)
    return verdict


def _hand_over(args: argparse.Namespace, search: DifferentiableSearch) -> dict[str, Any]:
    """Writes ``best.json`` and a picture of the cells; what is printed of the search."""
    network, derived = search.network, search.derived()
    cost = CostModel(network.supernet).measure(derived.arch)
    best: dict[str, Any] = {
        "architecture": network.space.format(derived.arch),
        "cost": {"params": cost.params, "macs": cost.macs},
        "replaced_skips": derived.replaced_skips,
    }
    if search.true_values is not None and derived.arch in search.true_values:
        best["true_accuracy"] = search.true_values[derived.arch]
    result = {
        "space": network.space.name,
        "algorithm": args.algorithm,
        "relaxation": search.config.relaxation,
        "arch_gradient": search.config.gradient,
        "alpha_steps": search.alphas.steps,
        "best": [best],
    }
    verdict = _verdict(args, search, derived.arch)
    result["verdict"] = verdict.as_json()
    say = _logger.warning if verdict.doubts else _logger.info
    say(verdict.line)
    with atomic_write(args.output / "best.json") as file:
        file.write(json.dumps({"status": "finished", **result}, indent=2) + "\n")
    assert isinstance(network.space, CellSpace)
    draw_cells(network.space, derived.arch, args.output / "cells.png")
    return result
