"""How well cheap scores of subnets rank them: measured, compared, and written down."""

from __future__ import annotations

import logging
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from estimators.executors import Executor, InProcess, Measure
from estimators.executors.measure import measure_all, train_all, trial_of_scores
from estimators.ranking.macs_windows import MacsWindow, choose_windows
from estimators.ranking.report_windows import windows_facts
from estimators.ranking.result import Ranking, compare_measurements
from estimators.ranking.scores import common_scores
from estimators.ranking.settings import ComparisonSettings
from estimators.ranking.supernets import (
    MeasuredSupernet,
    RankedSupernet,
    check_alike,
    open_measurements,
)
from estimators.ranking.truth import Truth
from estimators.scores.names import SCORES
from estimators.scores.own_scores import own_scores
from estimators.scores.registry import ESTIMATORS
from estimators.scores.settings import EstimatorSettings, MultiScoreSettings
from estimators.trials.store import Trial
from supernets.cost.analytic import CostModel
from supernets.networks.base import Supernet
from supernets.runtime.device import resolve_device
from supernets.runtime.instances import check_instance, check_list, check_switch, checked_path
from supernets.runtime.option_types import shown
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.run_record import write_args
from supernets.runtime.wording import plural
from supernets.spaces import Architecture

_logger = logging.getLogger(__name__)


def rank_scores(
    supernets: Sequence[RankedSupernet],
    archs: Sequence[Architecture],
    truth: Truth | Mapping[Architecture, float],
    scores: Sequence[str] = SCORES,
    *,
    output: str | Path,
    settings: MultiScoreSettings | None = None,
    own_settings: Mapping[str, EstimatorSettings] | None = None,
    comparison: ComparisonSettings | None = None,
    device: torch.device | str = "cpu",
    amp: bool = False,
    make_executor: Callable[[Measure], Executor] = InProcess,
    outputs: Outputs | None = None,
    args: Mapping[str, Any] | None = None,
    command: str = "",
) -> Ranking:
    """Measures scores of subnets, and compares them with what the subnets are truly worth.

    What was measured is kept in ``output``: the same call with the same folder goes on from there.

    Args:
        supernets: One supernet, or several of one space, such as those of several seeds.
        archs: The architectures, each only once.
        truth: What they are worth, higher is better: values of all, or a ``Truth``.
        scores: Names of the scores, of ``SCORES`` and ``BENCHMARK_SCORES``; and those of one's own:
            ``package.module:Object`` or ``file.py:Object`` of an ``EstimatorDefinition``, or the
            name of an installed one. In the ranking they are called as their definitions say.
        output: Folder of the measurements and of what ``Ranking.write`` writes; may be missing.
        settings: Settings of built-in scores; None for the defaults.
        own_settings: Settings of scores of one's own by these names. Those that are not given take
            from ``settings`` what both have by the same flag, or are the defaults of their class.
        comparison: How they are compared; None for the defaults.
        device: Device of the supernets and their data; "auto" for an accelerator if there is one.
        amp: Whether to compute in bfloat16 autocast.
        make_executor: Builds the executor that measures.
        outputs: What a command writes, ``output`` included; None outside of one.
        args: What ``args.json`` is to say of the call; None for what was given here.
        command: The command line, for the report.

    Returns:
        The ranking, which is written as well.

    Raises:
        ValueError: If arguments do not go together, or the folder holds other measurements; then
            nothing is written.
        RankingError: If too few architectures could be measured or have a truth.
        OwnCodeError: If a score of one's own fails by no fault of an architecture.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from supernets import create_loaders, create_supernet
        >>> loaders = create_loaders("digits", batch_size=64, seed=0)
        >>> supernet = create_supernet(
        ...     "nasbench201", num_classes=10, input_size=(1, 8, 8), channels=2, cells_per_stage=1
        ... )
        >>> archs = [supernet.space.sample(np.random.default_rng(seed)) for seed in range(6)]
        >>> truth = {arch: float(sum(arch.choices)) for arch in archs}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ranking = rank_scores(
        ...         [RankedSupernet(supernet, loaders)],
        ...         archs,
        ...         truth,
        ...         ["macs", "params"],
        ...         comparison=ComparisonSettings(top_k=2, num_bootstrap=10),
        ...         output=folder,
        ...     )
        >>> sorted(ranking.spearman)
        ['macs', 'params']
    """
    check_list("supernets", supernets, RankedSupernet, "[RankedSupernet(supernet, loaders)] is one")
    check_list("archs", archs, Architecture)
    check_list("scores", scores, str, "['tse', 'macs'] is one")
    check_instance("settings", settings, (MultiScoreSettings, type(None)))
    check_instance("own_settings", own_settings, (Mapping, type(None)))
    check_instance("comparison", comparison, (ComparisonSettings, type(None)))
    check_instance("truth", truth, (Truth, Mapping), "{arch: accuracy, …} is one")
    check_switch("amp", amp)
    output, device = checked_path("output", output), resolve_device(device)
    if not scores:
        raise ValueError("There is no score to compare; give one at least, such as 'tse'.")
    own = own_scores(scores, own_settings, settings)
    names = tuple(dict.fromkeys(ESTIMATORS.own_name(name) for name in scores))
    settings = MultiScoreSettings() if settings is None else settings
    comparison = ComparisonSettings() if comparison is None else comparison
    if not isinstance(truth, Truth):
        truth = Truth("given values", "", truth)
    check_alike(
        [each.supernet for each in supernets], [each.path or each.name for each in supernets]
    )
    comparison = comparison.fitted(len(archs))
    _check_archs(archs, truth)
    windows, macs = find_windows(comparison, supernets[0].supernet, archs)
    epochs = [len(each.loaders.train) for each in supernets]
    chosen = common_scores(names, settings, epochs, [each.name for each in own])
    with nullcontext(outputs) if outputs is not None else Outputs() as written, ExitStack() as end:
        if outputs is None:
            written.own(output, kind="ranking")
        written.create()
        subjects = [
            open_measurements(each, archs, chosen, own, settings, output, written, device, amp)
            for each in supernets
        ]
        for subject in subjects:
            end.callback(subject.store.close)
        written.begin()
        _tell_windows(windows, macs)
        with saying_what_is_safe(partial(_what_is_safe, output, subjects)):
            given: dict[str, Any] = {
                "supernets": [{"name": each.name, "path": each.path} for each in supernets],
                "archs": [supernets[0].supernet.space.format(arch) for arch in archs],
                "truth": truth.source,
            }
            given |= {"scores": scores, "settings": settings, "comparison": comparison}
            given |= {"own_settings": {each.given: each.settings for each in own}} if own else {}
            given |= {"output": output, "device": str(device), "amp": amp}
            write_args(output, args or given)
            trained: Sequence[Trial] = ()
            if truth.trainer is not None:
                trained = train_all(archs, truth.trainer, make_executor=make_executor)
            measured = []
            for subject in subjects:
                trials = measure_all(
                    archs,
                    subject.store,
                    partial(trial_of_scores, subject.multi_score),
                    description=subject.given.name,
                    make_executor=make_executor,
                )
                measured.append(trials)
            found = compare_measurements(
                archs, truth, trained, measured, chosen, subjects, comparison, own, command=command
            )
            found.write(output)
            _tell_windows_found(found.result)
    return found


