"""Names of estimators, and what each is built from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from torch import Tensor

from estimators.base import Estimator
from estimators.benchmarks.tabular import TabularEstimator
from estimators.scores.extra_steps import LR, NUM_BATCHES, ExtraSteps
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.loss_curves import GAMMA
from estimators.scores.minibatches import rebatched
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.names import (
    BENCHMARK_SCORES,
    CURVE_SCORES,
    PROXY_SCORES,
    SCORES,
    VAL_SCORES,
    Score,
)
from estimators.scores.tse import TSEEstimator
from estimators.scores.windows import window_in_batches
from estimators.scores.zero_cost import check_minibatch
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.spaces import SearchSpace
from supernets.training.standalone_config import RetrainConfig

ESTIMATORS = (*SCORES, "from_scratch", "table")

Batches = Iterable[tuple[Tensor, Tensor]]

_AFTER_STEPS = ("val_acc_after", "val_loss_after")
#: Estimators that need each input or may be given it.
TRAINS = (*CURVE_SCORES, *_AFTER_STEPS)
VALIDATES = ("sovl", *VAL_SCORES)
_NEEDS = {
    "supernet": (*SCORES, "from_scratch"),
    "train_batches": (*TRAINS, *PROXY_SCORES),
    "val_batches": VALIDATES,
    "loaders": ("from_scratch",),
    "recipe": ("from_scratch",),
    "output": ("from_scratch",),
    "score": ("from_scratch",),
    "table": ("table",),
    "value_column": ("table",),
    "space": ("table",),
}
_TAKES = {
    "recalibrate_batches": VAL_SCORES,
    "num_batches": TRAINS,
    "lr": TRAINS,
    "race_for": ("tse",),
    "window": ("tse_e",),
    "gamma": ("tse_ema",),
    "arch_column": ("table",),
    "trust_pickle": ("table",),
    "space": SCORES,
}


def create_estimator(
    name: str,
    *,
    supernet: Supernet | None = None,
    train_batches: Batches | None = None,
    val_batches: Batches | None = None,
    recalibrate_batches: Batches | None = None,
    num_batches: int | None = None,
    lr: float | None = None,
    race_for: int | None = None,
    window: int | None = None,
    gamma: float | None = None,
    loaders: Loaders | None = None,
    recipe: RetrainConfig | None = None,
    output: Path | None = None,
    score: Score | None = None,
    table: Path | None = None,
    arch_column: str | None = None,
    value_column: str | None = None,
    space: SearchSpace | None = None,
    trust_pickle: bool | None = None,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> Estimator:
    """Builds an estimator by name; what it needs must be given, what it cannot use must not.

    Args:
        name: One of ``ESTIMATORS``: a score of ``estimators.scores.names``, "from_scratch" or
            "table".
        supernet: Trained supernet; only read. For all but "table"; that of "from_scratch" need not
            be trained.
        train_batches: Minibatches of the train split. For scores of curves, "…_after" and zero-cost
            proxies, which look at the first.
        val_batches: Minibatches of the val split. For "val_…" and "sovl".
        recalibrate_batches: Minibatches of the train split for BatchNorm; None for none.
        num_batches: B, the extra steps; None for 100.
        lr: Learning rate of the extra steps; None for 0.001.
        race_for: Number of best candidates that "tse" must know exactly; None for all.
        window: Number of last minibatches that "tse_e" sums; None for 0.3 of B.
        gamma: Weight of a minibatch's loss against the next for "tse_ema"; None for 0.999.
        loaders: The data that "from_scratch" learns from and measures on.
        recipe: Recipe of the trainings of "from_scratch", autocast included.
        output: Existing folder in which "from_scratch" keeps its trainings.
        score: Score that a search with "from_scratch" goes by.
        table: CSV file, record file of NAS-Bench-101 or files of NATS-Bench, for "table".
        arch_column: Column of architectures in the table; None for ``"arch_str"``.
        value_column: Column of values in the table; for NATS-Bench the data set.
        space: Space that parses the architectures of the table.
        trust_pickle: Whether code that NATS-Bench's files hold may run, for "table"; None for no.
        device: Device to run on; the table ignores it.
        amp: Whether to compute in bfloat16 autocast; the table and "from_scratch" ignore it.

    Raises:
        ValueError: If the name is unknown, something needed is missing, or something given does
            not apply.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"Unknown estimator {name!r}; choose from {', '.join(ESTIMATORS)}.")
    given = {
        "supernet": supernet,
        "train_batches": train_batches,
        "val_batches": val_batches,
        "recalibrate_batches": recalibrate_batches,
        "num_batches": num_batches,
        "lr": lr,
        "race_for": race_for,
        "window": window,
        "gamma": gamma,
        "loaders": loaders,
        "recipe": recipe,
        "output": output,
        "score": score,
        "table": table,
        "arch_column": arch_column,
        "value_column": value_column,
        "space": space,
        "trust_pickle": trust_pickle,
    }
    missing = [key for key, users in _NEEDS.items() if name in users and given[key] is None]
    if missing:
        raise ValueError(f"Estimator {name!r} needs {', '.join(missing)}.")
    unused = [
        key
        for key, value in given.items()
        if value is not None and name not in (*_NEEDS.get(key, ()), *_TAKES.get(key, ()))
    ]
    if unused:
        raise ValueError(f"Estimator {name!r} does not use {', '.join(unused)}; leave it out.")
    if name == "table":
        assert table is not None and value_column is not None and space is not None
        return TabularEstimator.open(
            table,
            space,
            arch_column=arch_column,
            value_column=value_column,
            trust_pickle=bool(trust_pickle),
        )
    assert supernet is not None
    if name == "from_scratch":
        assert loaders is not None and recipe is not None and output is not None
        return FromScratchEstimator(supernet, loaders, recipe, output, score=score, device=device)
    num_batches = NUM_BATCHES if num_batches is None else num_batches
    lr = LR if lr is None else lr
    if name == "tse":
        assert train_batches is not None
        return TSEEstimator(
            supernet,
            train_batches,
            num_batches=num_batches,
            lr=lr,
            race_for=race_for,
            device=device,
            amp=amp,
        )
    if name == "val_acc":
        assert val_batches is not None
        return ValAccuracyEstimator(
            supernet,
            val_batches,
            recalibrate_batches=recalibrate_batches,
            device=device,
            amp=amp,
        )
    return create_multi_score(
        [name],
        Score(
            name,
            window=window_in_batches(window, num_batches) if name == "tse_e" else None,
            gamma=GAMMA if gamma is None else gamma,
        ),
        supernet=supernet,
        train_batches=train_batches or (),
        val_batches=val_batches or (),
        recalibrate_batches=recalibrate_batches,
        num_batches=num_batches,
        lr=lr,
        device=device,
        amp=amp,
    )


