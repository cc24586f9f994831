"""The plain training loop: what it computes, resuming to the same bits, stopping, diverging."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from supernets.data.loaders import Loaders, create_loaders
from supernets.networks.factory import create_subnet, create_supernet
from supernets.networks.nasbench201 import NASBench201Subnet
from supernets.networks.nasnet_subnet import NASNetSubnet
from supernets.runtime.ranks import ProcessInfo
from supernets.spaces.factory import create_space
from supernets.training import standalone as standard_training
from supernets.training.checkpoint import save_supernet
from supernets.training.evaluation import Evaluation, evaluate
from supernets.training.loop import TrainingError, TrainResult
from supernets.training.standalone import read_network_checkpoint, train_standalone, training_loss
from supernets.training.standalone_config import RetrainConfig
from tests.ranks import run_by_two
from tests.supernets.training.states import at_step, flat, send

CPU = torch.device("cpu")
EPOCHS = 3
STEPS_PER_EPOCH = 3  # 1149 images by 400, the last minibatch smaller and odd
STEPS = EPOCHS * STEPS_PER_EPOCH


class Unread:
    """A split that must not be looked at."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        raise AssertionError("the test split was read")


@pytest.fixture(scope="module")
def loaders() -> Loaders:
    """Digits, whose test split must not be read."""
    loaders = create_loaders("digits", batch_size=400)
    assert len(loaders.train) == STEPS_PER_EPOCH
    return dataclasses.replace(loaders, test=Unread())  # type: ignore[arg-type]


