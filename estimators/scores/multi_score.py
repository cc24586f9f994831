"""All cheap scores of a subnet from one pass: extracted once, trained once, measured on the way.

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492

Differs from the authors' one-shot code:

1. See ``estimators.scores.tse``.
2. Its validation losses are those of every hundredth step, repeated in between; here one minibatch
   of the val split is measured after every step, the t-th after the t-th.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from estimators.base import Estimate, EstimateError, Estimator
from estimators.scores.extra_steps import ExtraSteps, failure
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.names import (
    BENCHMARK_SCORES,
    COST_SCORES,
    PROXY_SCORES,
    TRAIN_CURVE,
    VAL_CURVE,
    Score,
)
from estimators.scores.of_losses import LossesEstimator
from estimators.scores.own_measurement import measure_own
from estimators.scores.proxy_networks import check_proxies
from estimators.scores.zero_cost import measure_proxies
from supernets.cost.analytic import CostModel
from supernets.networks.base import Supernet
from supernets.runtime.device import autocast
from supernets.spaces import Architecture


@dataclass(frozen=True)
class Record:
    """What a pass over one subnet found; values need not be finite.

    Args:
        metrics: Scalars in their natural sign and unit.
        curves: Losses in nats, one per step of the extra training.
        seconds: Wall-clock time of each part: "extract", "train", "sovl", "val", "val_after", and
            every proxy and every score of one's own by its name.
        problem: What is wrong with the losses of the extra training or with a score of one's own,
            or None.

    Example:
        >>> record = Record({"macs": 5e6}, {"train_loss": (2.3, 2.1)}, {"train": 0.2}, problem=None)
        >>> Score("tse").of(record.metrics, record.curves)
        -4.4
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    seconds: Mapping[str, float]
    problem: str | None


