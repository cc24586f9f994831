"""What every supernet promises."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.names import BN_MODES
from supernets.networks.nasbench201 import NASBench201Supernet
from supernets.networks.resnet50d import ResNet50DSupernet
from supernets.networks.vit import ViTSupernet
from supernets.spaces import Architecture, NASNetSpace
from supernets.spaces.factory import SPACES, create_space, spaces_with
from supernets.spaces.nasbench_macro import BLOCKS
from supernets.testing import SupernetContract
from supernets.testing.supernet_under_test import gradients, restored

Batches = list[tuple[Tensor, Tensor]]

SUPERNETS: dict[str, dict[str, Any]] = {
    **{f"nasbench201-{mode}": {"space": "nasbench201", "bn_mode": mode} for mode in BN_MODES},
    "mobilenetv3": {"space": "mobilenetv3"},
    "mobilenetv3-centres": {"space": "mobilenetv3", "kernel_transform": False},
    "mobilenetv3-resolutions": {"space": "mobilenetv3", "resolutions": (24, 32)},
    "nasnet": {"space": "nasnet"},
    "darts": {"space": "darts"},
    "nasbench_macro": {"space": "nasbench_macro"},
    "resnet50d": {"space": "resnet50d"},
    "proxylessnas": {"space": "proxylessnas"},
    "vit": {"space": "vit"},
}


#: So many architectures of NAS-Bench-201 have every operation on every edge; see below.
ENOUGH = 20


@pytest.fixture(scope="module", params=SUPERNETS)
def built(
    request: pytest.FixtureRequest, make_supernet: Callable[..., Supernet]
) -> tuple[Supernet, dict[str, Tensor]]:
    """A supernet, built once, and a copy of its weights."""
    supernet = make_supernet(**SUPERNETS[request.param])
    return supernet, copy.deepcopy(supernet.state_dict())


def sample(supernet: Supernet, num_archs: int) -> list[Architecture]:
    """Random architectures; fewer of those whose networks are deep.

    None has an operation twice on one edge, which a subnet holds twice: see test_nasnet.py.
    """
    rng = np.random.default_rng(7)
    if not isinstance(supernet, NASBench201Supernet):
        num_archs //= 5 if is_elastic(supernet) else 10
    else:
        num_archs = min(num_archs, ENOUGH)
    archs: list[Architecture] = []
    while len(archs) < max(num_archs, 2):
        arch = supernet.space.sample(rng)
        if not isinstance(supernet.space, NASNetSpace) or all(
            len(set(edges)) == len(edges) for edges in supernet.space.cells(arch).values()
        ):
            archs.append(arch)
    return archs


def is_elastic(supernet: Supernet) -> bool:
    """Whether subnets hold parts of the supernet's tensors."""
    return isinstance(supernet, MobileNetV3Supernet | ResNet50DSupernet | ViTSupernet)


def in_supernet(name: str, arch: Architecture) -> str:
    """What the supernet calls a module or a tensor of the subnet of ``arch``."""
    if arch.space == "nasbench_macro":  # a layer's block stands in the place of its mark
        layer = re.fullmatch(r"1\.(\d)(.*)", name)
        if layer is None:
            return f"network.{name}".rstrip(".")
        block = BLOCKS[arch.choices[int(layer[1])]]
        return f"network.1.{layer[1]}.options.{block}{layer[2]}"
    if arch.space == "proxylessnas":  # blocks that are left out are not counted
        return in_chain(name, arch)
    operation = re.fullmatch(r"skeleton\.cells\.(\d)\.ops\.(\d)(.*)", name)
    if operation is None or not SPACES.find(arch.space).has_auxiliary_head:
        return name.removeprefix("network.")
    position, i, rest = operation.groups()
    space = create_space(arch.space)
    assert isinstance(space, NASNetSpace)
    edges = space.cells(arch)["normal" if position == "0" else "reduce"]  # of three cells
    op, source, target = edges[int(i)]
    return f"skeleton.cells.{position}.edges.{target}<-{source}.{op}{rest}"


def in_chain(name: str, arch: Architecture) -> str:
    """What the supernet of the ProxylessNAS space calls a module or a tensor of a subnet."""
    found = re.fullmatch(r"blocks\.(\d)\.(\d)(.*)", name)
    if found is None:
        return f"network.{name}".rstrip(".")
    stage, block, rest = int(found[1]), int(found[2]), found[3]
    space = create_space(arch.space)
    prefix = f"block.{stage}." if stage else "first"
    chosen = [
        (b, option)
        for b, option in enumerate(
            decision.options[choice]
            for decision, choice in zip(space.decisions, arch.choices, strict=True)
            if decision.name.startswith(prefix)
        )
        if option != "skip"
    ]
    place, option = chosen[block]
    return f"network.blocks.{stage}.{place}.options.{option}{rest}"


