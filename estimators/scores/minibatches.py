"""The minibatches that scores are measured on: drawn from loaders, and of any size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from estimators.scores.extra_steps import ExtraSteps
from estimators.scores.names import PROXY_SCORES, TRAIN_BATCHES, VAL_SCORES
from estimators.scores.proxy_images import COMPARES_IMAGES, distinct_images
from estimators.scores.settings import (
    RANKED,
    EstimatorSettings,
    ExtraStepsSettings,
    MultiScoreSettings,
)
from supernets.data.decoded_loader import decoded_once
from supernets.data.loaders import Loaders
from supernets.data.own_minibatches import checked_minibatches
from supernets.data.packed_batches import PackedBatches, kept, scalings_of, sizes_of
from supernets.data.rebatching import rebatched
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import has_batchnorm
from supernets.networks.single_images import check_supernet_single_images

#: Recalibration of supernets that need it: 2,000 images, as in OFA's code.
RECALIBRATE_BATCHES, RECALIBRATE_BATCH_SIZE = 10, 200
#: Scores that train a copy of the subnet.
TRAINS = {name for name, own in RANKED.items() if issubclass(own, ExtraStepsSettings)}

Batches = Iterable[tuple[Tensor, Tensor]]
_Recalibration = tuple[PackedBatches | None, dict[str, Any] | None]


@dataclass(frozen=True)
class Minibatches:
    """Images with their classes, ``(x, y)`` with x (N, C, H, W) and y (N,).

    Args:
        train: Those of the train split, for extra steps and proxies, which look at the first.
        val: Those of the val split, iterable again and again.
        recalibrate: Those of the train split for the statistics of BatchNorm; None for none.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(8, 3, 32, 32), torch.arange(8)
        >>> data = Minibatches(train=[(x, y)] * 100)
    """

    train: Batches = ()
    val: Batches = ()
    recalibrate: Batches | None = None


class Draws:
    """Minibatches of a supernet's data, each drawn once however many scores look at it.

    They are kept as 8-bit pixels where they are made of them, see ``packed_batches``.

    Args:
        supernet: Trained supernet; only read.
        loaders: Loaders of its data.
    """

    def __init__(self, supernet: Supernet, loaders: Loaders) -> None:
        self.supernet, self.loaders = supernet, loaders
        self._train = PackedBatches(scalings=scalings_of(loaders.train))
        self._val: dict[int | None, Batches] = {}
        self._recalibration: dict[int | None, _Recalibration] = {}
        self._extra_steps: dict[object, ExtraSteps] = {}

    def train(self, num_batches: int) -> PackedBatches:
        """Returns the first minibatches of the train split."""
        known = len(self._train)
        if known < num_batches:
            drawn = islice(self.loaders.train.take(num_batches), known, None)
            self._train.extend(checked_minibatches(drawn, TRAIN_BATCHES))
        return self._train[:num_batches]

    def val(self, num_batches: int | None) -> Batches:
        """Returns the first minibatches of the val split; None for all, which are decoded once."""
        if num_batches not in self._val:
            val = self.loaders.val
            found = decoded_once(val, "val") if num_batches is None else kept(val, num_batches)
            self._val[num_batches] = found
        return self._val[num_batches]

    def recalibration(self, num_batches: int | None) -> _Recalibration:
        """Returns those for the statistics of BatchNorm and what they are; None for neither.

        Raises:
            ValueError: If BatchNorm would not be recalibrated where the supernet needs it.
        """
        if num_batches not in self._recalibration:
            found = _recalibration(num_batches, self.supernet, self.loaders)
            self._recalibration[num_batches] = found
        return self._recalibration[num_batches]

    def extra_steps(
        self, settings: ExtraStepsSettings, device: torch.device | str, amp: bool
    ) -> ExtraSteps:
        """Returns the extra steps on the first minibatches of the train split.

        Raises:
            ValueError: As ``ExtraSteps``.
        """
        key = settings.num_batches, settings.lr, settings.kernels, torch.device(device), amp
        if key not in self._extra_steps:
            batches = self.train(settings.num_batches)
            self._extra_steps[key] = ExtraSteps.of(settings, batches, device, amp)
        return self._extra_steps[key]


def draw_minibatches(
    names: Iterable[str],
    settings: MultiScoreSettings,
    supernet: Supernet,
    loaders: Loaders,
    draws: Draws | None = None,
) -> tuple[Minibatches, dict[str, Any]]:
    """Draws what some scores are measured on, and describes it.

    Args:
        names: Names of the scores.
        settings: Their settings; loaders of ``batch_size`` images are the caller's to open.
        supernet: Trained supernet; only read.
        loaders: Loaders of the supernet's data.
        draws: What was drawn of them for other scores; None for nothing.

    Returns:
        The minibatches that one of the scores needs; and, as plain values under the names that
        stores of trials have them by, what decides the scores.

    Raises:
        ValueError: If BatchNorm would not be recalibrated where the supernet needs it, or there is
            a minibatch of one image, too few for it.
    """
    chosen = set(names)
    draws = Draws(supernet, loaders) if draws is None else draws
    train: Sequence[tuple[Tensor, Tensor]] = ()
    val: Batches = ()
    recalibrate: Sequence[tuple[Tensor, Tensor]] | None = None
    facts: dict[str, Any] = {}
    if chosen & {*TRAINS, *PROXY_SCORES}:
        train = draws.train(settings.num_batches if chosen & TRAINS else 1)
        facts["tse_batch_size"] = settings.batch_size
    if chosen & TRAINS:
        facts |= {"tse_batches": settings.num_batches, "tse_lr": settings.lr}
    if chosen & {"sovl", *VAL_SCORES}:
        once = not chosen & set(VAL_SCORES) and settings.num_val_batches is None
        val = loaders.val if once else draws.val(settings.num_val_batches)
        facts["val_batches"] = settings.num_val_batches
    if chosen & set(VAL_SCORES):
        recalibrate, facts["recalibration"] = draws.recalibration(settings.num_recalibrate_batches)
    if chosen & set(COMPARES_IMAGES):
        x, _ = train[0]
        num_images = len(distinct_images(x))
        if num_images < len(x):  # scores of files from before, if any, are then others
            facts["distinct_images"] = num_images
    if chosen & {*TRAINS, *VAL_SCORES, *PROXY_SCORES} - {"synflow"}:
        _check_single_images(supernet, [*sizes_of(train), *sizes_of(recalibrate or ())])
    return Minibatches(train, val, recalibrate), facts


def minibatches_that_settings_need(
    settings: EstimatorSettings,
    supernet: Supernet,
    data: Loaders | Minibatches | None,
    draws: Draws | None = None,
) -> Minibatches:
    """Returns what an estimator of one's own is to measure on, see ``EstimatorInputs``.

    Raises:
        ValueError: As ``draw_minibatches``.
    """
    if not isinstance(data, Loaders):
        return Minibatches() if data is None else data
    fields, needs = vars(settings), settings.needs
    draws = Draws(supernet, data) if draws is None else draws
    train: Sequence[tuple[Tensor, Tensor]] = ()
    val: Batches = ()
    recalibrate: Sequence[tuple[Tensor, Tensor]] | None = None
    if "train minibatches" in needs:
        train = draws.train(fields.get("num_batches", 1))
    if "val minibatches" in needs:
        val = draws.val(fields.get("num_val_batches"))
    if "num_recalibrate_batches" in fields:
        recalibrate, _ = draws.recalibration(fields["num_recalibrate_batches"])
    _check_single_images(supernet, [*sizes_of(train), *sizes_of(recalibrate or ())])
    return Minibatches(train, val, recalibrate)


def _check_single_images(supernet: Supernet, sizes: Sequence[int]) -> None:
    if sizes:
        check_supernet_single_images(supernet, min(sizes), option="--tse-batch-size")


def check_batch_size(wanted: int, loaders: Loaders) -> None:
    """Makes sure that loaders are of the minibatches that settings speak of.

    Raises:
        ValueError: If they are not.
    """
    found = loaders.train.batch_size
    if found != wanted:
        raise ValueError(
            f"The train minibatches of the data have {found} images, those of the settings "
            f"{wanted}; create the data with batch_size={wanted}, or set it to {found}."
        )


def _recalibration(num_batches: int | None, supernet: Supernet, loaders: Loaders) -> _Recalibration:
    """The minibatches for the statistics of BatchNorm and what they are; None for neither.

    A supernet that needs recalibration gets the augmented images it was trained on, as in OFA's
    code; otherwise images are taken as they are.
    """
    needed = supernet.needs_recalibration
    if num_batches and not has_batchnorm(supernet):
        raise ValueError(
            f"A {supernet.space.name} supernet has no BatchNorm, whose statistics "
            "--recalibrate-batches is for; leave it out."
        )
    if num_batches is None:
        num_batches = RECALIBRATE_BATCHES if needed else 0
    if num_batches == 0:
        if needed:
            raise ValueError(
                f"--recalibrate-batches must be at least 1 for a {supernet.space.name} supernet, "
                "whose BatchNorm statistics are those of a mixture of subnets."
            )
        return None, None
    batch_size = RECALIBRATE_BATCH_SIZE if needed else loaders.train.batch_size
    loader = loaders.train if needed else loaders.train_eval
    enough = loader.take(num_batches * batch_size)  # read only as far as needed
    drawn = islice(rebatched(enough, batch_size), num_batches)
    batches = PackedBatches(drawn, scalings_of(loader))
    return batches, {
        "split": "train",
        "transforms": f"those of the {'train' if needed else 'test'} split",
        "num_batches": num_batches,
        "num_images": sum(batches.sizes),
        "seed": loaders.settings["seed"],
    }
