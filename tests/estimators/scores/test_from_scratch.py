"""Trainings from scratch of tiny networks: repeatable, resumable, and what is kept of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from estimators.base import Estimate, EstimateError
from estimators.scores import from_scratch
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.names import Score
from supernets.data.loaders import Loader, Loaders
from supernets.networks.base import Supernet
from supernets.spaces import Architecture
from supernets.training.evaluation import Evaluation, evaluate
from supernets.training.loop import TrainResult
from supernets.training.standalone import train_standalone
from supernets.training.standalone_config import RetrainConfig
from tests.supernets.training.states import at_step

CPU = torch.device("cpu")
STEPS_PER_EPOCH = 3
CHOICES = (3, 1, 2, 1, 4, 3)
CONFIG = RetrainConfig(epochs=2, lr=0.05)
SPACES = {"nasbench201": {}, "mobilenetv3": {"resolutions": (24, 32)}, "nasnet": {}, "darts": {}}


class Unread:
    """A split that must not be looked at."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        raise AssertionError("the test split was read")


class Watched(Loader):
    """Remembers the minibatches it gave."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.num_images, self.batch_size = loader.num_images, loader.batch_size
        self.given: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.loader.epoch(epoch, start):
            self.given.append(x)
            yield x, y


@pytest.fixture(scope="module")
def loaders(make_loaders: Callable[..., Loaders]) -> Loaders:
    return make_loaders()


@pytest.fixture(scope="module")
def supernet(make_supernet: Callable[..., Supernet]) -> Supernet:
    return make_supernet()


@pytest.fixture
def arch(supernet: Supernet) -> Architecture:
    return supernet.space.architecture(CHOICES)


@pytest.fixture
def make(
    supernet: Supernet, loaders: Loaders, tmp_path: Path
) -> Callable[..., FromScratchEstimator]:
    """Builds an estimator, in a named folder."""

    def make(folder: str = "a", config: RetrainConfig = CONFIG, **changes: Any) -> Any:
        (tmp_path / folder).mkdir(exist_ok=True)
        arguments = {"supernet": supernet, "loaders": loaders, "output": tmp_path / folder}
        return FromScratchEstimator(**{**arguments, "config": config, **changes})

    return make


@pytest.fixture(scope="module")
def whole(
    supernet: Supernet, loaders: Loaders, tmp_path_factory: pytest.TempPathFactory
) -> Estimate:
    """What ``CONFIG`` makes of ``arch`` without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    estimator = FromScratchEstimator(supernet, loaders, CONFIG, folder)
    return estimator.estimate(supernet.space.architecture(CHOICES))


def values(estimate: Estimate) -> tuple[object, ...]:
    """All but the time it took."""
    return estimate.score, dict(estimate.metrics), dict(estimate.curves)


def die() -> None:
    raise RuntimeError("killed")


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 1, die)


def test_estimate_is_what_a_training_by_hand_gives(
    make: Callable[..., FromScratchEstimator],
    supernet: Supernet,
    loaders: Loaders,
    arch: Architecture,
    tmp_path: Path,
) -> None:
    config = dataclasses.replace(CONFIG, seed=3)
    estimator = make(config=config)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = supernet.build_subnet(arch)
    result = train_standalone(network, loaders, config, tmp_path, device=CPU)
    val = evaluate(network, loaders.val, device=CPU)
    test = evaluate(network, loaders.test, device=CPU)
    estimate = estimator.estimate(arch)
    assert estimate.score == test.top1
    assert estimate.metrics == {
        "val_top1": val.top1,
        "val_loss": val.loss,
        "test_top1": test.top1,
        "test_loss": test.loss,
    }
    assert estimate.curves == {
        name: tuple(row[name] for row in result.history)
        for name in ("train_loss", "val_top1", "val_loss")
    }
    assert estimate.curves["val_loss"][-1] == val.loss
    assert estimator.name == "from_scratch"


