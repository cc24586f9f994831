"""The loop: which minibatches move what, how often the network runs, resuming, and files."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.differentiable import loop
from search.differentiable import mixture_training as task
from search.differentiable.checkpoint import read_search_checkpoint
from search.differentiable.figure import plot_search
from search.differentiable.loop import DifferentiableSearch
from search.differentiable.search_config import GradientName, SearchConfig, Stage
from supernets.data.config import DataConfig
from supernets.data.loaders import ImageLoader, Loaders, create_loaders
from supernets.networks.factory import create_relaxed_network
from supernets.networks.relaxed import RelaxedNetwork
from supernets.spaces import NASBench201Space
from supernets.training.supernet_config import TrainConfig

STEPS_PER_EPOCH = 7
TSE_BATCHES = 3  # groups of 3, 3 and 1
CPU = torch.device("cpu")
MakeSearch = Callable[..., DifferentiableSearch]


@pytest.fixture(scope="session")
def loaders() -> Loaders:
    """Digits, 196 of them in each split: the last minibatch is smaller."""
    whole = create_loaders(DataConfig("digits", val_fraction=0.5), batch_size=30)
    splits = {name: indices[:196] for name, indices in whole.splits.items()}
    assert isinstance(whole.train, ImageLoader) and isinstance(whole.val, ImageLoader)
    train, val = whole.train.over(splits["train"]), whole.val.over(splits["val"])
    assert len(train) == STEPS_PER_EPOCH
    return replace(whole, train=train, val=val, splits=splits)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take as long as small searches."""
    monkeypatch.setattr(loop, "plot_search", lambda *_: None)


