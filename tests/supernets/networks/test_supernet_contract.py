"""What every supernet promises."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.networks.factory import create_subnet, create_supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.names import BN_MODES
from supernets.networks.nasbench201 import NASBench201Supernet
from supernets.spaces import Architecture, NASNetSpace
from supernets.spaces.factory import SPACES, create_space, spaces_with_networks
from supernets.training.checkpoint import load_supernet, save_supernet

Batches = list[tuple[Tensor, Tensor]]
CopyWeights = Callable[[nn.Module], dict[str, Tensor]]

SUPERNETS: dict[str, dict[str, Any]] = {
    **{f"nasbench201-{mode}": {"space": "nasbench201", "bn_mode": mode} for mode in BN_MODES},
    "mobilenetv3": {"space": "mobilenetv3"},
    "mobilenetv3-centres": {"space": "mobilenetv3", "kernel_transform": False},
    "mobilenetv3-resolutions": {"space": "mobilenetv3", "resolutions": (24, 32)},
    "nasnet": {"space": "nasnet"},
    "darts": {"space": "darts"},
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


@pytest.fixture
def supernet(built: tuple[Supernet, dict[str, Tensor]]) -> Supernet:
    """The supernet as it was built; what is changed beside weights and mode needs a copy."""
    supernet, weights = built
    supernet.load_state_dict(weights)
    supernet.zero_grad(set_to_none=True)
    return supernet.train()


@pytest.fixture
def make_batches(
    supernet: Supernet, make_batches: Callable[..., Batches]
) -> Callable[..., Batches]:
    """Minibatches of the supernet's image size."""

    def make(*args: Any, **kwargs: Any) -> Batches:
        size = supernet.input_size[1:]
        return [(F.interpolate(x, size), y) for x, y in make_batches(*args, **kwargs)]

    return make


@pytest.fixture
def images(make_batches: Callable[..., Batches]) -> Tensor:
    """One minibatch of images."""
    return make_batches(1)[0][0]


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
    return isinstance(supernet, MobileNetV3Supernet)


def in_supernet(name: str, arch: Architecture) -> str:
    """What the supernet calls a module or a tensor of the subnet of ``arch``."""
    operation = re.fullmatch(r"skeleton\.cells\.(\d)\.ops\.(\d)(.*)", name)
    if operation is None or not SPACES.find(arch.space).has_auxiliary_head:
        return name.removeprefix("network.")
    position, i, rest = operation.groups()
    space = create_space(arch.space)
    assert isinstance(space, NASNetSpace)
    edges = space.cells(arch)["normal" if position == "0" else "reduce"]  # of three cells
    op, source, target = edges[int(i)]
    return f"skeleton.cells.{position}.edges.{target}<-{source}.{op}{rest}"


def test_every_space_is_under_contract() -> None:
    assert {settings["space"] for settings in SUPERNETS.values()} == set(spaces_with_networks())


def test_samples_have_every_operation_on_every_edge(make_supernet: Callable[..., Supernet]) -> None:
    choices = np.array([arch.choices for arch in sample(make_supernet("nasbench201"), ENOUGH)])
    assert len(choices) == ENOUGH
    assert [set(edge) for edge in choices.T.tolist()] == [set(range(5))] * 6


def assert_same_state(first: nn.Module, second: nn.Module) -> None:
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_logits_have_one_column_per_class(supernet: Supernet, images: Tensor) -> None:
    arch = sample(supernet, 1)[0]
    assert supernet(images, arch).shape == (len(images), supernet.num_classes)


def test_paths_differ_in_their_logits(supernet: Supernet, images: Tensor) -> None:
    first, second, *_ = sample(supernet, 2)
    assert not torch.allclose(supernet(images, first), supernet(images, second))


def test_extracted_subnet_computes_the_same_in_eval_mode(
    supernet: Supernet, images: Tensor
) -> None:
    supernet.eval()
    for arch in sample(supernet, 50):
        subnet = supernet.extract(arch)
        assert not subnet.training
        assert torch.equal(subnet(images), supernet(images, arch))


def test_extracted_subnet_computes_the_same_in_train_mode(
    supernet: Supernet, images: Tensor
) -> None:
    supernet.train()
    for arch in sample(supernet, 50):
        subnet = supernet.extract(arch)
        assert subnet.training
        assert torch.equal(subnet(images), supernet(images, arch))
        assert_same_state(supernet.extract(arch), subnet)  # the running statistics moved alike


