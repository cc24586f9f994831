"""``supernet-rank``: how well cheap scores of subnets rank them, and at what cost."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import supernets.runtime.option_types as kinds
from estimators.executors.settings import ExecutorSettings
from estimators.ranking.macs_windows import AUTO, MIN_WINDOW_ARCHS, explicit_windows
from estimators.ranking.settings import TRUTHS, ComparisonSettings, TableTruthSettings
from estimators.scores.names import BENCHMARK_SCORES, SCORES
from estimators.scores.own_scores import (
    RankedName,
    own_scores,
    ranked_classes,
    train_batch_size,
)
from estimators.scores.registry import ESTIMATORS
from estimators.scores.settings import RANKED, ExtraStepsSettings, MultiScoreSettings
from supernets.cli.command_line import INTERRUPTED, command, print_result
from supernets.cli.command_parser import command_parser
from supernets.cli.option_flags import add_options, check_family, from_args, resolved
from supernets.cli.own_objects import Family, parse_with_own
from supernets.cli.run_options import AmpOptions
from supernets.runtime.named_objects import HOW_TO_NAME
from supernets.runtime.options import REQUIRED, Options, option
from supernets.runtime.trusted_code import trust_code_option

if TYPE_CHECKING:
    import torch

    from estimators.ranking.supernets import RankedSupernet
    from estimators.ranking.truth import Truth
    from supernets.data.loaders import Loaders
    from supernets.networks.base import Supernet
    from supernets.spaces import Architecture

PROGRAM = "supernet-rank"
#: Whose objects of one's own bring flags.
_FAMILIES = {"estimators": Family(ESTIMATORS, attrgetter("settings"), RANKED.values)}


@dataclass(frozen=True)
class _Ranked(Options):
    """What the command ranks."""

    supernet: tuple[Path, ...] = option(
        None,
        "checkpoints of supernet-train, such as those of several seeds",
        kinds.path,
        nargs="+",
        metavar="FILE",
        default_text=REQUIRED,
    )
    trust_code: bool = trust_code_option()
    data_dir: Path | None = option(
        None, "where the data is", kinds.path, metavar="DIR", default_text="as in training"
    )
    num_archs: int | None = option(
        None,
        "random architectures",
        kinds.Whole(3, kinds.POOL.most),
        metavar="N",
        default_text="200",
    )
    archs: Path | None = option(
        None,
        "text file of architectures, one a line, in place of random ones",
        kinds.path,
        metavar="FILE",
    )
    archs_per_window: int | None = option(
        None,
        "random architectures within each of the --macs-windows, in place of random ones of any "
        "costs",
        kinds.Whole(MIN_WINDOW_ARCHS, kinds.POOL.most),
        metavar="N",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.supernet)) < len(self.supernet):
            raise ValueError("--supernet names a file twice; give each once.")
        if self.archs is not None and self.num_archs is not None:
            raise ValueError("--archs says which architectures; leave --num-archs out.")
        others = {"--archs": self.archs, "--num-archs": self.num_archs}
        given = [flag for flag, value in others.items() if value is not None]
        if self.archs_per_window is not None and given:
            raise ValueError(f"--archs-per-window draws the architectures; leave {given[0]} out.")


@dataclass(frozen=True)
class _Scores(Options):
    """Which scores the command compares."""

    estimators: tuple[str, ...] = option(
        SCORES,
        f"which to compare, of {', '.join(SCORES)}, and {', '.join(BENCHMARK_SCORES)}, costs as "
        f"the tables of NAS-Bench-201 have them, or your own as {HOW_TO_NAME}",
        RankedName(),
        nargs="+",
        metavar="NAME",
        default_text=f"all but {' and '.join(BENCHMARK_SCORES)}",
    )


@dataclass(frozen=True)
class _Files(Options):
    """Where the command writes."""

    output: Path = option(
        None, "folder for all files of the run", kinds.path, metavar="DIR", default_text=REQUIRED
    )


def build_parser(estimators: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-rank``.

    Args:
        estimators: Estimators of one's own, whose settings are flags as well.

    Raises:
        ValueError: If there is no such estimator.
    """
    own = tuple(ESTIMATORS.find(name).settings for name in estimators)
    parser = command_parser(
        PROGRAM,
        "Compare cheap scores of subnets with what the subnets are truly worth. "
        "Ctrl-C stops; the same command again continues.",
    )
    for title, groups in (
        ("what to rank", (_Ranked,)),
        ("scores", (_Scores, ExtraStepsSettings, MultiScoreSettings, *own)),
        ("truth", tuple(TRUTHS.values())),
        ("comparison", (ComparisonSettings,)),
        ("run", (_Files, AmpOptions)),
        ("workers", (ExecutorSettings,)),
    ):
        group = parser.add_argument_group(title)
        for kind in groups:
            add_options(group, kind)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-rank`` and returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parse_with_own(build_parser, _FAMILIES, arguments)
    # here, as PyTorch takes seconds, for which --help and a wrong flag need not wait
    from estimators.executors import ExecutorFactory
    from estimators.ranking.ranking import find_windows, rank_scores
    from estimators.ranking.report import summary
    from estimators.ranking.truth import Truth, checked_truth, truth_of_table, truth_of_trainings
    from estimators.scores.from_scratch import own_folder
    from supernets.networks.factory import chosen_amp

    with command(PROGRAM, args) as run:
        ranked, output = from_args(_Ranked, args), from_args(_Files, args).output
        scores = from_args(_Scores, args).estimators
        check_family(ranked_classes(scores), scores, args, by="--estimators")
        settings, comparison = (
            from_args(MultiScoreSettings, args),
            from_args(ComparisonSettings, args),
        )
        own = {
            name: from_args(ESTIMATORS.find(name).settings, args)
            for name in scores
            if ESTIMATORS.is_own(name)
        }
        batch_size = train_batch_size(scores, settings, own_scores(scores, own))
        truth_settings = _truth_settings(args)
        _check_windows(ranked, comparison)
        machine = from_args(AmpOptions, args)
        device = machine.set_up()
        executors = ExecutorFactory(from_args(ExecutorSettings, args), device, machine.threads)
        data = _Data(ranked, device, machine.num_workers)
        space = data.supernets[0].space
        of_table = isinstance(truth_settings, TableTruthSettings)
        truth = truth_of_table(truth_settings, space) if of_table else Truth("", "%")
        archs = _architectures(ranked, comparison, truth, data.supernets[0])
        comparison = comparison.fitted(len(archs))
        find_windows(comparison, data.supernets[0], archs)
        if of_table:
            truth = checked_truth(truth, archs, is_asked_for=truth_settings.test_images is not None)
        run.outputs.own(output, kind="ranking")
        subjects = [data.ranked(i, batch_size) for i in range(len(data.supernets))]
        if not of_table:
            folder = truth_settings.folder or output / "truth"
            own_folder(run.outputs, folder, option="--truth-dir")
            loaders = data.open(0, truth_settings.batch_size)
            truth = truth_of_trainings(truth_settings, folder, data.supernets[0], loaders, device)
        try:
            ranking = rank_scores(
                subjects,
                archs,
                truth,
                scores,
                output=output,
                settings=settings,
                own_settings=own,
                comparison=comparison,
                device=device,
                amp=chosen_amp(machine.amp, space.name, device),
                make_executor=executors.create,
                outputs=run.outputs,
                args=resolved(args, from_args(_Scores, args), comparison, machine),
                command=shlex.join([PROGRAM, *arguments]),
            )
        except KeyboardInterrupt:
            if not run.outputs.has_begun:
                raise
            print_result({"status": "interrupted", "continue": "the same command again"})
            run.status = INTERRUPTED
        else:
            found = {**summary(ranking.result), **executors.lost_workers}
            print_result({"status": "finished", **found, "files": output})
    return run.status


