"""Several scores measured at once, from their settings and the data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch import Tensor

from estimators.base import Estimator
from estimators.scores.extra_steps import ExtraSteps
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.minibatches import (
    TRAINS,
    Draws,
    Minibatches,
    check_batch_size,
    draw_minibatches,
)
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.names import (
    BENCHMARK_SCORES,
    PROXY_SCORES,
    TRAIN_BATCHES,
    VAL_BATCHES,
    VAL_SCORES,
    Score,
)
from estimators.scores.of_losses import LossesEstimator
from estimators.scores.proxy_images import check_minibatch
from estimators.scores.settings import (
    MultiScoreSettings,
)
from estimators.scores.windows import window_in_batches
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.data.own_minibatches import checked_minibatches
from supernets.data.packed_batches import PackedBatches, kept, scalings_of
from supernets.data.rebatching import rebatched
from supernets.networks.base import Supernet

_AFTER_STEPS = {"val_acc_after", "val_loss_after"}


def create_multi_score(
    names: Sequence[str],
    settings: MultiScoreSettings | None = None,
    *,
    supernet: Supernet,
    data: Loaders | Minibatches,
    score: Score | None = None,
    own: Sequence[Estimator] = (),
    draws: Draws | None = None,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> MultiScoreEstimator:
    """Builds what measures several scores at once; parts that none looks at are left out.

    Args:
        names: Names of the built-in scores that its records shall hold.
        settings: Settings of them all; None for the defaults.
        supernet: Trained supernet; only read.
        data: As of ``create_estimator``. Minibatches of "sovl" are taken from the images of the val
            split in their order, from the first again after the last, and have as many images as
            the train minibatches.
        score: The one of these scores that ``estimate`` returns; None for the first.
        own: Estimators of one's own, whose scores the records shall hold as well.
        draws: What minibatches and own estimators were drawn from; None for nothing.
        device: Device to run on.
        amp: Whether to compute in bfloat16 autocast.

    Returns:
        The estimator, whose ``measure`` gives all of them.

    Raises:
        ValueError: If a name is unknown, a number out of range, or there is too little data.

    Example:
        >>> from estimators import create_multi_score
        >>> from estimators.scores.minibatches import Minibatches
        >>> from supernets import create_supernet
        >>> supernet = create_supernet("nasbench201", num_classes=10, channels=4)
        >>> costs = create_multi_score(["params", "macs"], supernet=supernet, data=Minibatches())
        >>> costs.measure(supernet.space.architecture([3, 1, 2, 1, 3, 4])).metrics
        {'params': 37654.0, 'macs': 5238954.0}
    """
    settings = MultiScoreSettings() if settings is None else settings
    if score is None:
        score = Score(names[0]) if names else Score(own[0].name, is_own=True)
    chosen = {Score(name).name for name in names}
    if chosen & set(BENCHMARK_SCORES) and not supernet.has_benchmark_count:
        raise ValueError(
            f"Tables of space {supernet.space.name!r} count as we do; use macs or params instead "
            f"of {', '.join(sorted(chosen & set(BENCHMARK_SCORES)))}."
        )
    minibatches, _ = minibatches_of(names, settings, supernet, data)
    num_batches = settings.num_batches
    train = kept(minibatches.train, num_batches, what=TRAIN_BATCHES)
    training = sovl_batches = val = None
    proxy_batches: Sequence[tuple[Tensor, Tensor]] = ()
    of_losses = [each.training for each in own if isinstance(each, LossesEstimator)]
    if chosen & TRAINS and draws is not None:
        training = draws.extra_steps(settings, device, amp)
    elif chosen & TRAINS:
        training = ExtraSteps.of(settings, train, device, amp)
    elif of_losses:
        training = of_losses[0]
    if "sovl" in chosen:
        assert training is not None
        again_and_again = chain.from_iterable(repeat(minibatches.val))
        checked = checked_minibatches(again_and_again, VAL_BATCHES)
        drawn = islice(rebatched(checked, training.batches.sizes[0]), num_batches)
        sovl_batches = PackedBatches(drawn, scalings_of(minibatches.val)).to(device)
    if chosen & set(VAL_SCORES):
        val = val_accuracy(supernet, minibatches, torch.device(device), amp)
    proxies = [name for name in PROXY_SCORES if name in chosen]
    if proxies:
        if not train:
            raise ValueError("Zero-cost proxies need a minibatch of train images.")
        check_minibatch(proxies, train[0][0])
        proxy_batches = train[:1].to(device)
    return MultiScoreEstimator(
        supernet,
        score=score,
        training=training,
        sovl_batches=sovl_batches,
        val=val,
        val_after=bool(chosen & _AFTER_STEPS),
        proxies=proxies,
        proxy_batches=proxy_batches,
        cost_model=CostModel(supernet),
        own=own,
        device=device,
        amp=amp,
    )


def score_of(name: str, settings: MultiScoreSettings, epoch_batches: int | None) -> Score:
    """Builds a score, with the window of TSE-E in minibatches.

    Args:
        name: Name of the score.
        settings: Its settings.
        epoch_batches: Minibatches of an epoch; None where it is not known.

    Raises:
        ValueError: If the window is longer than what is measured.
    """
    window = None
    if name == "tse_e":
        window = window_in_batches(settings.window, settings.num_batches, epoch_batches)
    return Score(name, window=window, gamma=settings.gamma)


def minibatches_of(
    names: Sequence[str],
    settings: MultiScoreSettings,
    supernet: Supernet,
    data: Loaders | Minibatches | None,
) -> tuple[Minibatches, dict[str, Any]]:
    """Returns minibatches to measure on, and what is recorded of them if they were drawn.

    Raises:
        ValueError: As ``draw_minibatches``, or if loaders are of other minibatches.
    """
    if isinstance(data, Loaders):
        if {*names} & {*TRAINS, *PROXY_SCORES}:
            check_batch_size(settings.batch_size, data)
        return draw_minibatches(names, settings, supernet, data)
    return Minibatches() if data is None else data, {}


def val_accuracy(
    supernet: Supernet, minibatches: Minibatches, device: torch.device, amp: bool
) -> ValAccuracyEstimator:
    """Builds what measures the val split."""
    return ValAccuracyEstimator(
        supernet,
        minibatches.val,
        recalibrate_batches=minibatches.recalibrate,
        device=device,
        amp=amp,
    )