def test_extraction_keeps_dtype_memory_format_and_frozen_parameters(
    supernet: Supernet, images: Tensor
) -> None:
    supernet = copy.deepcopy(supernet).double().to(memory_format=torch.channels_last)
    supernet.requires_grad_(False)
    arch = sample(supernet, 1)[0]
    subnet = supernet.extract(arch)
    for tensor in subnet.state_dict().values():
        assert tensor.dtype in (torch.float64, torch.int64)
        if tensor.dim() == 4:
            assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in subnet.parameters())
    images = images.double().to(memory_format=torch.channels_last)
    assert torch.equal(subnet(images), supernet(images, arch))


def test_extracted_subnet_shares_no_storage(
    supernet: Supernet,
    images: Tensor,
    weights_of: CopyWeights,
    assert_same_weights: Callable[..., None],
) -> None:
    arch = sample(supernet, 1)[0]
    before, logits = weights_of(supernet), supernet.eval()(images, arch)
    subnet = supernet.extract(arch)
    owned = {tensor.untyped_storage().data_ptr() for tensor in supernet.state_dict().values()}
    for tensor in subnet.state_dict().values():
        assert tensor.untyped_storage().data_ptr() not in owned
        with torch.no_grad():
            tensor.fill_(7)
    assert_same_weights(supernet, before)
    assert torch.equal(supernet(images, arch), logits)


def test_extracted_subnets_do_not_share_storage_with_each_other(supernet: Supernet) -> None:
    arch = sample(supernet, 1)[0]
    first, second = supernet.extract(arch), supernet.extract(arch)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.fill_(7)
    assert all(not (parameter == 7).all() for parameter in second.parameters())


def test_extraction_leaves_gradients_and_training_mode_alone(
    supernet: Supernet, images: Tensor
) -> None:
    arch = sample(supernet, 1)[0]
    supernet.train()(images, arch).sum().backward()
    before = {name: gradient.clone() for name, gradient in gradients(supernet).items()}
    subnet = supernet.extract(arch)
    assert all(parameter.grad is None for parameter in subnet.parameters())
    subnet.eval()(images).sum().backward()
    assert supernet.training
    after = gradients(supernet)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_only_the_path_is_executed(supernet: Supernet, images: Tensor) -> None:
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
        assert executed and set(executed) <= modules
        assert len(executed) == len(set(executed))  # each once


def test_only_the_path_gets_gradients(supernet: Supernet, images: Tensor) -> None:
    supernet.train()
    for arch in sample(supernet, 20):
        supernet.zero_grad(set_to_none=True)
        supernet(images, arch).square().sum().backward()
        subnet = supernet.extract(arch)
        subnet(images).square().sum().backward()
        expected = {in_supernet(name, arch): grad for name, grad in gradients(subnet).items()}
        found = {n: grad for n, grad in gradients(supernet).items() if "transforms" not in n}
        assert found.keys() == expected.keys()
        assert len(expected) < len(list(supernet.parameters()))
        for name, gradient in expected.items():
            if not is_elastic(supernet):
                assert torch.equal(found[name], gradient), name
            elif "conv_dw" not in name:  # see test_mobilenetv3.py for transformed kernels
                part = tuple(slice(size) for size in gradient.shape)
                torch.testing.assert_close(found[name][part], gradient)
                found[name][part] = 0
                assert not found[name].any(), name


def test_training_the_subnet_equals_training_its_path(
    supernet: Supernet, make_batches: Callable[..., Batches]
) -> None:
    if supernet.settings.get("kernel_transform"):
        pytest.skip("a transformed kernel has other parameters than the kernel")
    recipe = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-2}
    for arch in sample(supernet, 4):
        subnet = supernet.train().extract(arch)
        trained = {in_supernet(name, arch) for name in subnet.state_dict()}
        before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        optimizers = [torch.optim.SGD(net.parameters(), **recipe) for net in (supernet, subnet)]
        for x, y in make_batches(3):
            for optimizer, logits in zip(optimizers, (supernet(x, arch), subnet(x)), strict=True):
                optimizer.zero_grad()
                F.cross_entropy(logits, y).backward()
                optimizer.step()
        assert_same_state(supernet.extract(arch), subnet)
        for name, tensor in supernet.state_dict().items():
            if name not in trained:
                assert torch.equal(tensor, before[name]), name


def test_architectures_of_another_space_are_refused(supernet: Supernet, images: Tensor) -> None:
    foreign = Architecture("elsewhere", sample(supernet, 1)[0].choices)
    for use in (
        lambda: supernet(images, foreign),
        lambda: supernet.extract(foreign),
        lambda: supernet.build_subnet(foreign),
    ):
        with pytest.raises(ValueError, match="elsewhere"):
            use()


def test_settings_rebuild_the_supernet(supernet: Supernet, images: Tensor) -> None:
    rebuilt = create_supernet(supernet.space.name, **supernet.settings)
    rebuilt.load_state_dict(supernet.state_dict())
    assert rebuilt.settings == supernet.settings
    assert rebuilt.input_size == supernet.input_size
    for arch in sample(supernet, 5):
        assert torch.equal(rebuilt.eval()(images, arch), supernet.eval()(images, arch))