class MultiScoreEstimator:
    """Measures everything that scores are computed from, once per subnet.

    Args:
        supernet: Trained supernet; only read.
        score: The score that ``estimate`` returns.
        training: The extra steps; None for none.
        sovl_batches: Minibatches ``(x, y)`` of the val split, one for each of these steps, on the
            device; None to leave their losses out.
        val: Measures the val split before the extra steps; None to leave it out.
        val_after: Whether it measures after them as well.
        proxies: Names of the zero-cost proxies to measure on fresh weights.
        proxy_batches: Minibatches ``(x, y)`` of the train split, on the device; the first is for
            them.
        proxy_seed: Seed of these fresh weights, which also depend on the architecture.
        cost_model: Gives params and macs of every subnet.
        own: Estimators of one's own, each of which measures by itself, after all else; those of
            ``OfLosses`` with this very training take its losses.

    Raises:
        ValueError: If parts do not fit together, lack what ``score`` looks at, or a proxy says
            nothing of such networks.
    """

    def __init__(
        self,
        supernet: Supernet,
        *,
        score: Score,
        training: ExtraSteps | None = None,
        sovl_batches: Sequence[tuple[Tensor, Tensor]] | None = None,
        val: ValAccuracyEstimator | None = None,
        val_after: bool = False,
        proxies: Sequence[str] = (),
        proxy_batches: Sequence[tuple[Tensor, Tensor]] = (),
        proxy_seed: int = 0,
        cost_model: CostModel,
        own: Sequence[Estimator] = (),
        device: torch.device | str = "cpu",
        amp: bool = False,
    ) -> None:
        unknown = sorted(set(proxies) - set(PROXY_SCORES))
        if unknown:
            raise ValueError(
                f"Unknown proxies {', '.join(unknown)}; choose from {', '.join(PROXY_SCORES)}."
            )
        check_proxies(supernet, proxies)
        if proxies and not proxy_batches:
            raise ValueError("Zero-cost proxies need proxy_batches, minibatches of train images.")
        if val_after and (val is None or training is None):
            raise ValueError("val_after needs val and training.")
        if sovl_batches is not None:
            num_steps = 0 if training is None else len(training.batches)
            if len(sovl_batches) != num_steps:
                raise ValueError(
                    f"sovl_batches must be one for each of {num_steps} steps of training, got "
                    f"{len(sovl_batches)}."
                )
        self.name = score.name
        self.score = score
        self.supernet = supernet
        self.training, self.sovl_batches = training, sovl_batches
        self.val, self.val_after = val, val_after
        self.proxies, self.proxy_seed = tuple(proxies), proxy_seed
        self.proxy_batches = proxy_batches
        self.cost_model, self.own = cost_model, tuple(own)
        self.device, self.amp = torch.device(device), amp

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures ``arch`` and returns one of its scores, with all metrics and curves.

        Raises:
            EstimateError: If what the score looks at is not finite.
        """
        started = time.perf_counter()
        record = self.measure(arch)
        score = self.score.of(record.metrics, record.curves)
        if not math.isfinite(score):
            raise EstimateError(record.problem or f"The score {self.score.name} is not finite.")
        return Estimate(
            score=score,
            metrics=record.metrics,
            seconds=time.perf_counter() - started,
            curves=record.curves,
        )

    def measure(self, arch: Architecture) -> Record:
        """Measures everything for ``arch`` in one pass over its subnet.

        Raises:
            OwnCodeError: If a score of one's own fails by no fault of ``arch``.
        """
        seconds: dict[str, float] = {}
        metrics = self.cost_model.metrics(arch)
        if self.name not in BENCHMARK_SCORES:
            metrics = {name: metrics[name] for name in COST_SCORES}
        curves: dict[str, tuple[float, ...]] = {}
        problems: list[str] = []
        if self.training is not None or self.val is not None:
            with _timed(seconds, "extract"):
                subnet = self.supernet.extract(arch).to(self.device)
        if self.val is not None:
            with _timed(seconds, "val"):
                before = self.val.evaluate(subnet)
            metrics |= {"val_top1": before.top1, "val_loss": before.loss}
        if self.training is not None:
            curves, problem = self._train(subnet, seconds)
            problems += [problem] if problem is not None else []
        if self.val_after:
            assert self.val is not None
            with _timed(seconds, "val_after"):
                after = self.val.evaluate(subnet)
            metrics |= {"val_top1_after": after.top1, "val_loss_after": after.loss}
        if self.proxies:
            network = self._fresh_network(arch)
            found, times = measure_proxies(network, *self.proxy_batches[0], self.proxies)
            metrics |= found
            seconds |= times
        for each in self.own:
            estimate = partial(each.estimate, arch)
            if isinstance(each, LossesEstimator) and each.training is self.training:
                estimate = partial(each.estimate_of, np.array(curves[TRAIN_CURVE]))
                seconds[each.name] = seconds["extract"] + seconds["train"]
            with _timed(seconds, each.name):
                own = measure_own(each.name, each, estimate, self.supernet.space.format(arch))
            metrics |= own.metrics
            curves |= own.curves
            problems += [own.problem] if own.problem is not None else []
        return Record(metrics, curves, seconds, " ".join(problems) or None)

    def _train(
        self, subnet: nn.Module, seconds: dict[str, float]
    ) -> tuple[dict[str, tuple[float, ...]], str | None]:
        assert self.training is not None
        val_losses: list[Tensor] = []

        def measure_val(num_steps: int) -> None:
            assert self.sovl_batches is not None
            with _timed(seconds, "sovl"), torch.inference_mode():
                x, y = self.sovl_batches[num_steps - 1]
                subnet.eval()
                with autocast(x.device, self.amp):
                    logits = subnet(x)
                val_losses.append(F.cross_entropy(logits.float(), y))

        after_step = None if self.sovl_batches is None else measure_val
        with _timed(seconds, "train"):
            losses = self.training.run(subnet, after_step=after_step)
        curves = {TRAIN_CURVE: tuple(losses.tolist())}
        if self.sovl_batches is not None:
            seconds["train"] -= seconds["sovl"]
            curves[VAL_CURVE] = tuple(torch.stack(val_losses).cpu().double().tolist())
        return curves, failure(losses)

    def _fresh_network(self, arch: Architecture) -> nn.Module:
        """The stand-alone network with weights that follow from architecture and seed."""
        text = f"{self.proxy_seed} {self.supernet.space.format(arch)}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.supernet.build_subnet(arch).to(self.device)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Adds the time of the block to that of a part."""
    started = time.perf_counter()
    yield
    seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started