def test_every_space_is_under_contract() -> None:
    assert {settings["space"] for settings in SUPERNETS.values()} == set(
        spaces_with("has_networks")
    )


def test_samples_have_every_operation_on_every_edge(make_supernet: Callable[..., Supernet]) -> None:
    choices = np.array([arch.choices for arch in sample(make_supernet("nasbench201"), ENOUGH)])
    assert len(choices) == ENOUGH
    assert [set(edge) for edge in choices.T.tolist()] == [set(range(5))] * 6


class TestSupernets(SupernetContract):
    """Every supernet, small."""

    @pytest.fixture
    def supernet(self, built: tuple[Supernet, dict[str, Tensor]]) -> Supernet:
        return restored(*built)

    @pytest.fixture
    def make_batches(
        self, supernet: Supernet, make_batches: Callable[..., Batches]
    ) -> Callable[..., Batches]:
        """Minibatches of the supernet's image size."""

        def make(*args: Any, **kwargs: Any) -> Batches:
            size = supernet.input_size[1:]
            return [(F.interpolate(x, size), y) for x, y in make_batches(*args, **kwargs)]

        return make

    def sample(self, supernet: Supernet, num_archs: int) -> list[Architecture]:
        return sample(supernet, num_archs)

    def trained_names(self, arch: Architecture, subnet: nn.Module) -> set[str]:
        return {in_supernet(name, arch) for name in subnet.state_dict()}

    def uncounted_macs(self, supernet: Supernet, arch: Architecture) -> int:
        """The biases of the classifier, which the tables of NAS-Bench-201 count, and attention."""
        if isinstance(supernet, ViTSupernet):
            heads = sum(layer.heads for layer in supernet.space.layers(arch))
            return 2 * supernet.num_tokens**2 * heads * int(supernet.settings["head_dim"])
        return supernet.num_classes if isinstance(supernet, NASBench201Supernet) else 0

    def test_training_the_subnet_equals_training_its_path(
        self, supernet: Supernet, make_batches: Callable[..., Batches]
    ) -> None:
        if supernet.settings.get("kernel_transform"):
            pytest.skip("a transformed kernel has other parameters than the kernel")
        super().test_training_the_subnet_equals_training_its_path(supernet, make_batches)

    def test_only_the_path_is_executed(self, supernet: Supernet, images: Tensor) -> None:
        executed: list[str] = []
        supernet = copy.deepcopy(supernet)
        for name, module in supernet.named_modules():
            if not list(module.children()):
                module.register_forward_hook(lambda *_, name=name: executed.append(name))
        for arch in sample(supernet, 20):
            executed.clear()
            supernet(images, arch)
            subnet = supernet.extract(arch)
            modules = {in_supernet(name, arch) for name, _ in subnet.named_modules()}
            left_out = {name for name in executed if name.endswith(".options.skip")}  # an identity
            assert executed and set(executed) - left_out <= modules
            assert len(executed) == len(set(executed))  # each once

    def test_only_the_path_gets_gradients(self, supernet: Supernet, images: Tensor) -> None:
        supernet.train()
        for arch in sample(supernet, 20):
            supernet.zero_grad(set_to_none=True)
            supernet(images, arch).square().sum().backward()
            subnet = supernet.extract(arch)
            subnet(images).square().sum().backward()
            expected = {in_supernet(name, arch): grad for name, grad in gradients(subnet).items()}
            found = {n: grad for n, grad in gradients(supernet).items() if "transforms" not in n}
            assert found.keys() == expected.keys()
            num_parameters = len(list(supernet.parameters()))
            assert len(expected) < num_parameters or isinstance(supernet, ViTSupernet)  # full depth
            for name, gradient in expected.items():
                if not is_elastic(supernet):
                    assert torch.equal(found[name], gradient), name
                elif "conv_dw" in name or ".qkv." in name:
                    continue  # see test_mobilenetv3.py for transformed kernels, and test_vit.py
                else:
                    part = tuple(slice(size) for size in gradient.shape)
                    torch.testing.assert_close(found[name][part], gradient)
                    found[name][part] = 0
                    assert not found[name].any(), name