def test_result_depends_on_architecture_and_seed_alone(
    make: Callable[..., FromScratchEstimator],
    supernet: Supernet,
    arch: Architecture,
    whole: Estimate,
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
    assert_same_weights: Callable[..., None],
) -> None:
    other = supernet.space.architecture((3, 3, 3, 1, 0, 2))
    weights, state = weights_of(supernet), torch.get_rng_state()
    first, second = (values(make().estimate(a)) for a in (other, arch))
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert values(make("again").estimate(other)) == first
    assert second == values(whole)
    assert first != second
    reseeded = make("seed", dataclasses.replace(CONFIG, seed=1)).estimate(arch)
    assert reseeded.curves["train_loss"] != whole.curves["train_loss"]
    assert_same_weights(supernet, weights)
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_all_architectures_see_the_same_minibatches(
    make: Callable[..., FromScratchEstimator], supernet: Supernet, loaders: Loaders
) -> None:
    watched = Watched(loaders.train)
    estimator = make(loaders=dataclasses.replace(loaders, train=watched))
    for choices in (CHOICES, (1, 1, 1, 1, 1, 1)):
        estimator.estimate(supernet.space.architecture(choices))
    first, second = watched.given[: 2 * STEPS_PER_EPOCH], watched.given[2 * STEPS_PER_EPOCH :]
    assert len(second) == 2 * STEPS_PER_EPOCH
    assert all(torch.equal(x, other) for x, other in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[STEPS_PER_EPOCH])


