#!/usr/bin/env python3
"""Times and weighs a step of the mixture that differentiable searches train.

The parts of the mixture are what networks of one operation on every edge take beyond the one that
has none, where all operations are left out: the mixture should not take much more than their sum.
Steps are also compared by the gradient that architecture parameters follow, with the numbers of
forward and backward passes of a step. The CPU time of a single thread is measured, in turn.

    python benchmarks/differentiable_step.py --output benchmarks/results/differentiable_step.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from hardware import write_result
from mobilenetv3_speed import in_turn
from nasnet_speed import bytes_kept, step
from speed import median_ratio, sgd
from torch import Tensor

from search.differentiable import mixture_training as task
from search.differentiable.loop import DifferentiableSearch
from search.differentiable.search_config import GRADIENTS, SearchConfig, Stage
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.networks.factory import create_relaxed_network, default_amp
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.device import autocast
from supernets.training.supernet_config import TrainConfig

#: Settings of the networks, and images in a batch.
SETTINGS: dict[str, tuple[dict[str, Any], int]] = {
    "nasbench201": ({"channels": 16, "cells_per_stage": 5, "bn_mode": "ref"}, 64),
    "darts": ({"channels": 16, "layers": 8}, 32),
}
TSE_BATCHES = 5
CPU = torch.device("cpu")


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--repeats", type=int, default=5)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "note": args.note,
        "targets": "mixture over the sum of its parts at most 1.10; joint TSE no more passes than "
        "training",
    }
    for space in SETTINGS:
        result[space] = parts(space, args.repeats)
    result["gradients"] = gradients()
    write_result(args.output, result)


def parts(space: str, repeats: int) -> dict[str, Any]:
    """A step of the mixture, and of each of its operations on every edge."""
    settings, batch_size = SETTINGS[space]
    torch.manual_seed(0)
    common = {"num_classes": 10, "input_size": (3, 32, 32), **settings}
    mixture = create_relaxed_network(space, **common).to(memory_format=torch.channels_last)
    x = torch.randn(batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    y = torch.randint(10, (batch_size,))
    alphas = torch.zeros(mixture.alphas_shape, requires_grad=True)
    amp = default_amp(space, CPU)

    def forward(network: torch.nn.Module, *inputs: Any) -> Tensor:
        with autocast(CPU, amp):
            logits: Tensor = network(x, *inputs)
        return logits.float()

    sides: dict[str, Callable[[], None]] = {}
    kept: dict[str, float] = {}

    def add(name: str, network: torch.nn.Module, logits: Callable[[], Tensor]) -> None:
        optimizer = sgd(network)
        sides[name] = lambda: step(optimizer, logits, y)
        kept[name] = bytes_kept(network, logits, y)[0]

    add("mixture", mixture, lambda: forward(mixture, alphas.softmax(dim=-1)))
    # a mixture of one operation is what all edges take, be it for nothing
    for op, name in enumerate(mixture.ops):
        op_mask = np.zeros(mixture.alphas_shape, np.bool_)
        op_mask[..., op] = True
        single = create_relaxed_network(space, op_mask=op_mask, **common)
        single.to(memory_format=torch.channels_last)
        ones = torch.zeros(mixture.alphas_shape)
        ones[..., op] = 1.0
        add(name, single, lambda single=single, ones=ones: forward(single, ones))  # type: ignore[misc]
    seconds = in_turn(sides, repeats)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    ops = [name for name in mixture.ops if name != "none"]
    summed = medians["none"] + sum(medians[op] - medians["none"] for op in ops)
    summed_bytes = kept["none"] + sum(kept[op] - kept["none"] for op in ops)
    return {
        "settings": settings,
        "batch_size": batch_size,
        "amp": amp,
        "median_seconds": medians,
        "mixture_over_sum_of_parts": medians["mixture"] / summed,
        "bytes_of_activations": kept,
        "bytes_of_mixture_over_sum_of_parts": kept["mixture"] / summed_bytes,
        "mixture_over_its_dearest_operation": median_ratio(
            seconds, "mixture", max(ops, key=lambda op: medians[op])
        ),
    }


def gradients() -> dict[str, Any]:
    """Passes and seconds per step of the weights, by what alphas follow; with frozen ones first."""
    loaders = create_loaders(DataConfig("digits", image_size=16, val_fraction=0.5), batch_size=64)

    def make_network(op_mask: Any, partial_channels: int) -> RelaxedNetwork:
        return create_relaxed_network(
            "nasbench201",
            num_classes=loaders.num_classes,
            input_size=loaders.input_size,
            cells_per_stage=1,
            op_mask=op_mask,
            partial_channels=partial_channels,
        )

    num_steps = len(loaders.train)
    found: dict[str, dict[str, float]] = {}
    for gradient in (None, *GRADIENTS):
        stage = Stage(1) if gradient else Stage(2, freeze_epochs=1)
        config = SearchConfig(
            gradient=gradient or "first-order", tse_batches=TSE_BATCHES, stages=(stage,)
        )
        recipe = TrainConfig(
            epochs=stage.epochs, opt="momentum", num_probes=0, inactive_grads="skip"
        )
        with TemporaryDirectory() as folder, Counter() as counter:
            DifferentiableSearch(
                make_network, loaders, config, recipe, Path(folder), device=CPU
            ).run()
        steps = np.array(counter.steps[:num_steps], np.float64)  # of the first epoch
        seconds, forwards, backwards = steps.sum(axis=0) / num_steps
        found[gradient or "none (alphas rest)"] = {
            "forwards_per_step": forwards,
            "backwards_per_step": backwards,
            "seconds_per_step": seconds,
        }
    base = found["none (alphas rest)"]["seconds_per_step"]
    for values in found.values():
        values["over_training_alone"] = values["seconds_per_step"] / base
    return {"batch_size": 64, "side": 16, "tse_batches": TSE_BATCHES, **found}


class Counter:
    """While entered, counts the passes of a search and times its steps without the optimizer's."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int, int]] = []  # seconds, forwards, backwards
        self._forwards = self._backwards = 0
        self._patches = ExitStack()

    def __enter__(self) -> Counter:
        loss, step = task.MixtureLoss.__call__, task.MixtureTraining.add_gradients
        backward, grad = Tensor.backward, torch.autograd.grad

        def counted_loss(*args: Any, **options: Any) -> Any:
            self._forwards += 1
            return loss(*args, **options)

        def counted_backward(*args: Any, **options: Any) -> Any:
            self._backwards += 1
            return backward(*args, **options)  # type: ignore[no-untyped-call]

        def counted_grad(*args: Any, **options: Any) -> Any:
            self._backwards += 1
            return grad(*args, **options)

        def timed_step(*args: Any) -> Any:
            self._forwards = self._backwards = 0
            started = time.process_time()
            losses = step(*args)
            self.steps.append((time.process_time() - started, self._forwards, self._backwards))
            return losses

        for owner, name, new in (
            (task.MixtureLoss, "__call__", counted_loss),
            (task.MixtureTraining, "add_gradients", timed_step),
            (Tensor, "backward", counted_backward),
            (torch.autograd, "grad", counted_grad),
        ):
            self._patches.enter_context(mock.patch.object(owner, name, new))
        return self

    def __exit__(self, *details: object) -> None:
        self._patches.close()


if __name__ == "__main__":
    main()