def _truth_settings(args: argparse.Namespace) -> Any:
    """What the truth is: a table, or trainings."""
    if (args.table is None) == (args.truth_epochs is None):
        raise ValueError(
            "The truth is either in a --table or trained for --truth-epochs; give one of them."
        )
    chosen = "--table" if args.table is not None else "--truth-epochs"
    check_family(TRUTHS, chosen, args, by="a truth of")
    return from_args(TRUTHS[chosen], args)


def _check_windows(ranked: _Ranked, comparison: ComparisonSettings) -> None:
    """Makes sure that it is known where architectures are drawn."""
    if ranked.archs_per_window is None:
        return
    if comparison.macs_windows is None or AUTO in comparison.macs_windows:
        raise ValueError(
            "--archs-per-window draws within the windows of --macs-windows; give their MACs"
            + (f", in place of {AUTO}." if comparison.macs_windows else ".")
        )


def _architectures(
    ranked: _Ranked, comparison: ComparisonSettings, truth: Truth, supernet: Supernet
) -> list[Architecture]:
    """The architectures to rank: of a file, or random ones of the table, within windows or not."""
    from estimators.ranking.architectures import sample_evaluation_set, sample_within_windows
    from supernets.cost.analytic import CostModel

    num_archs, seed = ranked.archs_per_window, comparison.seed
    if num_archs is not None:
        windows = explicit_windows(comparison.macs_windows or (), comparison.macs_tolerance)
        return sample_within_windows(
            CostModel(supernet), truth.table, windows, num_archs, seed=seed
        )
    return sample_evaluation_set(
        supernet.space, truth.table, path=ranked.archs, num_archs=ranked.num_archs, seed=seed
    )