def find_windows(
    comparison: ComparisonSettings, supernet: Supernet, archs: Sequence[Architecture]
) -> tuple[tuple[MacsWindow, ...], NDArray[np.int64]]:
    """Finds the windows of MACs that a comparison asks for; none if it does not.

    Args:
        comparison: The settings of the comparison.
        supernet: Says what the architectures cost.
        archs: The architectures that are ranked.

    Returns:
        The windows, and the MACs of the architectures, (num_archs,), 0 without windows.

    Raises:
        ValueError: If a window holds too few of them, or one is of another space.
    """
    if comparison.macs_windows is None:
        return (), np.zeros(len(archs), np.int64)
    for arch in archs:
        supernet.space.validate(arch)
    macs = CostModel(supernet).measure_all(supernet.space.choices_of(archs))["macs"]
    return choose_windows(comparison.macs_windows, comparison.macs_tolerance, macs), macs


def _tell_windows(windows: Sequence[MacsWindow], macs: NDArray[np.int64]) -> None:
    """Says how many architectures there are in each window, and how many in none."""
    held = [window.holds(macs) for window in windows]
    for window, inside in zip(windows, held, strict=True):
        _logger.info("Within %s are %d of %d architectures.", window, inside.sum(), len(macs))
    if windows:
        num_outside = int((~np.any(held, axis=0)).sum())
        _logger.info("In no window: %s.", plural(num_outside, "architecture"))


def _tell_windows_found(result: Mapping[str, Any]) -> None:
    """Says of each window what ranks best in it, and what is free."""
    for facts in windows_facts(result):
        if facts.window["problem"] is not None:
            _logger.warning("Within %s: %s", facts.name, facts.window["problem"])
        elif facts.best is not None and facts.macs is not None:
            metrics, own = facts.best["metrics"], facts.macs["metrics"]
            _logger.info(
                "Within %s, of %d architectures: Spearman of %s %.3f, of MACs %.3f; its first lies "
                "%.4g below the best, the most MACs %.4g, a random pick %.4g.",
                facts.name,
                facts.window["num_archs"],
                facts.best["name"],
                metrics["spearman"]["mean"],
                own["spearman"]["mean"],
                metrics["regret"]["mean"],
                own["regret"]["mean"],
                facts.window["random"]["regret"]["mean"],
            )


def _check_archs(archs: Sequence[Architecture], truth: Truth) -> None:
    if len(set(archs)) < len(archs):
        raise ValueError("An architecture is given twice; give each once.")
    missing = 0 if truth.table is None else sum(arch not in truth.table for arch in archs)
    if missing:
        raise ValueError(f"The truth lacks {missing} of {len(archs)} architectures.")
    for values in (truth.table or {}, *truth.repeats):
        for arch in archs:
            value = values.get(arch, 0.0)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise ValueError(f"Values of the truth must be numbers, got {shown(value)}.")
    wrong = 0
    for values in (truth.table or {}, *truth.repeats):
        wrong += sum(not math.isfinite(values[arch]) for arch in archs if arch in values)
    if wrong:
        raise ValueError(
            f"{plural(wrong, 'value')} of the truth of {len(archs)} architectures "
            f"{'is' if wrong == 1 else 'are'} not finite; leave these architectures out."
        )


def _what_is_safe(output: Path, subjects: Sequence[MeasuredSupernet]) -> str:
    num_measured = sum(subject.store.num_told for subject in subjects)
    return (
        f"{plural(num_measured, 'measurement')} and all finished trainings are safe in {output}. "
        "Free space, or mend what is wrong there, and run the same command again."
    )