def make_network(dropout: float = 0.5) -> nn.Module:
    """A small network with BatchNorm, and with dropout that draws random numbers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(36, 10),
    )


def config(**settings: Any) -> RetrainConfig:
    return RetrainConfig(**{"epochs": EPOCHS, "lr": 0.05, **settings})


def checkpoint(output: Path) -> dict[str, Any]:
    return read_network_checkpoint(output / "last.pt")


def assert_same_training(output: Path, other: Path) -> None:
    """Weights, average, optimizer and progress are equal to the bit, and so is the table."""
    found, expected = flat(checkpoint(output)), flat(checkpoint(other))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, Tensor):
            assert torch.equal(found[key], value), key
        else:
            assert found[key] == value, key
    rows, expected_rows = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in table(o)]
        for o in (output, other)
    )
    assert rows == expected_rows
    assert len(rows) == EPOCHS


def table(output: Path) -> list[dict[str, str]]:
    with open(output / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "imagenet": {
        "opt": "rmsproptf",
        "opt_eps": 1e-3,
        "lr": 0.01,
        "decay_bn_bias": False,
        "warmup_epochs": 1,
        "ema_decay": 0.9,
        "ema_warmup": False,
        "label_smoothing": 0.1,
    },
    "mixing": {
        "opt": "adamw",
        "lr": 0.01,
        "mixup": 0.8,
        "cutmix": 1.0,
        "mixup_off_epoch": 2,
        "clip_value": 0.1,
        "ema_decay": 0.99,
        "seed": 3,
    },
}


@pytest.fixture(scope="module")
def uninterrupted(
    loaders: Loaders, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, nn.Module]]:
    """Output and network of a whole training by the name of its recipe, done on first use."""
    done: dict[str, tuple[Path, nn.Module]] = {}

    def get(recipe: str) -> tuple[Path, nn.Module]:
        if recipe not in done:
            output, network = tmp_path_factory.mktemp(recipe), make_network()
            result = train_standalone(
                network, loaders, config(**RECIPES[recipe]), output, device=CPU
            )
            assert result.is_finished and result.steps == STEPS
            done[recipe] = output, network
        return done[recipe]

    return get


def resume(recipe: str, loaders: Loaders, output: Path) -> tuple[TrainResult, nn.Module]:
    network = make_network()
    for parameter in network.parameters():  # the checkpoint alone decides
        nn.init.zeros_(parameter)
    torch.manual_seed(99)
    np.random.seed(99)
    settings = config(**RECIPES[recipe])
    resumed = checkpoint(output)
    result = train_standalone(network, loaders, settings, output, device=CPU, resume_from=resumed)
    return result, network


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("step", [2, STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH + 1])
def test_stopped_and_resumed_equals_uninterrupted(
    recipe: str,
    step: int,
    loaders: Loaders,
    uninterrupted: Callable[[str], tuple[Path, nn.Module]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    assert_same_weights: Callable[[nn.Module, dict[str, Tensor]], None],
) -> None:
    expected, trained = uninterrupted(recipe)
    with monkeypatch.context() as patch:
        at_step(patch, step, send(signal.SIGTERM))
        result = train_standalone(
            make_network(), loaders, config(**RECIPES[recipe]), tmp_path, device=CPU
        )
    assert not result.is_finished
    assert (result.steps, result.epochs) == (step, step // STEPS_PER_EPOCH)
    assert checkpoint(tmp_path)["progress"]["step"] == step
    result, network = resume(recipe, loaders, tmp_path)
    assert result.is_finished and result.steps == STEPS
    assert_same_training(tmp_path, expected)
    assert_same_weights(network, trained.state_dict())


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_that_ends_early_is_the_beginning_of_the_whole(
    recipe: str,
    loaders: Loaders,
    uninterrupted: Callable[[str], tuple[Path, nn.Module]],
    tmp_path: Path,
) -> None:
    expected, _ = uninterrupted(recipe)
    settings = config(**RECIPES[recipe], stop_after=EPOCHS - 1)
    result = train_standalone(make_network(), loaders, settings, tmp_path, device=CPU)
    assert result.is_finished
    assert (result.epochs, result.steps) == (EPOCHS - 1, (EPOCHS - 1) * STEPS_PER_EPOCH)
    assert len(table(tmp_path)) == EPOCHS - 1
    # the schedule goes on from there as if nothing had been
    assert resume(recipe, loaders, tmp_path)[0].is_finished
    assert_same_training(tmp_path, expected)


class Killed(BaseException):
    """The process is gone: nothing of ours may catch this."""


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("step", [2, STEPS_PER_EPOCH + 1, STEPS])
def test_killed_between_checkpoints_equals_uninterrupted(
    step: int,
    loaders: Loaders,
    uninterrupted: Callable[[str], tuple[Path, nn.Module]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, step, kill)
        with pytest.raises(Killed):
            train_standalone(
                make_network(),
                loaders,
                config(**RECIPES["mixing"]),
                tmp_path,
                device=CPU,
                checkpoint_minutes=1e-9,
            )
    assert checkpoint(tmp_path)["progress"]["step"] == step - 1
    assert resume("mixing", loaders, tmp_path)[0].is_finished
    assert_same_training(tmp_path, uninterrupted("mixing")[0])


def test_a_second_signal_interrupts_at_once(
    loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    at_step(monkeypatch, 2, twice)
    with pytest.raises(KeyboardInterrupt):
        train_standalone(make_network(), loaders, config(), tmp_path, device=CPU)
    assert not (tmp_path / "last.pt").exists()


def test_training_is_plain_sgd_on_the_minibatches(loaders: Loaders, tmp_path: Path) -> None:
    """A loop of PyTorch's own parts, without any of ours, ends at the same weights."""
    network, reference = make_network(dropout=0.0), make_network(dropout=0.0)
    settings = config(lr=0.1, min_lr=0.02, label_smoothing=0.1, weight_decay=1e-3, momentum=0.8)
    result = train_standalone(network, loaders, settings, tmp_path, device=CPU)
    optimizer = torch.optim.SGD(
        reference.parameters(), lr=0.1, momentum=0.8, nesterov=True, weight_decay=1e-3
    )
    reference.to(memory_format=torch.channels_last)
    step, losses = 0, []
    for epoch in range(EPOCHS):
        reference.train()
        for x, y in loaders.train.epoch(epoch):
            rate = 0.02 + 0.5 * (0.1 - 0.02) * (1 + math.cos(math.pi * step / STEPS))
            optimizer.param_groups[0]["lr"] = rate
            loss = F.cross_entropy(reference(x), y, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
        row = result.history[epoch]
        assert row["train_loss"] == pytest.approx(sum(losses[-3:]) / 3, rel=1e-5)
        assert row["lr"] == pytest.approx(rate)
        val = evaluate(reference, loaders.val, device=CPU)
        assert row["val_loss"] == pytest.approx(val.loss, rel=1e-3)
        assert row["val_top1"] == pytest.approx(val.top1, abs=0.4)
    for (name, found), expected in zip(
        network.named_parameters(), reference.parameters(), strict=True
    ):
        assert torch.allclose(found, expected, atol=1e-5), name


def losses_seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What every following step is computed from, and the weights before it."""
    seen: list[dict[str, Any]] = []

    def loss(network: nn.Module, x: Tensor, y: Tensor, **settings: Any) -> Tensor:
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        seen.append({"x": x, "y": y, "weights": weights, **settings})
        return training_loss(network, x, y, **settings)

    monkeypatch.setattr(standard_training, "training_loss", loss)
    return seen


def test_mixing_ends_at_its_epoch_and_labels_are_smoothed_once(
    loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = losses_seen(monkeypatch)
    settings = config(mixup=1.0, mixup_off_epoch=2, label_smoothing=0.1)
    train_standalone(make_network(), loaders, settings, tmp_path, device=CPU)
    mixing = settings.create_mixing(10, ProcessInfo())
    assert mixing is not None
    minibatches = [batch for epoch in range(EPOCHS) for batch in loaders.train.epoch(epoch)]
    for step, (found, (x, y)) in enumerate(zip(seen, minibatches, strict=True)):
        smoothing = 0.1
        if step < 2 * STEPS_PER_EPOCH:
            x, y = mixing(x, y, step)
            smoothing = 0.0
        assert torch.equal(found["x"], x) and torch.equal(found["y"], y)
        assert found["label_smoothing"] == smoothing


@pytest.mark.parametrize("ema_warmup", [False, True])
def test_the_result_is_the_average_of_the_weights(
    ema_warmup: bool, loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = losses_seen(monkeypatch)
    network = make_network()
    settings = config(ema_decay=0.8, ema_warmup=ema_warmup)
    result = train_standalone(network, loaders, settings, tmp_path, device=CPU)
    saved = checkpoint(tmp_path)
    weights = [each["weights"] for each in seen[1:]] + [saved["raw_state_dict"]]  # after each step
    average = weights[0]
    for step, after in enumerate(weights[1:], start=1):
        decay = min(0.8, 1 - (1 + step) ** (-2 / 3)) if ema_warmup else 0.8
        average = {
            name: decay * average[name] + (1 - decay) * tensor
            if tensor.is_floating_point()
            else tensor
            for name, tensor in after.items()
        }
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == average[name].dtype
        assert torch.allclose(tensor, average[name], atol=1e-5), name
        assert torch.equal(tensor, saved["state_dict"][name])
    assert not torch.equal(saved["raw_state_dict"]["5.weight"], average["5.weight"])
    assert network.state_dict()["1.num_batches_tracked"] == STEPS
    val = evaluate(network, loaders.val, device=CPU)
    assert result.history[-1]["ema_val_loss"] == pytest.approx(val.loss)
    assert result.history[-1]["val_loss"] != pytest.approx(val.loss)


@pytest.mark.parametrize("limit", ["clip_grad", "clip_value"])
def test_gradients_are_clipped(
    limit: str, loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = losses_seen(monkeypatch)
    plain = {"opt": "momentum", "momentum": 0.0, "weight_decay": 0.0}  # of gradient descent
    settings = config(lr=0.1, **plain, **{limit: 1e-3})
    network = make_network()
    names = [name for name, _ in network.named_parameters()]
    train_standalone(network, loaders, settings, tmp_path, device=CPU)
    first, second = seen[0]["weights"], seen[1]["weights"]
    moved = torch.cat([(second[name] - first[name]).flatten() for name in names])
    size = moved.norm() if limit == "clip_grad" else moved.abs().max()
    assert size.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_seeds_give_other_orders_of_the_same_images(
    loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []
    for seed in (0, 1):
        seen = losses_seen(monkeypatch)
        train_standalone(make_network(), loaders, config(seed=seed), tmp_path, device=CPU)
        orders.append([each["y"] for each in seen])
    epochs = [torch.cat(order[i : i + 3]) for order in orders for i in range(0, STEPS, 3)]
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 2 * EPOCHS
    assert all(torch.equal(each.sort()[0], epochs[0].sort()[0]) for each in epochs)


def test_dropout_follows_from_seed_and_step_and_leaves_the_global_generator_alone(
    loaders: Loaders, tmp_path: Path
) -> None:
    class Record(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.masks: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.masks.append(F.dropout(torch.ones(8), 0.5, self.training))
            return x

    runs = []
    for global_seed, seed in ((1, 0), (2, 0), (3, 1)):
        network = make_network().append(Record())
        torch.manual_seed(global_seed)
        expected = torch.rand(1)
        torch.manual_seed(global_seed)
        train_standalone(network, loaders, config(seed=seed), tmp_path, device=CPU)
        assert torch.equal(torch.rand(1), expected)
        record = network[-1]
        assert isinstance(record, Record)
        runs.append([tuple(mask.tolist()) for mask in record.masks])
    assert runs[0] == runs[1] != runs[2]
    assert len(set(runs[0])) > STEPS / 2


@pytest.mark.parametrize("amp", [False, True])
def test_the_loss_is_cross_entropy_of_hard_and_soft_labels(amp: bool) -> None:
    network = make_network().eval()
    x, y = torch.randn(5, 1, 8, 8), torch.tensor([1, 2, 3, 4, 5])
    with torch.autocast("cpu", torch.bfloat16, enabled=amp, cache_enabled=False):
        logits = network(x).float()
    assert logits.bfloat16().float().equal(logits) == amp
    picked = -F.log_softmax(logits, 1)[torch.arange(5), y].mean()
    assert training_loss(network, x, y, amp=amp).item() == pytest.approx(picked.item())
    soft = F.one_hot(y, 10).float()
    assert training_loss(network, x, soft, amp=amp).item() == pytest.approx(picked.item())


def make_subnet(space_name: str, **settings: Any) -> nn.Module:
    """A small subnet of a space, with fresh weights."""
    space = create_space(space_name)
    arch = space.sample(np.random.default_rng(0))
    sizes: dict[str, dict[str, Any]] = {
        "nasnet": {"channels": 2, "layers": 3},
        "mobilenetv3": {"width": 0.25, "strides": [1] * 6, "resolutions": []},
    }
    torch.manual_seed(0)
    settings = {"num_classes": 10, "input_size": (1, 8, 8), **sizes[space_name], **settings}
    return create_subnet(arch, **settings)


@pytest.mark.parametrize("aux_weight", [0.0, 0.4, 1.0])
def test_the_loss_of_the_auxiliary_head_is_added_with_its_weight(aux_weight: float) -> None:
    network = make_subnet("nasnet", input_size=(1, 32, 32), with_auxiliary=True)
    assert isinstance(network, NASNetSubnet)
    x, y = torch.randn(4, 1, 32, 32), torch.tensor([1, 2, 3, 4])
    with torch.no_grad():
        heads = network.forward_with_auxiliary(x)
    soft = F.one_hot(y, 10) * 0.9 + 0.01
    main, auxiliary = (-(soft * F.log_softmax(logits, 1)).sum(1).mean() for logits in heads)
    assert main.item() != pytest.approx(auxiliary.item(), rel=1e-3)
    expected = pytest.approx((main + aux_weight * auxiliary).item())
    loss = training_loss(network, x, y, label_smoothing=0.1, aux_weight=aux_weight)
    assert loss.item() == expected
    assert training_loss(network, x, soft, aux_weight=aux_weight).item() == expected
    loss.backward()  # type: ignore[no-untyped-call]
    assert network.skeleton.auxiliary is not None
    learns = [p.grad is not None for p in network.skeleton.auxiliary.parameters()]
    assert set(learns) == {aux_weight > 0}


@pytest.mark.parametrize("space", ["nasnet", "mobilenetv3"])
@pytest.mark.parametrize("ramp", [False, True])
def test_drop_path_grows_with_the_steps_on_demand(
    ramp: bool, space: str, loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_subnet(space, drop_path=0.3)
    drops = [module for module in network.modules() if isinstance(module, DropPath)]
    own = [drop.drop_prob for drop in drops]
    assert max(own) > 0.2
    seen = []

    def loss(network: nn.Module, x: Tensor, y: Tensor, **settings: Any) -> Tensor:
        seen.append([drop.drop_prob for drop in drops])
        return next(network.parameters()).sum()  # what is learned does not matter

    monkeypatch.setattr(standard_training, "training_loss", loss)
    monkeypatch.setattr(
        standard_training, "evaluate", lambda *args, **settings: Evaluation(0.0, 0.0, 1)
    )
    train_standalone(network, loaders, config(drop_path_ramp=ramp), tmp_path, device=CPU)
    for step, rates in enumerate(seen):
        assert rates == pytest.approx([rate * step / STEPS if ramp else rate for rate in own])
    assert len(seen) == STEPS
    assert [drop.drop_prob for drop in drops] == own


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aux_weight": 0.4}, "aux_weight needs a network with an auxiliary head"),
        ({"drop_path_ramp": True}, "drop_path_ramp needs a network with drop path"),
    ],
)
def test_what_the_network_lacks_is_refused(
    settings: dict[str, Any], message: str, loaders: Loaders, tmp_path: Path
) -> None:
    for network in (make_network(), make_subnet("nasnet")):
        with pytest.raises(ValueError, match=message):
            train_standalone(network, loaders, config(**settings), tmp_path, device=CPU)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_last_is_a_choice(channels_last: bool, loaders: Loaders, tmp_path: Path) -> None:
    inner = nn.Conv2d(4, 4, 3)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), inner, nn.Flatten(), nn.Linear(64, 10))
    settings = config(epochs=1, channels_last=channels_last, ema_decay=0.9)
    train_standalone(network, loaders, settings, tmp_path, device=CPU)
    assert inner.weight.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_have_the_memory_format_of_the_weights(
    channels_last: bool, loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a convolution goes by the images' format too, and those of loaders have channels last."""
    kind = type(loaders.train)
    given, seen = kind.epoch, set()

    def in_colour(*args: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in given(*args):
            yield x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last), y

    def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            seen.add(inputs[0].is_contiguous(memory_format=torch.channels_last))

    monkeypatch.setattr(kind, "epoch", in_colour)
    monkeypatch.setattr(
        "supernets.training.standalone.evaluate", lambda *_, **__: Evaluation(0, 0, 1)
    )
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10))
    network[1].register_forward_pre_hook(see)
    settings = config(epochs=1, channels_last=channels_last)
    train_standalone(network, loaders, settings, tmp_path, device=CPU)
    assert seen == {channels_last}


