"""Whether the result of a search is any good: one line, from what is known at its end."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.trials.store import Trial
from supernets.cost.analytic import CostModel
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.code_of_files import code_of
from supernets.spaces.factory import has_networks

if TYPE_CHECKING:
    from supernets.data.loaders import Loaders

#: Random subnets that are less than this part of the way from chance to 100 % say little.
LEARNED_PART = 1 / 3
#: Alphas whose entropy is below that of equal weights by less than this part have not moved; it is
#: that of alphas with a standard deviation of 0.06.
ENTROPY_PART = 1e-3


@dataclass
class Verdict:
    """What is known of a result.

    Args:
        facts: Plain values by name.
        said: Clauses that the line is made of.
        doubts: Reasons not to trust the result.
        next_commands: Commands that go on with the result.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    next_commands: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """All of it as one line."""
        parts = [*self.said, *(f"DOUBTFUL: {doubt}" for doubt in self.doubts)]
        return "; ".join(parts) + ("." if parts else "")

    def as_json(self) -> dict[str, Any]:
        """Returns plain values, for ``best.json``."""
        return {
            "text": self.line,
            "doubts": self.doubts,
            **self.facts,
            "next": self.next_commands,
        }


def judge_search(
    trials: Sequence[Trial],
    best: Trial,
    space: SearchSpace,
    *,
    cost_model: CostModel | None = None,
    loaders: Loaders | None = None,
    history: Sequence[Mapping[str, float]] = (),
    truth: Mapping[Architecture, float] | None = None,
    truth_is_of: str = "",
) -> Verdict:
    """Judges the best trial of a search.

    Args:
        trials: All trials that were told.
        best: The trial with the best score.
        space: Space that was searched.
        cost_model: Costs of the networks; None where there are none.
        loaders: Loaders of the data that scores were measured on; None for a table.
        history: Rows of the supernet's training, one per epoch.
        truth: True values of architectures, higher is better; None if they are not known.
        truth_is_of: Which part of the table these are, such as " within the limits".
    """
    verdict = Verdict()
    scored = [trial for trial in trials if trial.score is not None]
    if loaders is not None:
        _judge_accuracy(verdict, scored, loaders, history)
    _judge_scores(verdict, scored, best)
    if 2 * len(scored) < len(trials):
        verdict.doubts.append(f"{len(trials) - len(scored)} of {len(trials)} trials failed")
    if not space.has_convolution(best.arch):
        verdict.doubts.append("the chosen cell has no convolution that its output depends on")
    if truth is not None:
        judge_truth(verdict, best.arch, truth, truth_is_of)
    if cost_model is not None and len(scored) > 1:
        _judge_macs(verdict, scored, best, cost_model, truth)
    return verdict


def _judge_accuracy(
    verdict: Verdict,
    scored: Sequence[Trial],
    loaders: Loaders,
    history: Sequence[Mapping[str, float]],
) -> None:
    """Sets the accuracy of subnets beside chance."""
    from supernets.training.evaluation import chance_top1  # here, as PyTorch takes seconds

    chance = verdict.facts["chance_top1"] = round(chance_top1(loaders), 2)
    measured = [t.metrics["val_top1"] for t in scored if "val_top1" in t.metrics]
    last = history[-1] if history else {}
    if "probe_val_top1" in last:
        accuracy, whose = last["probe_val_top1"], "random subnets of the supernet"
    elif measured:
        accuracy, whose = float(np.mean(measured)), "the trials"
    else:
        return
    verdict.facts["mean_val_top1"] = round(accuracy, 2)
    verdict.said.append(
        f"{whose} reach {accuracy:.1f} % validation accuracy, chance is {chance:.1f} %"
    )
    if accuracy < chance + LEARNED_PART * (100 - chance):
        verdict.doubts.append("so little was learned that scores may say little; train longer")


def _judge_scores(verdict: Verdict, scored: Sequence[Trial], best: Trial) -> None:
    num_tied = sum(trial.score == best.score for trial in scored)
    if len(scored) == 1:
        verdict.doubts.append("only one trial has a score, so that nothing was chosen")
    elif len(scored) > 1 and num_tied == len(scored):
        verdict.doubts.append(f"all {num_tied} scores are equal, the choice is arbitrary")
    elif num_tied > 1:
        verdict.facts["num_tied"] = num_tied
        verdict.said.append(f"{num_tied} trials have the best score")


def judge_truth(
    verdict: Verdict, arch: Architecture, truth: Mapping[Architecture, float], truth_is_of: str = ""
) -> None:
    """Adds rank and regret of an architecture among all whose worth is known.

    Args:
        verdict: What it is added to.
        arch: The architecture.
        truth: True values of all that could have been found, higher is better.
        truth_is_of: Which part of the table these are, such as " within the limits".
    """
    if arch not in truth:
        return
    values = np.fromiter(truth.values(), np.float64, len(truth))
    own = truth[arch]
    rank, regret = int((values > own).sum()) + 1, float(values.max() - own)
    verdict.facts["truth"] = {
        "value": own,
        "rank": rank,
        "num_known": len(values),
        "best": float(values.max()),
        "regret": regret,
    }
    place = f"rank {rank} of {len(values)}{truth_is_of}, {regret:.3g} below the best"
    if rank == 1:
        place = f"the best of {len(values)}{truth_is_of}"
    verdict.said.append(f"worth {own:.4g} in the table, {place}")
    if own < np.median(values):
        verdict.doubts.append(f"more than half of these {len(values)} are better")