class _Data:
    """The supernets and their data; what several were trained on is read once.

    Raises:
        ValueError: If a checkpoint cannot be read, or the supernets are not of one space.
    """

    def __init__(self, ranked: _Ranked, device: torch.device, num_workers: int) -> None:
        from estimators.ranking.supernets import check_alike
        from supernets.training.checkpoint import read_training_checkpoint, trained_supernet

        self._ranked, self._device, self._num_workers = ranked, device, num_workers
        self._checkpoints = [
            read_training_checkpoint(path, trust_code=ranked.trust_code) for path in ranked.supernet
        ]
        self.supernets = [
            trained_supernet(checkpoint, path, device)
            for checkpoint, path in zip(self._checkpoints, ranked.supernet, strict=True)
        ]
        check_alike(self.supernets, ranked.supernet)
        self._opened: list[tuple[Any, Loaders]] = []

    def ranked(self, i: int, batch_size: int) -> RankedSupernet:
        """Returns the i-th supernet with its data, see ``open``."""
        from estimators.ranking.supernets import RankedSupernet

        path = self._ranked.supernet[i]
        history = self._checkpoints[i].get("progress", {}).get("history", [])
        loaders = self.open(i, batch_size)
        return RankedSupernet(
            self.supernets[i], loaders, path.parent.name or path.stem, path, history
        )

    def open(self, i: int, batch_size: int) -> Loaders:
        """The loaders of the i-th supernet's data.

        Raises:
            ValueError: As ``reopen_data``.
        """
        from supernets.data.names import NOT_DECISIVE
        from supernets.training.checkpoint import reopen_data

        checkpoint = self._checkpoints[i]
        decisive = {k: v for k, v in checkpoint["data"].items() if k not in NOT_DECISIVE}
        key = (decisive, checkpoint["data_dir"], batch_size)
        for known, loaders in self._opened:
            if known == key:
                return loaders
        loaders = reopen_data(
            checkpoint,
            self._ranked.supernet[i],
            data_dir=self._ranked.data_dir,
            batch_size=batch_size,
            device=self._device,
            num_workers=self._num_workers,
        )
        self._opened.append((key, loaders))
        return loaders


if __name__ == "__main__":
    raise SystemExit(main())