def test_a_loss_that_is_not_finite_names_step_and_lr(
    loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        value = training_loss(*args, **settings)
        return value * math.nan if count == STEPS_PER_EPOCH + 2 else value

    monkeypatch.setattr(standard_training, "training_loss", loss)
    with pytest.raises(TrainingError) as caught:
        train_standalone(make_network(), loaders, config(), tmp_path, device=CPU)
    assert str(caught.value).startswith("The loss became nan at step 4, lr 0.0")
    assert str(tmp_path / "last.pt") in str(caught.value)
    assert checkpoint(tmp_path)["progress"]["step"] == STEPS_PER_EPOCH


@pytest.mark.parametrize("number", [2, STEPS_PER_EPOCH])
def test_weights_broken_by_the_last_step_before_a_checkpoint_are_not_saved(
    number: int, loaders: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network()
    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == number:  # the loss is fine, the gradient is not
            next(network.parameters()).register_hook(lambda grad: grad * math.inf)
        return training_loss(*args, **settings)

    monkeypatch.setattr(standard_training, "training_loss", loss)
    with pytest.raises(TrainingError, match=f"The weights are not finite after step {number - 1}"):
        train_standalone(network, loaders, config(), tmp_path, device=CPU, checkpoint_minutes=1e-9)
    assert checkpoint(tmp_path)["progress"]["step"] == number - 1


def test_a_checkpoint_of_another_network_is_refused(
    loaders: Loaders,
    uninterrupted: Callable[[str], tuple[Path, nn.Module]],
    tmp_path: Path,
) -> None:
    resumed = checkpoint(uninterrupted("sgd")[0])
    with pytest.raises(ValueError, match="do not fit its settings"):
        train_standalone(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
            loaders,
            config(),
            tmp_path,
            device=CPU,
            resume_from=resumed,
        )


def test_files_that_are_no_checkpoint_are_refused(
    uninterrupted: Callable[[str], tuple[Path, nn.Module]], tmp_path: Path
) -> None:
    path = tmp_path / "last.pt"
    with pytest.raises(ValueError, match="There is no checkpoint at"):
        read_network_checkpoint(path)
    whole = (uninterrupted("sgd")[0] / "last.pt").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is truncated or damaged"):
        read_network_checkpoint(path)
    settings = {"num_classes": 2, "channels": 4, "cells_per_stage": 1, "input_size": (1, 8, 8)}
    save_supernet(path, create_supernet("nasbench201", **settings))
    with pytest.raises(ValueError, match="is not a checkpoint of a network's training"):
        read_network_checkpoint(path)
    torch.save(nn.Linear(2, 2), path)  # a pickled module, which is never loaded
    with pytest.raises(ValueError, match="is not a checkpoint of a network's training"):
        read_network_checkpoint(path)
    torch.save({"format": standard_training.FORMAT, "version": 99}, path)
    with pytest.raises(ValueError, match="has checkpoint version 99"):
        read_network_checkpoint(path)


SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch import nn
from supernets.training import standalone as standard_training
from supernets.data.loaders import create_loaders
from supernets.runtime.distributed import (start_process_group, stop_process_group)
from supernets.runtime.ranks import ranks_from_environment
from supernets.training.standalone_config import RetrainConfig

torch.set_num_threads(1)
output, ranks, cpu = Path(sys.argv[1]), ranks_from_environment(), torch.device("cpu")
loaders = create_loaders("digits", batch_size=190, rank=ranks.rank, world_size=ranks.world_size)
start_process_group(ranks, cpu)
real, count, stop_at = standard_training.training_loss, 0, None


def loss(*args, **settings):
    global count
    count += 1
    if ranks.rank == 1 and count == stop_at:
        os.kill(os.getpid(), signal.SIGTERM)  # one rank alone is asked to stop
    return real(*args, **settings)


standard_training.training_loss = loss


def train(name, resume_from=None, **settings):
    torch.manual_seed(ranks.rank)  # the first rank's weights count
    layers = [nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)]
    if name == "batchnorm":
        layers.insert(1, nn.BatchNorm2d(4))
    network = nn.Sequential(*layers)
    config = RetrainConfig(epochs=2, lr=0.05, clip_grad=0.5, ema_decay=0.5)
    (output / name).mkdir(exist_ok=True)
    return network, standard_training.train_standalone(
        network, loaders, config, output / name, device=cpu, ranks=ranks, resume_from=resume_from
    )


for name in ("plain", "batchnorm"):
    network, result = train(name)
    assert result.is_finished
    if ranks.world_size > 1:
        for tensor in network.state_dict().values():
            both = [torch.empty_like(tensor) for _ in range(2)]
            dist.all_gather(both, tensor)
            assert torch.equal(*both), name
if ranks.world_size > 1:
    count, stop_at = 0, 3
    assert train("stopped")[1].steps == 3
    resume_from = standard_training.read_network_checkpoint(output / "stopped" / "last.pt")
    dist.barrier()
    assert train("stopped", resume_from)[1].is_finished
stop_process_group()
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_doubled_minibatch(
    server_of_workers: ForkServerContext, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "two").mkdir()
    run_by_two(server_of_workers, tmp_path / "script.py", str(tmp_path / "two"))
    loaders = create_loaders("digits", batch_size=380)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)
    )
    (tmp_path / "one").mkdir()
    settings = RetrainConfig(epochs=2, lr=0.05, clip_grad=0.5, ema_decay=0.5)
    train_standalone(network, loaders, settings, tmp_path / "one", device=CPU)
    one, two, stopped = (
        checkpoint(tmp_path / name) for name in ("one", "two/plain", "two/stopped")
    )
    for key in ("state_dict", "raw_state_dict"):
        for name, tensor in one[key].items():
            assert torch.allclose(two[key][name], tensor, atol=1e-6), name
            assert torch.equal(stopped[key][name], two[key][name]), name
    for found, expected in zip(table(tmp_path / "two/plain"), table(tmp_path / "one"), strict=True):
        for name in ("train_loss", "val_loss", "ema_val_loss"):
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-5)