def _judge_macs(
    verdict: Verdict,
    scored: Sequence[Trial],
    best: Trial,
    cost_model: CostModel,
    truth: Mapping[Architecture, float] | None,
) -> None:
    """Compares with what costs nothing: taking the heaviest network."""
    macs = cost_model.measure_all(np.array([trial.arch.choices for trial in scored]))["macs"]
    own = next(int(m) for trial, m in zip(scored, macs, strict=True) if trial.arch == best.arch)
    rank = int((macs > own).sum()) + 1
    heaviest = scored[int(macs.argmax())]
    shown: dict[str, Any] = {
        "number": heaviest.number,
        "macs": int(macs.max()),
        "score": heaviest.score,
    }
    verdict.facts["macs"] = {"rank": rank, "num_trials": len(scored), "heaviest": shown}
    if macs.min() == macs.max():
        verdict.said.append("all trials have the same MACs")
        return
    verdict.said.append(f"number {rank} of {len(scored)} trials by MACs")
    if rank == 1:
        verdict.said.append("the heaviest, which MACs alone would have chosen")
    if rank == len(scored):
        verdict.doubts.append("the chosen network has the fewest MACs of all trials")
    if truth is not None and heaviest.arch in truth and best.arch in truth:
        shown["truth"] = truth[heaviest.arch]
        if truth[heaviest.arch] >= truth[best.arch] and heaviest is not best:
            verdict.doubts.append(
                f"the heaviest trial is worth {truth[heaviest.arch]:.4g} and costs no search"
            )


def judge_alphas(entropy_nats: float, num_alive: Sequence[int]) -> Verdict:
    """Judges whether a search by gradients has moved its alphas.

    Args:
        entropy_nats: Mean entropy of the weights of an edge.
        num_alive: Operations left on each edge.
    """
    verdict = Verdict()
    uniform = float(np.mean([math.log(number) for number in num_alive]))
    if uniform > 0:
        part = entropy_nats / uniform
        verdict.facts["entropy_of_uniform"] = round(part, 6)
        verdict.said.append(f"the alphas have {100 * part:.2f} % of the entropy of equal weights")
        if part > 1 - ENTROPY_PART:
            verdict.doubts.append(
                "nothing was learned: the alphas are still uniform and the cell is that of their "
                "random start; search longer, or with a higher --alpha-lr"
            )
    return verdict


def next_commands(
    output: Path,
    space: str,
    *,
    supernet: Path | None = None,
    exported: Path | None = None,
    loaders: Loaders | None = None,
    table_column: str | None = None,
) -> list[str]:
    """Lists the next commands for a result; words in capitals are for the user to replace.

    Args:
        output: Folder of the search.
        space: Name of the space.
        supernet: Checkpoint that was searched, if any.
        exported: Folder that the subnet was exported to, if it was.
        loaders: Loaders of the data that were searched on, if any.
        table_column: Column of the table that was searched instead; it may name the data set its
            networks were trained on.
    """
    if not has_networks(space):
        return []
    best, retrained = shlex.quote(str(output / "best.json")), shlex.quote(str(output / "retrained"))
    if exported is None and supernet is None:
        # of all data sets only that of the table fits, and its default is another
        data = _data_of_table(table_column or "") if loaders is None else _data_options(loaders)
        return [f"supernet-retrain --arch {best}{_flags(data)} --output {retrained}"]
    subnet = shlex.quote(str(exported or output / "subnet"))
    folder = None if loaders is None else loaders.data_dir
    # the export knows all of the data but a folder of this machine
    where = _flags({"data_dir": folder}) if folder is not None and folder.is_absolute() else ""
    trusting = " --trust-code" if code_of(space) else ""
    commands = [f"supernet-retrain --subnet {subnet}{where}{trusting} --output {retrained}"]
    if exported is None:
        source = shlex.quote(str(supernet))
        export = f"supernet-export --supernet {source}{trusting} --arch {best} --output {subnet}"
        commands.insert(0, export)
    return commands


def _data_of_table(column: str) -> dict[str, Any]:
    """The options of the data that the networks of a table were trained on, as far as is known."""
    squeezed = column.lower().replace("-", "").replace("_", "")
    known = (name for name in ("cifar100", "cifar10") if name in squeezed)
    dataset = next(known, "folder" if "imagenet" in squeezed else "DATASET")
    return {"dataset": dataset, "data_dir": "FOLDER"}


def _data_options(loaders: Loaders) -> dict[str, Any]:
    """The options of training that open the same images with the same splits, by name."""
    settings = loaders.settings
    usual: dict[str, Any] = {"val_fraction": 0.2, "seed": 0}
    changed = {name: settings[name] for name in usual if settings.get(name) != usual[name]}
    return {
        "dataset": settings["dataset"],
        "data_dir": loaders.data_dir,
        "image_size": None if loaders.data_dir is None else settings["image_size"],
        "val_fraction": changed.get("val_fraction"),
        "num_val": settings.get("requested_num_val"),
        "split_seed": changed.get("seed"),
        "skip_bad_images": loaders.skip_bad_images,
        **settings.get("timm_options", {}),
    }


def _flags(options: Mapping[str, Any]) -> str:
    given = {name: value for name, value in options.items() if value not in (None, False)}
    return "".join(
        f" --{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}")
        for name, value in given.items()
    )
