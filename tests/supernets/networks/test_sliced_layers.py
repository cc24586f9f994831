"""Layers take as many inputs as come and keep their own computation, also where it is timm's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from timm.layers import (
    BatchNormAct2d,
    Conv2dSame,
    GroupNorm1,
    GroupNormAct,
    LayerNorm,
    LayerNorm2d,
    LayerNormAct2d,
    Linear,
    ScaledStdConv2d,
)
from torch import Tensor, nn

from supernets.networks.marked_supernet import MarkedSupernet
from supernets.networks.marks import ElasticDepth, ElasticWidth, path_of
from supernets.networks.sliced_layers import follow_inputs

MAP, ROWS = (2, 4, 6, 5), (2, 3, 4)  # of 4 of 8 channels


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(8, 6, 3), (2, 4, 9)),
        (nn.Conv2d(8, 6, 3, padding=1, padding_mode="reflect"), MAP),
        (nn.Conv2d(8, 16, 3, groups=4), MAP),
        (nn.Conv3d(8, 6, 1, bias=False), (2, 4, 3, 3, 3)),
        (Conv2dSame(8, 6, 3, stride=2), MAP),
        (ScaledStdConv2d(8, 6, 3), MAP),
        (nn.Linear(8, 6), ROWS),
        (Linear(8, 6), ROWS),
        (nn.BatchNorm1d(8), (2, 4)),
        (nn.BatchNorm2d(8, affine=False), MAP),
        (nn.BatchNorm2d(8, momentum=None), MAP),
        (nn.BatchNorm2d(8, track_running_stats=False), MAP),
        (nn.BatchNorm3d(8), (2, 4, 3, 3, 3)),
        (BatchNormAct2d(8, act_layer=nn.SiLU), MAP),
        (nn.LayerNorm(8), ROWS),
        (LayerNorm(8), ROWS),
        (LayerNorm2d(8), MAP),
        (LayerNormAct2d(8), MAP),
        (nn.GroupNorm(4, 8), MAP),
        (GroupNorm1(8), MAP),
        (GroupNormAct(8, num_groups=4), MAP),
        (nn.PReLU(8), MAP),
        (nn.PReLU(), MAP),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_of_fewer_inputs_is_one_with_the_first_weights(
    layer: nn.Module, shape: tuple[int, ...], training: bool
) -> None:
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).train(training)
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    kind = type(layer)
    whole = follow_inputs(layer)
    narrow = cut(whole, shape)
    assert type(narrow) is kind and "num_inputs" not in vars(narrow)
    x = torch.randn(shape)
    assert torch.equal(whole(x), narrow(x))
    for name, buffer in narrow.named_buffers():
        same = whole.get_buffer(name)
        assert torch.equal(same[: len(buffer)] if buffer.ndim else same, buffer)
    for copied in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        assert type(copied) is type(whole) and torch.equal(copied(x), whole(x))
    full = torch.randn([8 if side == 4 else side for side in shape])
    assert torch.isfinite(whole(full)).all()


def cut(layer: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The layer that computes ``shape`` alone."""
    was_training = layer.training
    layer.eval()(torch.zeros(shape))
    layer.train(was_training)
    return path_of(layer)


def test_groups_that_do_not_fit_are_refused() -> None:
    norm = follow_inputs(nn.GroupNorm(4, 8))
    with pytest.raises(ValueError, match="A GroupNorm of groups of 2 channels cannot take 3"):
        norm(torch.zeros(1, 3, 2, 2))


def test_layers_of_another_kind_stay_as_they_are() -> None:
    for layer in (
        nn.ReLU(),
        nn.LayerNorm((8, 2, 2)),
        nn.LazyLinear(3),
        nn.ConvTranspose2d(2, 2, 1),
    ):
        kind = type(layer)
        assert type(follow_inputs(layer)) is kind


SHARES = (0.5, 1.0)


def widen(model: nn.Module, decision: str, *names: str, divisor: int = 1) -> None:
    for name in names:
        layer = ElasticWidth(model.get_submodule(name), SHARES, decision, divisor=divisor)
        model.set_submodule(name, layer)


def mobilenet(name: str) -> nn.Module:
    """Those that timm calls MobileNet or EfficientNet: expansions, and the depth of stages."""
    model = timm.create_model(name, num_classes=4)
    for i, stage in enumerate(model.blocks):
        for j, block in enumerate(stage):
            gate = ["se.conv_expand"] if hasattr(getattr(block, "se", None), "conv_expand") else []
            if hasattr(block, "conv_pwl"):
                widen(block, f"{i}.{j}", "conv_pw", *gate)
        if len(stage) > 1:
            model.blocks[i] = ElasticDepth(*stage, depths=(1, len(stage)))
    return model


def resnet(name: str) -> nn.Module:
    model = timm.create_model(name, num_classes=4)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        blocks = model.get_submodule(stage)
        for j, block in enumerate(blocks):
            widen(block, f"{stage}.{j}", "conv1")
        model.set_submodule(stage, ElasticDepth(*blocks, depths=(1, len(blocks))))
    return model


def convnext(name: str) -> nn.Module:
    model = timm.create_model(name, num_classes=4)
    for i, stage in enumerate(model.stages):
        for j, block in enumerate(stage.blocks):
            widen(block, f"{i}.{j}", "mlp.fc1")
        stage.blocks = ElasticDepth(*stage.blocks, depths=(1, len(stage.blocks)))
    return model


def regnet(name: str) -> nn.Module:
    model = timm.create_model(name, num_classes=4)
    for stage in ("s3", "s4"):
        blocks = list(model.get_submodule(stage).children())
        for j, block in enumerate(blocks):
            gate = ["se.fc2"] if hasattr(block.se, "fc2") else []
            widen(block, f"{stage}.{j}", "conv1.conv", *gate, divisor=8)
        model.set_submodule(stage, ElasticDepth(*blocks, depths=(1, len(blocks))))
    return model


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("mobilenetv3_small_050", mobilenet),
        ("tf_mobilenetv3_small_minimal_100", mobilenet),
        ("efficientnet_b0", mobilenet),
        ("mobilenetv2_050", mobilenet),
        ("resnet18", resnet),
        ("resnext50_32x4d", resnet),
        ("convnext_atto", convnext),
        ("regnetx_002", regnet),
        ("regnety_002", regnet),
    ],
)
@pytest.mark.slow
def test_networks_of_timm_are_supernets_with_a_few_marks(
    name: str, marked: Callable[[str], nn.Module]
) -> None:
    torch.manual_seed(0)
    size = (3, 32, 32)
    supernet = MarkedSupernet(
        name, lambda num_classes: marked(name), num_classes=4, input_size=size
    )
    rng, x = np.random.default_rng(0), torch.randn(2, *size)
    plain = {type(module) for module in timm.create_model(name).modules()} | {nn.Sequential}
    for training in (True, False):
        supernet.train(training)
        arch = supernet.space.sample(rng)
        subnet = supernet.extract(arch)
        assert {type(module) for module in subnet.modules()} <= plain
        logits: Tensor = supernet(x, arch)
        assert torch.equal(logits, subnet(x)) and logits.isfinite().all()


@pytest.mark.slow
def test_a_module_whose_own_parameters_do_not_follow_is_named() -> None:
    where = r"fails in stages\.0\.blocks\.blocks\.0\.mlp\.grn \(GlobalResponseNorm\) for images"
    with pytest.raises(ValueError, match=where):
        MarkedSupernet(
            "v2",
            lambda num_classes: convnext("convnextv2_atto"),
            num_classes=4,
            input_size=(3, 32, 32),
        )
