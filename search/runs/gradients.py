"""A whole search by gradients: from a job to the files of its run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timm.utils import random_seed

from estimators.benchmarks.tabular import TabularEstimator
from search.differentiable.checkpoint import read_search_checkpoint
from search.differentiable.derivation import Derived, entropy
from search.differentiable.loop import DifferentiableSearch
from search.report.verdict import (
    Verdict,
    judge_alphas,
    judge_truth,
    next_commands,
)
from search.runs.gradient_job import GradientJob
from search.runs.job import SearchJob
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders, create_loaders
from supernets.export.cell_drawing import draw_cells
from supernets.networks.factory import create_relaxed_network
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.device import device_of_rank
from supernets.runtime.digests import by_content, unchecked_inputs
from supernets.runtime.foreign_fields import check_dict
from supernets.runtime.instances import check_instance, checked_path
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.ranks import ranks_from_environment
from supernets.runtime.versions import versions
from supernets.spaces import Architecture, CellSpace
from supernets.spaces.code_of_files import code_of
from supernets.spaces.factory import create_space
from supernets.training.checkpoint_fields import steps_done
from supernets.training.evaluation import chance_top1
from supernets.training.loop import TrainResult
from supernets.training.run import check_arguments, check_same_settings, running

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GradientResult:
    """What a search by gradients has come to.

    Args:
        training: How it ended.
        summary: What ``best.json`` holds; empty where the search is not finished, and on all
            processes of ``torchrun`` but the main one.
        arch: The derived architecture, likewise; None in place of empty.

    Example:
        >>> result = search_by_gradients(GradientJob("gdas"), "runs/gdas")  # doctest: +SKIP
        >>> result.training.is_finished, result.summary["best"]  # doctest: +SKIP
    """

    training: TrainResult
    summary: Mapping[str, Any]
    arch: Architecture | None


def search_by_gradients(
    job: GradientJob,
    output: str | Path,
    *,
    device: str = "auto",
    num_workers: int = 2,
    checkpoint_minutes: float = 10.0,
    outputs: Outputs | None = None,
    args: Mapping[str, Any] | None = None,
) -> GradientResult:
    """Searches by gradients of architecture parameters of a network of all operations.

    Keeps in ``output`` ``last.pt``, from which the same call continues, what
    ``DifferentiableSearch`` writes, ``best.json`` and ``cells.png``. The global generators of
    Python, NumPy and PyTorch are seeded with the job's seed. Under ``torchrun`` all processes
    search together. SIGTERM and Ctrl-C finish the step, write a checkpoint and return.

    Args:
        job: What to search, how, and on which data.
        output: Folder of the run, which may be missing.
        device: Name of the device; "auto" for an accelerator if there is one.
        num_workers: Threads or processes that read images.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        outputs: What keeps the files of a command; None for its own.
        args: What ``args.json`` is to say of the call; None for what was given here.

    Returns:
        The result; its ``training`` says whether it is finished.

    Raises:
        ValueError: If the job cannot be done, or ``output`` holds another search. Nothing was
            written then.
        TrainingError: If a loss or a weight is not finite.

    Example:
        >>> from search import GradientJob, search_by_gradients
        >>> job = GradientJob("darts-tse", network={"channels": 4, "cells_per_stage": 1})
        >>> search_by_gradients(job, "runs/darts-tse").summary["best"]  # doctest: +SKIP
    """
    advice = "a SearchJob is for search" if isinstance(job, SearchJob) else "GradientJob() is one"
    check_instance("job", job, GradientJob, advice)
    asked: dict[str, Any] = {"num_workers": num_workers, "checkpoint_minutes": checkpoint_minutes}
    check_arguments(**asked)
    output, config = checked_path("output", output), job.settings
    ranks = ranks_from_environment()
    chosen_device = device_of_rank(device, ranks)
    recipe = job.weights
    with Outputs() if outputs is None else nullcontext(outputs) as written:
        written.own(output, ranks=ranks, kind="gradient search")
        checkpoint = _find_checkpoint(output)
        truth = _truth(job)
        loaders = create_loaders(
            job.data,
            batch_size=job.batch_size,
            seed=config.seed,
            device=chosen_device,
            num_workers=num_workers,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        random_seed(config.seed)
        settings = _settings(job, loaders, ranks.world_size, truth)
        search = DifferentiableSearch(
            partial(_make_network, job, loaders),
            loaders,
            config,
            recipe,
            output,
            device=chosen_device,
            ranks=ranks,
            true_values=None if truth is None else truth.values,
            run_settings={"settings": settings, "versions": versions()},
        )
        resumed_at = []
        if checkpoint is not None:
            _check_same_search(output, checkpoint, settings)
            search.restore(checkpoint)
            resumed_at = [checkpoint["stage"], steps_done(output / "last.pt", checkpoint)]
        with running(
            written,
            output,
            loaders.splits,
            ranks=ranks,
            device=chosen_device,
            resumed_at=resumed_at,
            args=args or {**vars(job), "output": output, "device": str(chosen_device), **asked},
        ):
            training = search.run(checkpoint_minutes)
        if not training.is_finished or not ranks.is_main:
            return GradientResult(training, {}, None)
        with saying_what_is_safe(lambda: f"The training is finished: {training.checkpoint}."):
            return _finish(job, output, search, training)


def _make_network(
    job: GradientJob, loaders: Loaders, op_mask: NDArray[np.bool_] | None, partial_channels: int
) -> RelaxedNetwork:
    return create_relaxed_network(
        job.space,
        op_mask=op_mask,
        partial_channels=partial_channels,
        num_classes=loaders.num_classes,
        input_size=loaders.input_size,
        **job.network,
    )


def _settings(
    job: GradientJob, loaders: Loaders, world_size: int, truth: TabularEstimator | None
) -> dict[str, Any]:
    """All that decides the result, in the plain types that a checkpoint has it in."""
    settings: dict[str, Any] = {
        "algorithm": job.algorithm,
        "space": job.space,
        **job.network,
        **asdict(job.settings),
        **asdict(job.weights),
        **loaders.settings,
        "batch_size": job.batch_size,
        "world_size": world_size,
        "table": None if job.table is None or job.table.table is None else job.table.table.name,
        "table_digest": None if truth is None else truth.digest,
        "table_column": None if truth is None else truth.column,
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _find_checkpoint(output: Path) -> dict[str, Any] | None:
    path = output / "last.pt"
    return read_search_checkpoint(path) if path.exists() else None


def _check_same_search(
    output: Path, checkpoint: dict[str, Any], settings: Mapping[str, Any]
) -> None:
    path = output / "last.pt"
    stored, unchecked = by_content(check_dict(path, checkpoint, "settings"), settings)
    check_same_settings(output, stored, settings)
    if unchecked:
        _logger.warning(unchecked_inputs(path, unchecked))


def _truth(job: GradientJob) -> TabularEstimator | None:
    if job.table is None:
        return None
    assert job.table.table is not None and job.table.column is not None
    return TabularEstimator.open(
        job.table.table,
        create_space(job.space),
        arch_column=job.table.arch_column,
        value_column=job.table.column,
        split="test",
        trust_pickle=job.table.trust_pickle,
    )


def _verdict(output: Path, search: DifferentiableSearch, arch: Architecture) -> Verdict:
    """Whether the result is any good, and what to do with it."""
    network = search.network
    num_kept = network.op_mask.sum(axis=2).ravel()
    verdict = judge_alphas(entropy(search.mean_weights()), num_kept[num_kept > 0].tolist())
    chance = verdict.facts["chance_top1"] = round(chance_top1(search.loaders), 2)
    rows = search.last_rows
    if rows:
        accuracy = rows[-1]["mixture_val_top1"]
        verdict.facts["mixture_val_top1"] = round(accuracy, 2)
        verdict.said.append(
            f"the mixture reaches {accuracy:.1f} % validation accuracy, chance is {chance:.1f} %"
        )
    if not network.space.has_convolution(arch):
        verdict.doubts.append("the derived cell has no convolution that its output depends on")
    if isinstance(search.true_values, dict):
        judge_truth(verdict, arch, search.true_values)
    verdict.next_commands = next_commands(output, network.space.name, loaders=search.loaders)
    return verdict


def _finish(
    job: GradientJob, output: Path, search: DifferentiableSearch, training: TrainResult
) -> GradientResult:
    """Writes ``best.json`` and a picture of the cells."""
    network, derived = search.network, search.derived()
    result = {
        "space": network.space.name,
        **code_of(network.space.name),
        "algorithm": job.algorithm,
        "relaxation": search.config.relaxation,
        "arch_gradient": search.config.gradient,
        "alpha_steps": search.alphas.steps,
        "best": [_described(search, derived)],
    }
    verdict = _verdict(output, search, derived.arch)
    result["verdict"] = verdict.as_json()
    say = _logger.warning if verdict.doubts else _logger.info
    say(verdict.line)
    with atomic_write(output / "best.json") as file:
        file.write(json.dumps({"status": "finished", **result}, indent=2) + "\n")
    assert isinstance(network.space, CellSpace)
    draw_cells(network.space, derived.arch, output / "cells.png")
    return GradientResult(training, result, derived.arch)


def _described(search: DifferentiableSearch, derived: Derived) -> dict[str, Any]:
    """What ``best.json`` says of the derived architecture."""
    network = search.network
    cost = CostModel(network.supernet).measure(derived.arch)
    described: dict[str, Any] = {
        "architecture": network.space.format(derived.arch),
        "cost": {"params": cost.params, "macs": cost.macs},
        "replaced_skips": derived.replaced_skips,
    }
    if search.true_values is not None and derived.arch in search.true_values:
        described["true_accuracy"] = search.true_values[derived.arch]
    return described