def create_multi_score(
    names: Sequence[str],
    score: Score,
    *,
    supernet: Supernet,
    train_batches: Batches,
    val_batches: Batches,
    recalibrate_batches: Batches | None = None,
    num_batches: int = NUM_BATCHES,
    lr: float = LR,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> MultiScoreEstimator:
    """Builds what measures several scores at once; parts that none looks at are left out.

    Args:
        names: Names of the scores that its records shall hold.
        score: The one of these scores that ``estimate`` returns.
        supernet: Trained supernet; only read.
        train_batches: Minibatches of the train split; the first is for the proxies as well.
        val_batches: Minibatches of the val split, iterable again and again. Those of "sovl" are
            taken from its images in their order, from the first again after the last, and have as
            many images as the train minibatches.
        recalibrate_batches: Minibatches of the train split for BatchNorm; None for none.
        num_batches: B, the number of extra steps.
        lr: Learning rate of the extra steps.
        device: Device to run on.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If a name is unknown, a number out of range, or there is too little data.
    """
    chosen = {Score(name).name for name in names}
    if chosen & set(BENCHMARK_SCORES) and not supernet.has_benchmark_count:
        raise ValueError(
            f"Tables of space {supernet.space.name!r} count as we do; use macs or params instead "
            f"of {', '.join(sorted(chosen & set(BENCHMARK_SCORES)))}."
        )
    training = sovl_batches = val = proxy_batch = None
    train_batches = list(islice(train_batches, max(num_batches, 1)))
    if chosen & set(TRAINS):
        training = ExtraSteps(train_batches, num_batches=num_batches, lr=lr, device=device, amp=amp)
    if "sovl" in chosen:
        assert training is not None
        batch_size = len(training.batches[0][1])
        again_and_again = chain.from_iterable(repeat(val_batches))
        sovl_batches = [
            (x.to(device), y.to(device))
            for x, y in islice(rebatched(again_and_again, batch_size), num_batches)
        ]
    if chosen & set(VAL_SCORES):
        val = ValAccuracyEstimator(
            supernet,
            val_batches,
            recalibrate_batches=recalibrate_batches,
            device=device,
            amp=amp,
        )
    proxies = [name for name in PROXY_SCORES if name in chosen]
    if proxies:
        if not train_batches:
            raise ValueError("Zero-cost proxies need a minibatch of train images.")
        x, y = train_batches[0]
        check_minibatch(proxies, x)
        proxy_batch = x.to(device), y.to(device)
    return MultiScoreEstimator(
        supernet,
        score=score,
        training=training,
        sovl_batches=sovl_batches,
        val=val,
        val_after=bool(chosen & set(_AFTER_STEPS)),
        proxies=proxies,
        proxy_batch=proxy_batch,
        cost_model=CostModel(supernet),
        device=device,
        amp=amp,
    )