def test_checkpoint_restores_every_weight_and_every_logit(
    supernet: Supernet,
    images: Tensor,
    tmp_path: Path,
    weights_of: CopyWeights,
    assert_same_weights: Callable[..., None],
) -> None:
    save_supernet(tmp_path / "supernet.pt", supernet)
    loaded = load_supernet(tmp_path / "supernet.pt")
    assert not loaded.training
    assert loaded.settings == supernet.settings
    assert_same_weights(loaded, weights_of(supernet))
    for arch in sample(supernet, 5):
        assert torch.equal(loaded(images, arch), supernet.eval()(images, arch))


def test_count_gives_the_parameters_of_the_built_subnets(supernet: Supernet) -> None:
    archs = sample(supernet, 20)
    params, macs = supernet.count(np.array([arch.choices for arch in archs]))
    assert params.shape == macs.shape == (len(archs),)
    for arch, count in zip(archs, params, strict=True):
        assert count == sum(p.numel() for p in supernet.build_subnet(arch).parameters())
    assert [supernet.count(np.array([arch.choices]))[1][0] for arch in archs] == macs.tolist()


@pytest.mark.parametrize("kind", ["extracted", "standalone", "built"])
def test_counted_macs_are_those_that_run(supernet: Supernet, images: Tensor, kind: str) -> None:
    macs: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        macs.append(output[0].numel() * weight[0].numel())

    archs = sample(supernet, 30)
    _, counted = supernet.count(np.array([arch.choices for arch in archs]))
    biases = supernet.num_classes if isinstance(supernet, NASBench201Supernet) else 0
    for arch, expected in zip(archs, counted, strict=True):
        network = supernet.build_subnet(arch) if kind == "built" else supernet.extract(arch)
        if kind == "standalone":
            network = supernet.to_standalone(network)
        macs.clear()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        with torch.no_grad():
            network.eval()(images[:2])
        assert sum(macs) + biases == expected


def test_built_subnet_has_fresh_weights(supernet: Supernet) -> None:
    arch = sample(supernet, 1)[0]
    first, second = supernet.build_subnet(arch), supernet.build_subnet(arch)
    inherited = supernet.state_dict()
    matrices = 0
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert a.requires_grad
        if a.dim() > 1:  # BatchNorm starts alike everywhere
            matrices += 1
            assert not torch.equal(a, b), name
            assert not torch.equal(a, inherited[in_supernet(name, arch)]), name
    assert matrices > 0


def test_standalone_network_needs_no_supernet(
    supernet: Supernet, make_batches: Callable[..., Batches], tmp_path: Path
) -> None:
    batches = make_batches(4)
    arch = sample(supernet, 1)[0]
    standalone = supernet.to_standalone(supernet.extract(arch))
    recalibrate_bn(standalone, batches, 4)
    torch.save(standalone.state_dict(), tmp_path / "weights.pt")
    rebuilt = create_subnet(arch, **supernet.settings).eval()
    rebuilt.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(rebuilt(batches[0][0]), standalone(batches[0][0]))


def test_standalone_network_computes_what_the_subnet_computes_on_its_batch(
    supernet: Supernet, make_batches: Callable[..., Batches]
) -> None:
    """In train mode both normalise by the batch, whatever BatchNorm keeps."""
    x, _ = make_batches(1)[0]
    for arch in sample(supernet, 10):
        subnet = supernet.train().extract(arch)
        standalone = supernet.to_standalone(subnet)
        assert standalone.training
        assert torch.equal(standalone(x), subnet(x))


def test_recalibrated_standalone_network_agrees_with_its_batch_statistics(
    supernet: Supernet, make_batches: Callable[..., Batches]
) -> None:
    """Recalibrated on one batch, eval mode computes what train mode computes on it."""
    (x, _), *_ = make_batches(1, batch_size=64)
    for arch in sample(supernet, 3):
        standalone = supernet.to_standalone(supernet.train().extract(arch))
        expected = standalone.train()(x)
        recalibrate_bn(standalone, [(x, x)], 1)
        torch.testing.assert_close(standalone(x), expected, rtol=1e-3, atol=1e-4)


def test_standalone_network_is_the_subnet_or_shares_no_storage_with_it(supernet: Supernet) -> None:
    subnet = supernet.extract(sample(supernet, 1)[0])
    owned = {tensor.untyped_storage().data_ptr() for tensor in subnet.state_dict().values()}
    standalone = supernet.to_standalone(subnet)
    if standalone is not subnet:
        assert owned.isdisjoint(
            tensor.untyped_storage().data_ptr() for tensor in standalone.state_dict().values()
        )
