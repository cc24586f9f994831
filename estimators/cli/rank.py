"""``supernet-rank``: how well cheap scores of subnets rank them, and at what cost."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from estimators.cli.rank_options import PROGRAM, build_parser, check_args
from estimators.executors import ExecutorError, ExecutorFactory, ExecutorSettings
from estimators.executors.measure import measure_all, train_all, trial_of_scores
from estimators.factory import create_multi_score
from estimators.ranking.architectures import sample_evaluation_set
from estimators.ranking.comparison import compare_epochs, compare_scores, not_measured
from estimators.ranking.facts import noise_ceiling, supernet_facts
from estimators.ranking.report import summary, write_csv, write_report
from estimators.ranking.scores import common_scores, score_units
from estimators.ranking.truth import Truth, checked_truth, truth_of_table, truth_of_trainings
from estimators.scores.combined import MIN_NUM_KNOWN
from estimators.scores.combined_estimator import Reference
from estimators.scores.from_scratch import own_folder
from estimators.scores.minibatches import draw_minibatches
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.names import BENCHMARK_SCORES, COST_SCORES, Score
from estimators.scores.revisions import revisions
from estimators.scores.score_tables import check_measured, combined_features
from estimators.scores.settings import FromScratchSettings, MultiScoreSettings
from estimators.trials.store import Trial, TrialStore
from supernets.cli.command_line import (
    INTERRUPTED,
    fail,
    parse_args,
    print_result,
    run_command,
    set_threads,
)
from supernets.cli.option_flags import from_args
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.data.names import NOT_DECISIVE
from supernets.networks.base import Supernet
from supernets.networks.factory import chosen_amp
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.device import resolve_device
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.run_record import write_args
from supernets.runtime.wording import plural
from supernets.spaces import Architecture
from supernets.training.checkpoint import (
    read_training_checkpoint,
    reopen_data,
    trained_supernet,
    weights_digest,
)
from supernets.training.evaluation import chance_top1


@dataclass(frozen=True)
class _Subject:
    """A supernet whose subnets are measured."""

    name: str
    path: Path
    digest: str
    multi_score: MultiScoreEstimator
    store: TrialStore
    settings: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    loaders: Loaders

    @property
    def num_val_images(self) -> int:
        """Number of images behind each validation accuracy."""
        num_images: int = self.loaders.val.num_images
        num_batches: int | None = self.settings.get("val_batches")
        if num_batches is None:
            return num_images
        return min(num_images, num_batches * self.loaders.val.batch_size)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-rank`` and returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parse_args(build_parser(), arguments)
    command = shlex.join([PROGRAM, *arguments])
    return run_command(
        PROGRAM,
        lambda outputs: _prepare(args, outputs, command),
        quiet=args.quiet,
        verbose=args.verbose,
    )


def _prepare(args: argparse.Namespace, outputs: Outputs, command: str) -> Callable[[], int]:
    measuring = check_args(args)
    set_threads(args.threads)
    device = resolve_device(args.device)
    executors = ExecutorFactory(from_args(ExecutorSettings, args), device, args.threads)
    checkpoints = [read_training_checkpoint(path) for path in args.supernet]
    supernets = [
        trained_supernet(checkpoint, path, device)
        for checkpoint, path in zip(checkpoints, args.supernet, strict=True)
    ]
    _check_alike(supernets, args.supernet)
    space = supernets[0].space
    truth = None if args.table is None else truth_of_table(args, space)
    table = None if truth is None else truth.table
    archs = sample_evaluation_set(
        space, table, path=args.archs, num_archs=args.num_archs, seed=args.seed
    )
    if args.top_k >= len(archs):
        raise ValueError(
            f"--top-k must be less than the {len(archs)} architectures, got {args.top_k}."
        )
    if truth is not None:
        truth = checked_truth(truth, archs, is_asked_for=args.truth_test_size is not None)
    outputs.own(args.output)
    data = _Data(args, checkpoints, device)
    amp = chosen_amp(args.amp, space.name, device)
    loaders = [data.open(i, measuring.batch_size) for i in range(len(supernets))]
    epochs = [len(each.train) for each in loaders]
    scores = common_scores(args.estimators, measuring, epochs)
    if truth is None:
        own_folder(outputs, args.truth_dir or args.output / "truth", option="--truth-dir")
        batch_size = args.truth_batch_size or FromScratchSettings.batch_size
        truth = truth_of_trainings(args, supernets[0], data.open(0, batch_size), device)
    outputs.create()
    subjects = [
        _subject(
            args,
            outputs,
            i,
            supernet,
            checkpoints[i],
            loaders[i],
            archs,
            measuring,
            device,
            amp,
        )
        for i, supernet in enumerate(supernets)
    ]
    cost_model = CostModel(supernets[0])

    def work() -> int:
        with saying_what_is_safe(partial(_what_is_safe, args, subjects)):
            return _rank(args, command, archs, truth, subjects, scores, cost_model, executors)

    return work


def _what_is_safe(args: argparse.Namespace, subjects: Sequence[_Subject]) -> str:
    num_measured = sum(subject.store.num_told for subject in subjects)
    return (
        f"{plural(num_measured, 'measurement')} and all finished trainings are safe in "
        f"{args.output}. Free space, or mend what is wrong there, and run the same command again."
    )


def _check_alike(supernets: Sequence[Supernet], paths: Sequence[Path]) -> None:
    """Makes sure that the subnets of all supernets can be told by one notation."""
    for supernet, path in zip(supernets, paths, strict=True):
        if supernet.space.name != supernets[0].space.name:
            raise ValueError(
                f"{path} is of space {supernet.space.name!r}, {paths[0]} of "
                f"{supernets[0].space.name!r}; compare supernets of one space."
            )
    if len(set(paths)) < len(paths):
        raise ValueError("--supernet names a file twice; give each once.")


class _Data:
    """The data of the supernets; what several were trained on is read once."""

    def __init__(
        self, args: argparse.Namespace, checkpoints: Sequence[dict[str, Any]], device: torch.device
    ) -> None:
        self._args, self._checkpoints, self._device = args, checkpoints, device
        self._opened: list[tuple[Any, Loaders]] = []

    def open(self, i: int, batch_size: int) -> Loaders:
        """The loaders of the i-th supernet's data.

        Raises:
            ValueError: As ``reopen_data``.
        """
        checkpoint = self._checkpoints[i]
        decisive = {k: v for k, v in checkpoint["data"].items() if k not in NOT_DECISIVE}
        key = (decisive, checkpoint["data_dir"], batch_size)
        for known, loaders in self._opened:
            if known == key:
                return loaders
        loaders = reopen_data(
            checkpoint,
            self._args.supernet[i],
            data_dir=self._args.data_dir,
            batch_size=batch_size,
            device=self._device,
            num_workers=self._args.num_workers,
        )
        self._opened.append((key, loaders))
        return loaders


def _subject(
    args: argparse.Namespace,
    outputs: Outputs,
    i: int,
    supernet: Supernet,
    checkpoint: Mapping[str, Any],
    loaders: Loaders,
    archs: Sequence[Architecture],
    measuring: MultiScoreSettings,
    device: torch.device,
    amp: bool,
) -> _Subject:
    """What one supernet is measured with, and where that is kept."""
    minibatches, settings = draw_minibatches(args.estimators, measuring, supernet, loaders)
    multi_score = create_multi_score(
        args.estimators, measuring, supernet=supernet, data=minibatches, device=device, amp=amp
    )
    digest = weights_digest(supernet)
    settings |= {"device": device.type, "amp": amp}
    header = {
        "space": supernet.space.name,
        "supernet": digest,
        "estimators": sorted(args.estimators),
        "settings": settings,
        "archs": [supernet.space.format(arch) for arch in archs],
        **revisions(supernet.space.name, args.estimators),
    }
    path = args.output / f"measurements-{digest[:12]}.db"
    outputs.new_file(path)
    store = TrialStore.open(path, header, supernet.space)
    outputs.close_on_failure(store.close)
    check_measured(path, store.trials, _stored(args.estimators))
    source = args.supernet[i]
    name = source.parent.name or source.stem
    history = checkpoint.get("progress", {}).get("history", [])
    return _Subject(name, source, digest, multi_score, store, settings, history, loaders)


def _stored(names: Sequence[str]) -> list[str]:
    """The scores that follow from measurements alone; costs are counted anew."""
    return [name for name in names if name not in (*COST_SCORES, *BENCHMARK_SCORES)]


def _rank(
    args: argparse.Namespace,
    command: str,
    archs: Sequence[Architecture],
    truth: Truth,
    subjects: Sequence[_Subject],
    scores: Sequence[Score],
    cost_model: CostModel,
    executors: ExecutorFactory,
) -> int:
    try:
        write_args(args.output, vars(args))
        trainer, create = truth.trainer, executors.create
        trained = () if trainer is None else train_all(archs, trainer, make_executor=create)
        measured = [_measure(subject, archs, executors) for subject in subjects]
    except KeyboardInterrupt:
        print_result({"status": "interrupted", "continue": "the same command again"})
        return INTERRUPTED
    except ExecutorError as error:
        return fail(PROGRAM, error)
    finally:
        for subject in subjects:
            subject.store.close()
    values = truth.table
    if values is None:
        values = {trial.arch: trial.score for trial in trained if trial.score is not None}
    lost = not_measured(measured)
    known = [i for i, arch in enumerate(archs) if arch in values and i not in lost]
    if len(known) <= args.top_k:
        num_trained = sum(arch in values for arch in archs)
        return fail(
            PROGRAM,
            ValueError(
                f"Of {len(archs)} architectures {num_trained} have a truth and "
                f"{len(archs) - len(lost)} could be measured, too few for a top {args.top_k}; "
                "where trainings from scratch diverged, lower --truth-lr."
            ),
        )
    true = np.array([values[archs[i]] for i in known])
    # costs do not depend on when or where something was measured, so they are those of now
    measured = [
        [
            replace(trials[i], metrics={**trials[i].metrics, **cost_model.metrics(archs[i])})
            for i in known
        ]
        for trials in measured
    ]
    notations = [cost_model.space.format(archs[i]) for i in known]
    num_known = _num_known(args, len(known))
    found = compare_scores(
        scores,
        measured,
        true,
        notations=notations,
        top_k=args.top_k,
        num_bootstrap=args.num_bootstrap,
        num_known=num_known,
        stability=args.stability,
        seed=args.seed,
    )
    early = None
    if trained:
        costs = np.array([[each["params"], each["macs"]] for each in found["archs"]], np.float64)
        trainings = [trained[i] for i in known]
        early = compare_epochs(trainings, costs, true, num_known=num_known, seed=args.seed)
    result: dict[str, Any] = {
        "space": cost_model.space.name,
        "num_archs": len(known),
        "top_k": args.top_k,
        "num_bootstrap": args.num_bootstrap,
        "date": date.today().isoformat(),
        "command": command,
        "truth": {
            "source": truth.source,
            "unit": truth.unit,
            "mean": float(true.mean()),
            "sd": float(true.std()),
            "best": float(true.max()),
            "test_images": truth.test_images,
            "failed": [cost_model.space.format(t.arch) for t in trained if t.score is None],
        },
        "noise_ceiling": noise_ceiling(
            true,
            test_images=truth.test_images,
            repeats=[np.array([each[archs[i]] for i in known]) for each in truth.repeats],
            seed=args.seed,
        ),
        "supernets": [
            {
                "name": subject.name,
                "path": str(subject.path),
                "digest": subject.digest,
                **supernet_facts(
                    trials,
                    subject.history,
                    chance=chance_top1(subject.loaders),
                    num_val_images=subject.num_val_images,
                ),
            }
            for subject, trials in zip(subjects, measured, strict=True)
        ],
        "settings": {**subjects[0].settings, **score_units(scores, len(subjects[0].loaders.train))},
        "not_measured": {cost_model.space.format(archs[i]): lost[i] for i in lost},
        **found,
        "early": early,
    }
    _write(args.output, result, scores, measured[0], true, subjects[0])
    counted = executors.lost_workers
    print_result({"status": "finished", **summary(result), **counted, "files": args.output})
    return 0


def _write(
    output: Path,
    result: Mapping[str, Any],
    scores: Sequence[Score],
    trials: Sequence[Trial],
    truth: NDArray[np.float64],
    subject: _Subject,
) -> None:
    """All files of a finished ranking."""
    Reference(
        digest=subject.digest,
        settings=subject.settings,
        scores=scores,
        features=combined_features(scores, trials),
        truth=truth,
        **revisions(result["space"], [score.name for score in scores]),
    ).write(output / "reference.json")
    with atomic_write(output / "ranking.json") as file:
        file.write(json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_csv(result, output / "ranking.csv")
    write_report(result, output / "report.html")


def _measure(
    subject: _Subject, archs: Sequence[Architecture], executors: ExecutorFactory
) -> Sequence[Trial]:
    trials = measure_all(
        archs,
        subject.store,
        partial(trial_of_scores, subject.multi_score),
        description=subject.name,
        make_executor=executors.create,
    )
    by_arch = {trial.arch: trial for trial in trials}
    return [by_arch[arch] for arch in archs]


def _num_known(args: argparse.Namespace, num_archs: int) -> int:
    """Returns how many truths a combined score is fitted to: those asked for, or a fifth."""
    if args.num_known is not None:
        num_known: int = args.num_known
        return num_known
    return max(MIN_NUM_KNOWN, num_archs // 5)


if __name__ == "__main__":
    raise SystemExit(main())