def test_a_users_file_among_those_of_a_training_is_kept(
    make: Callable[..., FromScratchEstimator], arch: Architecture
) -> None:
    estimator = make()
    folder = estimator._folder_of(arch)
    (folder / "tensorboard").mkdir(parents=True)
    for name in ("tensorboard/events.out.tfevents.1.host", ".last.pt.1.tmp", "notes.txt"):
        (folder / name).write_text("x")
    estimator.estimate(arch)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_only_the_record_is_kept_and_read_again(
    make: Callable[..., FromScratchEstimator],
    make_supernet: Callable[..., Supernet],
    arch: Architecture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimator = make()
    estimate = estimator.estimate(arch)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 2 and names[1] == "settings.json"
    record = json.loads((tmp_path / "a" / names[0]).read_text())
    assert record["architecture"] == estimator.supernet.space.format(arch)
    forbid_training(monkeypatch)
    assert estimator.estimate(arch) == estimate
    # other weights, and what a supernet has but its subnets do not, make no difference
    assert make(supernet=make_supernet(seed=1, bn_mode="batch")).estimate(arch) == estimate


@pytest.mark.parametrize(
    ("number", "step"),
    [(signal.SIGINT, 2), (signal.SIGTERM, STEPS_PER_EPOCH), (signal.SIGINT, STEPS_PER_EPOCH + 1)],
)
def test_a_stopped_training_interrupts_and_goes_on_to_the_same_bits(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    whole: Estimate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    step: int,
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            make().estimate(arch)
    assert len(list((tmp_path / "a").glob("*/last.pt"))) == 1
    # the step in which the signal came was finished
    at_step(monkeypatch, 2 * STEPS_PER_EPOCH - step + 1, die)
    assert values(make().estimate(arch)) == values(whole)
    assert not list((tmp_path / "a").glob("*/last.pt"))


def test_a_stop_in_the_last_step_still_interrupts_and_keeps_the_result(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    whole: Estimate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        last = 2 * STEPS_PER_EPOCH
        at_step(patch, last, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            make().estimate(arch)
    forbid_training(monkeypatch)
    assert values(make().estimate(arch)) == values(whole)


@pytest.mark.parametrize(
    ("step", "checkpoint_minutes", "num_left"),
    [
        (2, 10.0, 2 * STEPS_PER_EPOCH),  # before there was a checkpoint
        (STEPS_PER_EPOCH + 2, 10.0, STEPS_PER_EPOCH),
        (STEPS_PER_EPOCH + 2, 1e-9, STEPS_PER_EPOCH - 1),
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    whole: Estimate,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    checkpoint_minutes: float,
    num_left: int,
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, step, die)
        with pytest.raises(RuntimeError, match="killed"):
            make(checkpoint_minutes=checkpoint_minutes).estimate(arch)
    at_step(monkeypatch, num_left + 1, die)
    assert values(make().estimate(arch)) == values(whole)


def test_averaged_weights_are_the_result_of_a_recipe_that_averages(
    make: Callable[..., FromScratchEstimator], arch: Architecture
) -> None:
    estimate = make(config=dataclasses.replace(CONFIG, ema_decay=0.5)).estimate(arch)
    assert len(estimate.curves["ema_val_top1"]) == CONFIG.epochs
    assert estimate.metrics["val_loss"] == estimate.curves["ema_val_loss"][-1]
    assert estimate.metrics["val_loss"] != estimate.curves["val_loss"][-1]


def test_a_run_killed_after_the_training_only_measures(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    whole: Estimate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(from_scratch, "evaluate", lambda *args, **settings: die())
        with pytest.raises(RuntimeError, match="killed"):
            make().estimate(arch)
    forbid_training(monkeypatch)
    assert values(make().estimate(arch)) == values(whole)


def test_seconds_are_those_of_all_epochs(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = [{"epoch": i, "step": i, "lr": 0.1, "seconds": 1.5 * i} for i in (1, 2)]

    def train(*args: Any, **settings: Any) -> TrainResult:
        return TrainResult(True, 2, 2, history, Path("last.pt"))

    monkeypatch.setattr(from_scratch, "train_standalone", train)
    estimate = make().estimate(arch)
    assert estimate.seconds == 4.5
    assert estimate.curves == {}


def test_a_diverging_training_is_an_error_and_is_remembered(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(CONFIG, lr=1e18)
    with pytest.raises(
        EstimateError, match=r"^The training from scratch diverged: .* lr [\d.]+e\+17\.$"
    ):
        make(config=config).estimate(arch)
    assert not [path for path in (tmp_path / "a").iterdir() if path.is_dir()]
    forbid_training(monkeypatch)
    with pytest.raises(EstimateError, match="diverged"):
        make(config=config).estimate(arch)


def test_a_network_without_finite_outputs_is_an_error(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        from_scratch, "evaluate", lambda *args, **settings: Evaluation(30.0, math.nan, 15)
    )
    with pytest.raises(EstimateError, match="the val loss is nan"):
        make().estimate(arch)


def test_a_search_by_val_does_not_read_the_test_split(
    make: Callable[..., FromScratchEstimator],
    loaders: Loaders,
    arch: Architecture,
    whole: Estimate,
) -> None:
    unread = dataclasses.replace(loaders, test=Unread())
    estimate = make(score=Score("val_acc"), loaders=unread).estimate(arch)
    assert estimate.score == whole.metrics["val_top1"]
    assert estimate.metrics == {name: whole.metrics[name] for name in ("val_top1", "val_loss")}
    assert estimate.curves == whole.curves


def test_scores_of_the_training_speed_are_sums_over_epochs(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    whole: Estimate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = whole.curves["train_loss"]
    assert first != second
    expected = {
        Score("tse"): first + second,
        Score("tse_e"): second,
        Score("tse_e", window=2): first + second,
        Score("tse_ema"): 0.999 * first + second,
        Score("tse_ema", gamma=0.5): 0.5 * first + second,
    }
    make(score=Score("val_acc")).estimate(arch)
    forbid_training(monkeypatch)  # one training serves all of them
    for score, value in expected.items():
        estimate = make(score=score).estimate(arch)
        assert estimate.score == pytest.approx(-value)
        assert estimate.metrics.keys() == {"val_top1", "val_loss", score.name}
        assert estimate.metrics[score.name] == -estimate.score
        assert estimate.curves == whole.curves


def test_a_training_that_stops_early_is_the_beginning_of_its_schedule(
    make: Callable[..., FromScratchEstimator],
    arch: Architecture,
    whole: Estimate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early = {"config": dataclasses.replace(CONFIG, stop_after=1), "score": Score("val_acc")}
    with monkeypatch.context() as patch:
        at_step(patch, STEPS_PER_EPOCH + 1, die)
        estimate = make("early", **early).estimate(arch)
    beginnings = {name: (curve[0],) for name, curve in whole.curves.items()}
    assert estimate.curves == beginnings
    assert estimate.metrics == {name: beginnings[name][0] for name in ("val_top1", "val_loss")}
    assert estimate.score == whole.curves["val_top1"][0]
    settings = json.loads((tmp_path / "early" / "settings.json").read_text())
    assert (settings["recipe epochs"], settings["recipe stop_after"]) == (2, 1)
    # a schedule of one epoch falls faster
    short = make("short", dataclasses.replace(CONFIG, epochs=1)).estimate(arch)
    assert short.curves["train_loss"] != beginnings["train_loss"]
    # stopped on the way and resumed
    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            make("stopped", **early).estimate(arch)
    at_step(monkeypatch, STEPS_PER_EPOCH - 1, die)
    assert values(make("stopped", **early).estimate(arch)) == values(estimate)


@pytest.mark.parametrize("space", SPACES)
def test_every_space(
    make: Callable[..., FromScratchEstimator],
    make_supernet: Callable[..., Supernet],
    make_loaders: Callable[..., Loaders],
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
    assert_same_weights: Callable[..., None],
    space: str,
) -> None:
    supernet = make_supernet(space, **SPACES[space])
    weights = weights_of(supernet)
    loaders = make_loaders(supernet.input_size[1])
    if space == "mobilenetv3":  # the smallest, at 24 pixels of the 32
        arch, _ = supernet.space.extremes()
    else:
        arch = supernet.space.sample(np.random.default_rng(0))
    config = dataclasses.replace(CONFIG, epochs=1)
    estimate = make(supernet=supernet, loaders=loaders, config=config).estimate(arch)
    assert {name: len(curve) for name, curve in estimate.curves.items()} == {
        "train_loss": 1,
        "val_top1": 1,
        "val_loss": 1,
    }
    assert all(math.isfinite(value) for value in estimate.metrics.values())
    assert estimate.seconds > 0
    assert_same_weights(supernet, weights)


def test_a_folder_of_other_settings_is_refused(
    make: Callable[..., FromScratchEstimator],
    make_loaders: Callable[..., Loaders],
    tmp_path: Path,
) -> None:
    make()
    loaders = make_loaders()
    loaders.settings["found"] = {"summary": "one file more is passed over"}
    make(loaders=loaders)
    changes: dict[str, dict[str, Any]] = {
        "recipe epochs was 2 and is now 3": {"config": RetrainConfig(epochs=3, lr=0.05)},
        "recipe stop_after was None and is now 1": {
            "config": dataclasses.replace(CONFIG, stop_after=1)
        },
        "split was test and is now val": {"score": Score("val_acc")},
        "data batch_size was 10 and is now 7": {"loaders": make_loaders(batch_size=7)},
        "data cutout was not set and is now 2": {"loaders": make_loaders(cutout=2)},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=f"other settings: {message}. Use another"):
            make(**change)
    (tmp_path / "a" / "settings.json").write_text("{")
    with pytest.raises(ValueError, match="settings.json is not a record of trainings; remove it"):
        make()


def test_a_supernet_of_another_size_is_refused(
    make: Callable[..., FromScratchEstimator], make_supernet: Callable[..., Supernet]
) -> None:
    make()
    with pytest.raises(ValueError, match="network channels was 4 and is now 8"):
        make(supernet=make_supernet(channels=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": Score("synflow")}, "scored by val_acc, tse, tse_e, tse_ema of all epochs, got"),
        ({"score": Score("tse", num_steps=1)}, "of all epochs, got .*num_steps=1"),
        ({"checkpoint_minutes": 0}, "checkpoint_minutes must be positive, got 0"),
        ({"config": RetrainConfig(aux_weight=0.4)}, "leave aux_weight and drop_path_ramp out"),
        ({"config": RetrainConfig(drop_path_ramp=True)}, "leave aux_weight and drop_path_ramp"),
        ({"output": Path("missing")}, "missing is not a folder"),
    ],
)
def test_wrong_arguments_are_refused(
    make: Callable[..., FromScratchEstimator], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_data_that_do_not_fit_are_refused(
    make: Callable[..., FromScratchEstimator], loaders: Loaders
) -> None:
    for change, found in (
        ({"num_classes": 4}, "have 4 and 3"),
        ({"input_size": (1, 8, 8)}, "have 3 and 1"),
    ):
        with pytest.raises(ValueError, match=f"for 3 classes and 3 channels, the data {found}"):
            make(loaders=dataclasses.replace(loaders, **change))  # type: ignore[arg-type]