def test_training_of_a_whole_cell_by_an_earlier_version_goes_on(
    loaders: Loaders, tmp_path: Path
) -> None:
    """Its network has a convolution that sees only zeros, and the optimizer knows it."""
    arch = create_space("nasbench201").parse(
        "|none~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|skip_connect~2|"
    )
    settings = {"num_classes": 10, "channels": 2, "cells_per_stage": 1, "input_size": (1, 8, 8)}

    def make(is_whole: bool) -> nn.Module:
        torch.manual_seed(0)
        network = create_subnet(arch, **settings)
        assert isinstance(network, NASBench201Subnet)
        if is_whole:
            network.make_room({"skeleton.blocks.0.edges.2.2.conv.weight": torch.zeros(())})
            for name, tensor in network.state_dict().items():
                if ".edges." in name:
                    tensor.fill_(1)
        return network

    folders = {name: tmp_path / name for name in ("part", "whole", "resumed")}
    for folder in folders.values():
        folder.mkdir()
    recipe = config(epochs=2)
    first = make(is_whole=True)
    train_standalone(first, loaders, config(epochs=2, stop_after=1), folders["part"], device=CPU)
    train_standalone(make(is_whole=True), loaders, recipe, folders["whole"], device=CPU)
    resumed = make(is_whole=False)
    before = read_network_checkpoint(folders["part"] / "last.pt")
    before["config"]["stop_after"] = None
    train_standalone(resumed, loaders, recipe, folders["resumed"], device=CPU, resume_from=before)
    expected = read_network_checkpoint(folders["whole"] / "last.pt")["state_dict"]
    found = resumed.state_dict()
    assert found.keys() == expected.keys()
    assert any(".edges.2.2." in name for name in found)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