@pytest.fixture
def pictures(no_pictures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws them for all that."""
    monkeypatch.setattr(loop, "plot_search", plot_search)


@pytest.fixture
def make_search(loaders: Loaders, tmp_path: Path) -> MakeSearch:
    """Builds a search of a tiny mixture; recipes of both kinds by keyword."""
    return maker(loaders, tmp_path)


@pytest.fixture(scope="module")
def one_epoch(loaders: Loaders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a search of one epoch."""
    output = tmp_path_factory.mktemp("one_epoch")
    search = maker(loaders, output)(stages=(Stage(1),), gradient="first-order")
    search.run()
    return output / "last.pt"


def maker(loaders: Loaders, folder: Path) -> MakeSearch:
    """Returns what builds searches, in ``folder`` unless another is named."""

    def make(
        *,
        output: Path = folder,
        stages: tuple[Stage, ...] = (Stage(2),),
        recipe: dict[str, Any] | None = None,
        true_values: Any = None,
        **config: Any,
    ) -> DifferentiableSearch:
        def make_network(op_mask: Any, partial_channels: int) -> RelaxedNetwork:
            return create_relaxed_network(
                "nasbench201",
                num_classes=loaders.num_classes,
                input_size=loaders.input_size,
                channels=4,
                cells_per_stage=1,
                bn_mode="drnas",
                op_mask=op_mask,
                partial_channels=partial_channels,
            )

        torch.manual_seed(0)
        chosen = SearchConfig(stages=stages, tse_batches=TSE_BATCHES, alpha_lr=0.01, **config)
        weights = TrainConfig(
            **{
                "epochs": chosen.epochs,
                "opt": "momentum",
                "lr": 0.05,
                "num_probes": 0,
                "inactive_grads": "skip",
                **(recipe or {}),
            }
        )
        return DifferentiableSearch(
            make_network, loaders, chosen, weights, output, device=CPU, true_values=true_values
        )

    return make


class Watch:
    """Counts what a search does, and sees its minibatches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loaders: Loaders) -> None:
        self.forwards = self.backwards = 0
        self.alpha_steps: list[int] = []  # after how many forwards
        self.seen: list[Tensor] = []
        real_loss = task.MixtureLoss.__call__
        real_backward, real_grad = Tensor.backward, torch.autograd.grad
        real_step = task.Alphas.step

        def loss(of: Any, alphas: Tensor, batch: Any, **options: Any) -> Tensor:
            self.forwards += 1
            self.seen.append(batch[0].clone())
            return real_loss(of, alphas, batch, **options)

        def backward(of: Tensor, *args: Any, **options: Any) -> None:
            self.backwards += 1
            real_backward(of, *args, **options)  # type: ignore[no-untyped-call]

        def grad(*args: Any, **options: Any) -> Any:
            self.backwards += 1
            return real_grad(*args, **options)

        def step(of: Any, gradient: Tensor) -> None:
            self.alpha_steps.append(self.forwards)
            real_step(of, gradient)

        monkeypatch.setattr(task.MixtureLoss, "__call__", loss)
        monkeypatch.setattr(Tensor, "backward", backward)
        monkeypatch.setattr(torch.autograd, "grad", grad)
        monkeypatch.setattr(task.Alphas, "step", step)
        assert isinstance(loaders.train, ImageLoader)
        self.train = [x for epoch in range(2) for x, _ in loaders.train.epoch(epoch)]
        val = loaders.train.over(loaders.splits["val"])
        self.val = [x for epoch in range(2) for x, _ in val.epoch(epoch)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
def test_joint_tse_takes_no_more_passes_than_training(
    make_search: MakeSearch, loaders: Loaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, loaders)
    assert make_search(gradient="tse-joint").run().is_finished
    num_steps = 2 * STEPS_PER_EPOCH
    assert (watch.forwards, watch.backwards) == (num_steps, num_steps)
    assert_same(watch.seen, watch.train)  # each minibatch once, in turn
    assert watch.alpha_steps == [3, 6, 7, 10, 13, 14]


@pytest.mark.slow
def test_rollout_trains_a_copy_on_the_minibatches_that_weights_train_on_next(
    make_search: MakeSearch, loaders: Loaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, loaders)
    assert make_search(gradient="tse-rollout").run().is_finished
    expected = []
    for first, last in ((0, 3), (3, 6), (6, 7), (7, 10), (10, 13), (13, 14)):
        expected += 2 * watch.train[first:last]
    assert_same(watch.seen, expected)
    assert watch.forwards == watch.backwards == 4 * STEPS_PER_EPOCH
    assert watch.alpha_steps == [3, 9, 13, 17, 23, 27]  # before weights train


@pytest.mark.slow
def test_first_order_goes_through_the_val_split(
    make_search: MakeSearch, loaders: Loaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch, loaders)
    assert make_search(gradient="first-order").run().is_finished
    assert_same(watch.seen[::2], watch.val[: 2 * STEPS_PER_EPOCH])
    assert_same(watch.seen[1::2], watch.train)
    assert watch.alpha_steps == list(range(1, 4 * STEPS_PER_EPOCH, 2))
    assert watch.forwards == watch.backwards == 4 * STEPS_PER_EPOCH


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["first-order", "tse-joint", "tse-rollout"])
def test_alphas_rest_in_frozen_epochs(make_search: MakeSearch, gradient: GradientName) -> None:
    search = make_search(gradient=gradient, stages=(Stage(2, freeze_epochs=1),))
    start = search.alphas.values.detach().clone()
    search.run()
    first, second = (entry["alphas"] for entry in search.history)
    assert torch.equal(first, start) and not torch.equal(second, start)
    steps = 3 if gradient.startswith("tse") else STEPS_PER_EPOCH
    assert search.alphas.steps == steps


@pytest.mark.slow
def test_joint_gradient_is_the_sum_over_the_training(
    make_search: MakeSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients: list[Tensor] = []
    monkeypatch.setattr(task.Alphas, "step", lambda _, gradient: gradients.append(gradient.clone()))
    joint, by_copy = (
        make_search(gradient=gradient, stages=(Stage(1),), recipe={"clip_grad": 5.0})
        for gradient in ("tse-joint", "tse-rollout")
    )
    joint.run()
    num = len(gradients)
    by_copy.run()
    # alphas never move here, so that a copy and the weights go the same way
    assert num == 3 and len(gradients) == 6
    for a, b in zip(gradients[:num], gradients[num:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        assert a.abs().max() > 0


TWO_STAGES = (Stage(1, 2, None, 0), Stage(2, 1, 3, 1))
CASES: dict[str, dict[str, Any]] = {
    "darts": {"gradient": "first-order"},
    "darts-second": {"gradient": "second-order"},
    "darts-tse": {"gradient": "tse-joint", "macs_penalty": 0.1},
    "drnas": {"gradient": "first-order", "relaxation": "dirichlet", "stages": TWO_STAGES},
    "drnas-kl": {"gradient": "tse-rollout", "relaxation": "dirichlet-kl", "stages": TWO_STAGES},
    "drnas-tse": {"gradient": "tse-joint", "relaxation": "dirichlet", "stages": TWO_STAGES},
    "gdas": {"gradient": "first-order", "relaxation": "gumbel"},
}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Sends SIGINT during the ``number``-th step of the weights from now (from 1)."""
    real, count = task.MixtureTraining.add_gradients, 0

    def add_gradients(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(task.MixtureTraining, "add_gradients", add_gradients)


def outcome(search: DifferentiableSearch, folder: Path) -> tuple[Any, ...]:
    state = {name: t.clone() for name, t in search.network.state_dict().items()}
    files = [(folder / name).read_text() for name in ("alphas.csv", "derived.csv")]
    return state, search.alphas.values.detach().clone(), files


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_interrupted_anywhere_it_ends_in_the_same_bits(
    make_search: MakeSearch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
    whole = make_search(output=folders[0], **CASES[case])
    result = whole.run()
    assert result.is_finished
    expected = outcome(whole, folders[0])

    # within a group of minibatches, at the end of an epoch (and of a stage), and further on
    for number in (2, STEPS_PER_EPOCH - 2, STEPS_PER_EPOCH - 2):
        search = make_search(output=folders[1], **CASES[case])
        if (folders[1] / "last.pt").exists():
            search.restore(read_search_checkpoint(folders[1] / "last.pt"))
        with monkeypatch.context() as patch:
            interrupt_at(patch, number)
            assert not search.run().is_finished
    search = make_search(output=folders[1], **CASES[case])
    search.restore(read_search_checkpoint(folders[1] / "last.pt"))
    assert search.run().is_finished
    state, alphas, files = outcome(search, folders[1])
    assert torch.equal(alphas, expected[1])
    assert state.keys() == expected[0].keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected[0].items())
    assert files == expected[2]


@pytest.mark.slow
def test_a_finished_search_is_taken_up_without_another_step(
    make_search: MakeSearch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = CASES["drnas-tse"]
    make_search(**case).run()
    search = make_search(**case)
    search.restore(read_search_checkpoint(tmp_path / "last.pt"))
    monkeypatch.setattr(task.MixtureTraining, "add_gradients", None)  # would raise
    assert search.run().is_finished
    assert search.stage == 1 and search.network.op_mask.sum(axis=2).max() == 3


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_stages_prune_widen_and_keep_the_schedule(make_search: MakeSearch) -> None:
    search = make_search(**CASES["drnas"])
    widths = []
    for name, parameter in search.network.named_parameters():
        if name.endswith("edges.0.3.conv.weight"):
            widths.append(parameter.shape[0])
    result = search.run()
    convs = [
        p.shape[0]
        for name, p in search.network.named_parameters()
        if ".edges." in name and name.endswith("conv.weight")
    ]
    assert widths[0] == 2 and min(convs) == 4  # of 4 channels
    assert (search.network.op_mask.sum(axis=2) == 3).all()
    first, second, third = search.history
    kept = torch.from_numpy(search.network.op_mask)
    assert (second["op_weights"][~kept] == 0).all() and (third["op_weights"][kept] > 0).all()
    largest = first["alphas"].topk(3, dim=-1).indices.sort().values
    assert torch.equal(kept.nonzero()[:, 2].view(1, 6, 3), largest)
    assert (second["alphas"][~kept] == 0).all()
    # frozen in the first epoch of the second stage
    assert torch.equal(second["alphas"][kept], first["alphas"][kept])
    rates = [row["lr"] for row in result.history]
    steps = 3 * STEPS_PER_EPOCH
    expected = [
        0.001 + (0.05 - 0.001) * (1 + np.cos(np.pi * (n * STEPS_PER_EPOCH - 1) / steps)) / 2
        for n in (1, 2, 3)
    ]
    assert rates == pytest.approx(expected)


def test_the_record_is_without_none_where_it_is_excluded(make_search: MakeSearch) -> None:
    search = make_search(exclude_none=True)
    with torch.no_grad():
        search.alphas.values[..., 0] = 5.0
    assert 0 not in search.derived().arch.choices


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_the_record_of_epochs(make_search: MakeSearch, tmp_path: Path) -> None:
    space = NASBench201Space()
    values = {arch: float(i) for i, arch in enumerate(space.enumerate())}
    search = make_search(gradient="tse-joint", max_skips=0, true_values=values)
    result = search.run()
    with open(tmp_path / "derived.csv", newline="") as file:
        derived = list(csv.DictReader(file))
    with open(tmp_path / "summary.csv", newline="") as file:
        summary = list(csv.DictReader(file))
    assert [row["epoch"] for row in derived] == [row["epoch"] for row in summary] == ["1", "2"]
    for row, of_summary in zip(derived, summary, strict=True):
        arch = space.parse(row["architecture"])
        assert 1 not in arch.choices
        assert float(row["true_accuracy"]) == values[arch] == float(of_summary["true_accuracy"])
        assert 0 < float(of_summary["alpha_entropy"]) <= np.log(5)
    assert search.derived().arch == space.parse(derived[-1]["architecture"])
    assert float(summary[-1]["replaced_skips"]) == search.derived().replaced_skips
    assert result.history[-1]["alpha_steps"] == 6
    weights = search.mean_weights()
    expected_macs = (weights * search.network.op_macs()).sum()
    assert result.history[-1]["expected_macs"] == pytest.approx(expected_macs)
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
    with open(tmp_path / "alphas.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 30


@pytest.mark.slow
@pytest.mark.parametrize("relaxation", ["softmax", "dirichlet", "gumbel"])
def test_a_penalty_on_macs_makes_way_for_cheap_operations(
    make_search: MakeSearch, relaxation: str
) -> None:
    ends = []
    for penalty in (0.0, 50.0):
        search = make_search(relaxation=relaxation, macs_penalty=penalty, gradient="tse-joint")
        ends.append(search.run().history[-1]["expected_macs"])
    assert ends[1] < 0.995 * ends[0]


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["first-order", "tse-joint", "tse-rollout"])
def test_alphas_alone_lower_the_loss(make_search: MakeSearch, gradient: GradientName) -> None:
    search = make_search(gradient=gradient, recipe={"lr": 1e-9, "min_lr": 0.0}, stages=(Stage(4),))
    loss = task.MixtureLoss(search.network, search.relaxation, device=CPU)
    batches = list(search.train.epoch(0)) + list(search.val.epoch(0))

    @torch.no_grad()
    def total() -> float:
        return sum(loss(search.alphas.values, batch).item() for batch in batches)

    before = total()
    search.run()
    search.network.train()
    assert total() < before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": (Stage(1, keep_ops=3),)}, "The first stage has all 5 operations"),
        ({"recipe": {"warmup_epochs": 5}}, "warmup_epochs must be"),
    ],
)
def test_bad_settings_are_refused(
    make_search: MakeSearch, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_search(**settings)


def test_streams_are_refused(loaders: Loaders, tmp_path: Path) -> None:
    class Stream(nn.Module):
        pass

    streamed = replace(loaders, train=Stream())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images in any order"):
        DifferentiableSearch(
            lambda *_: None,  # type: ignore[arg-type,return-value]
            streamed,
            SearchConfig(),
            TrainConfig(epochs=50),
            tmp_path,
            device=CPU,
        )


@pytest.mark.slow
def test_any_value_of_a_checkpoint_is_read_or_refused_in_a_line(
    make_search: MakeSearch,
    edits: Callable[..., Any],
    is_refused: Callable[..., bool],
    one_epoch: Path,
    tmp_path: Path,
) -> None:
    path, num_refused = tmp_path / "last.pt", 0
    whole, search = torch.load(one_epoch, weights_only=True), make_search(stages=(Stage(1),))

    def restore() -> None:
        found = read_search_checkpoint(path)
        search.stage = 0
        search.restore(found)
        search._loop().restore(found)
        assert np.isfinite(search._history_arrays()).all()
        search.derived()

    for _, edited in edits(whole, every=61, others=(torch.zeros(2), torch.full((2,), np.nan))):
        torch.save(edited, path)
        num_refused += is_refused(path, restore)
    assert num_refused > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (("alphas", "optimizer", "param_groups", 0, "lr"), 1e12, "lr must be 0.01"),
        (("alphas", "optimizer", "state", 0), {}, "optimizer.* must be .*exp_avg"),
        (("alphas", "values"), torch.zeros(5), "alphas|values is"),
        (("alphas", "steps"), 10**30, "alphas.*must be at most"),
        (("history",), [], "history must be 1 epochs, got 0"),
        (("history", 0, "derived", "architecture"), "|x|", "history: .* is not a NAS-Bench-201"),
        (("alive",), torch.ones(1, 2, 3, dtype=torch.bool), "alive must be of shape"),
        (("stage",), 3, "stage must be below 1, got 3"),
    ],
)
def test_a_search_is_not_resumed_from_a_state_it_never_had(
    at: tuple[Any, ...],
    value: Any,
    message: str,
    make_search: MakeSearch,
    one_epoch: Path,
    tmp_path: Path,
) -> None:
    whole = holder = torch.load(one_epoch, weights_only=True)
    for name in at[:-1]:
        holder = holder[name]
    holder[at[-1]] = value
    torch.save(whole, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=message) as error:
        make_search(stages=(Stage(1),)).restore(read_search_checkpoint(tmp_path / "last.pt"))
    assert str(tmp_path / "last.pt") in str(error.value)
