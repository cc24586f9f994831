"""Compiled blocks: which they are, what they share, and that nothing else sees them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from supernets import RetrainConfig, RetrainJob, RetrainSource, retrain
from supernets.data.loaders import create_loaders
from supernets.export.folder import load_subnet
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.training import compiled_blocks
from supernets.training.compiled_blocks import CompiledBlocks, blocks_of, check_compile
from supernets.training.standalone import read_network_checkpoint, train_standalone

# PyTorch's compiler asks for it itself, and hides the warning from users
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

CPU = torch.device("cpu")
ARCH = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"


class Counted:
    """A backend that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        forward: Callable[..., Any] = graph.forward
        return forward


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    counted = Counted()
    monkeypatch.setattr(compiled_blocks, "BACKEND", counted)
    check_compile("blocks", CPU)
    counted.graphs = 0
    yield counted
    compiled_blocks._problem.cache_clear()
    torch.compiler.reset()


def network(space: str = "nasbench201", **settings: Any) -> nn.Module:
    supernet = create_supernet(space, num_classes=10, **settings)
    arch = (
        supernet.space.parse(ARCH)
        if space == "nasbench201"
        else supernet.space.sample(np.random.default_rng(0))
    )
    torch.manual_seed(0)
    return supernet.build_subnet(arch).train()


def digits(cells_per_stage: int = 1) -> nn.Module:
    settings: dict[str, Any] = {"channels": 4, "input_size": (1, 8, 8)}
    return network(cells_per_stage=cells_per_stage, **settings)


def test_blocks_are_cells_and_reductions(make_supernet: Callable[..., Supernet]) -> None:
    names = [type(block).__name__ for block in blocks_of(digits(cells_per_stage=2))]
    cells = ["Cell"] * 2
    assert names == [*cells, "ReductionBlock", *cells, "ReductionBlock", *cells]
    nasnet = make_supernet("nasnet")
    subnet = nasnet.extract(nasnet.space.sample(np.random.default_rng(0)))
    assert {type(block).__name__ for block in blocks_of(subnet)} == {"FixedCell"}


def test_without_blocks_the_network_is_one() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
    assert blocks_of(plain) == [plain]


def test_blocks_of_one_structure_share_code(backend: Counted) -> None:
    x = torch.rand(3, 1, 8, 8)
    cells = digits(cells_per_stage=3)
    compiled = CompiledBlocks(cells, CPU)
    assert len(compiled.blocks) == 11
    for _ in range(2):
        with compiled.step(x):
            cells(x).sum().backward()
    assert backend.graphs == 3 + 2  # a width of cells each, and the reductions between them


def test_more_kinds_of_blocks_than_pytorch_keeps_by_itself_are_all_compiled(
    backend: Counted,
) -> None:
    blocks = nn.Sequential(
        *(nn.Sequential(nn.TransformerEncoderLayer(2, 1, width)) for width in range(3, 15))
    )
    compiled = CompiledBlocks(blocks, CPU)
    with compiled.step(torch.rand(3, 2, 2)):
        blocks(torch.rand(3, 2, 2))
    assert backend.graphs == 12


def test_outside_of_a_step_the_network_is_as_it_was(
    backend: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=compiled_blocks.__name__)
    x, cells = torch.rand(3, 1, 8, 8), digits()
    names, compiled = set(cells.state_dict()), CompiledBlocks(cells, CPU)
    with compiled.step(x):
        cells(x)
        assert set(cells.state_dict()) == names
    done = backend.graphs
    cells.eval()(torch.rand(5, 1, 8, 8))
    assert backend.graphs == done
    assert all("forward" not in vars(module) for module in cells.modules())
    with pytest.raises(RuntimeError, match="of the step"), compiled.step(x):
        raise RuntimeError("of the step")
    assert all("forward" not in vars(module) for module in cells.modules())
    said = [record.message for record in caplog.records if record.name == compiled_blocks.__name__]
    assert len(said) == 2, said  # not for the second step
    assert said[0].startswith("Compiling 5 blocks for minibatches of 3;")
    assert said[1].startswith("Compiled; with its first step it took ")


@pytest.mark.slow
def test_a_training_goes_on_to_the_same_bits_and_its_weights_are_for_all(
    backend: Counted, tmp_path: Path
) -> None:
    loaders = create_loaders("digits", batch_size=600)
    config = RetrainConfig(epochs=2, lr=0.05, compile="blocks", kernels="off", ema_decay=0.9)
    results: dict[str, dict[str, Any]] = {}
    for name in ("whole", "first", "rest"):
        output = tmp_path / name
        output.mkdir()
        last = tmp_path / "first" / "last.pt"
        train_standalone(
            digits(),
            loaders,
            RetrainConfig(**{**vars(config), "stop_after": 1}) if name == "first" else config,
            output,
            device=CPU,
            resume_from=read_network_checkpoint(last) if name == "rest" else None,
        )
        results[name] = read_network_checkpoint(output / "last.pt")
    assert backend.graphs > 0
    whole = results["whole"]["state_dict"]
    assert whole.keys() == digits().state_dict().keys()
    for weight, tensor in results["rest"]["state_dict"].items():
        assert torch.equal(tensor, whole[weight]), weight
    plain = digits()
    (tmp_path / "plain").mkdir()
    as_it_is = RetrainConfig(**{**vars(config), "compile": "off"})
    train_standalone(plain, loaders, as_it_is, tmp_path / "plain", device=CPU)
    for weight, tensor in plain.state_dict().items():
        torch.testing.assert_close(whole[weight], tensor, rtol=1e-3, atol=1e-3)


def job(**config: Any) -> RetrainJob:
    source = RetrainSource.of_architecture(ARCH, "nasbench201")
    sizes = {"channels": 2, "cells_per_stage": 1}
    recipe = RetrainConfig(epochs=1, kernels="off", **config)
    return RetrainJob(source, sizes=sizes, batch_size=600, config=recipe, formats=[])


def test_a_retrained_network_is_exported_and_another_choice_is_refused(
    backend: Counted, tmp_path: Path
) -> None:
    result = retrain(job(compile="blocks"), tmp_path / "run", device="cpu")
    assert backend.graphs > 0
    assert result.record["recipe"]["compile"] == "blocks"
    assert result.subnet is not None
    load_subnet(result.subnet)
    with pytest.raises(ValueError, match="compile was blocks and is now off"):
        retrain(job(), tmp_path / "run", device="cpu", resume=True)


def test_without_a_compiler_nothing_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    message = "--compile blocks cannot be used: there is no C\\+\\+ compiler no-such-compiler"
    with pytest.raises(ValueError, match=message):
        retrain(job(compile="blocks"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_what_the_compiler_says_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no room on this device\nand more")

    monkeypatch.setattr(compiled_blocks, "BACKEND", broken)
    with pytest.raises(ValueError, match="^--compile blocks cannot be used: .*no room.*") as raised:
        check_compile("blocks", CPU)
    assert "\n" not in str(raised.value)


def test_other_devices_and_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="it is for devices cpu and cuda, this one is meta"):
        check_compile("blocks", torch.device("meta"))
    with pytest.raises(ValueError, match="compile must be one of off, blocks, got 'all'"):
        check_compile("all", CPU)
    check_compile("off", torch.device("meta"))


def test_rates_that_grow_are_refused() -> None:
    with pytest.raises(ValueError, match="compile must be off with drop_path_ramp"):
        RetrainConfig(compile="blocks", drop_path_ramp=True)
