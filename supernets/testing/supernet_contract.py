"""What every supernet promises, as tests of a space of one's own that has networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.networks.factory import create_subnet, create_supernet
from supernets.spaces import Architecture
from supernets.testing.supernet_subnets import SubnetsContract
from supernets.testing.supernet_under_test import (
    MakeBatches,
    assert_same_weights,
    weights_of,
)
from supernets.training.checkpoint import load_supernet, save_supernet


class SupernetContract(SubnetsContract):
    """Tests of a supernet: paths, extraction, costs, checkpoints, stand-alone networks.

    A test module has a subclass that says which space it is; pytest runs what it inherits. The
    supernet is built once, with ``settings``, and its weights are put back before each test. Small
    networks make quick tests.

    Example:
        >>> class TestMySupernet(SupernetContract):
        ...     space = "nasbench201"  # or "my_space.py:SPACE"
        ...     settings = {"num_classes": 3, "channels": 4, "cells_per_stage": 1}
    """

    def test_logits_have_one_column_per_class(self, supernet: Supernet, images: Tensor) -> None:
        arch = self.sample(supernet, 1)[0]
        assert supernet(images, arch).shape == (len(images), supernet.num_classes)

    def test_paths_differ_in_their_logits(self, supernet: Supernet, images: Tensor) -> None:
        first, second, *_ = self.sample(supernet, 2)
        assert not torch.allclose(supernet(images, first), supernet(images, second))

    def test_architectures_of_another_space_are_refused(
        self, supernet: Supernet, images: Tensor
    ) -> None:
        foreign = Architecture("elsewhere", self.sample(supernet, 1)[0].choices)
        for use in (
            lambda: supernet(images, foreign),
            lambda: supernet.extract(foreign),
            lambda: supernet.build_subnet(foreign),
        ):
            with pytest.raises(ValueError, match="elsewhere"):
                use()

    def test_settings_rebuild_the_supernet(self, supernet: Supernet, images: Tensor) -> None:
        rebuilt = create_supernet(supernet.space.name, **supernet.settings)
        rebuilt.load_state_dict(supernet.state_dict())
        assert rebuilt.settings == supernet.settings
        assert rebuilt.input_size == supernet.input_size
        for arch in self.sample(supernet, 5):
            assert torch.equal(rebuilt.eval()(images, arch), supernet.eval()(images, arch))

    def test_checkpoint_restores_every_weight_and_every_logit(
        self,
        supernet: Supernet,
        images: Tensor,
        tmp_path: Path,
    ) -> None:
        save_supernet(tmp_path / "supernet.pt", supernet)
        loaded = load_supernet(tmp_path / "supernet.pt")
        assert not loaded.training
        assert loaded.settings == supernet.settings
        assert_same_weights(loaded, weights_of(supernet))
        for arch in self.sample(supernet, 5):
            assert torch.equal(loaded(images, arch), supernet.eval()(images, arch))

    def test_count_gives_the_parameters_of_the_built_subnets(self, supernet: Supernet) -> None:
        archs = self.sample(supernet, 20)
        params, macs = supernet.count(np.array([arch.choices for arch in archs]))
        assert params.shape == macs.shape == (len(archs),)
        for arch, count in zip(archs, params, strict=True):
            built = sum(p.numel() for p in supernet.build_subnet(arch).parameters())
            assert count == built, self.described(supernet, arch)
        assert [supernet.count(np.array([arch.choices]))[1][0] for arch in archs] == macs.tolist()

    @pytest.mark.parametrize("kind", ["extracted", "standalone", "built"])
    def test_counted_macs_are_those_that_run(
        self, supernet: Supernet, images: Tensor, kind: str
    ) -> None:
        macs: list[int] = []

        def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            weight = module.weight
            assert isinstance(weight, Tensor)
            macs.append(output[0].numel() * weight[0].numel())

        archs = self.sample(supernet, 30)
        _, counted = supernet.count(np.array([arch.choices for arch in archs]))
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
            beside = self.uncounted_macs(supernet, arch)
            assert sum(macs) + beside == expected, self.described(supernet, arch)

    def test_standalone_network_needs_no_supernet(
        self, supernet: Supernet, make_batches: MakeBatches, tmp_path: Path
    ) -> None:
        batches = make_batches(4)
        arch = self.sample(supernet, 1)[0]
        standalone = supernet.to_standalone(supernet.extract(arch))
        recalibrate_bn(standalone, batches, 4)
        torch.save(standalone.state_dict(), tmp_path / "weights.pt")
        rebuilt = create_subnet(arch, **supernet.settings).eval()
        rebuilt.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert torch.equal(rebuilt(batches[0][0]), standalone(batches[0][0]))

    def test_standalone_network_computes_what_the_subnet_computes_on_its_batch(
        self, supernet: Supernet, make_batches: MakeBatches
    ) -> None:
        """In train mode both normalise by the batch, whatever BatchNorm keeps."""
        x, _ = make_batches(1)[0]
        for arch in self.sample(supernet, 10):
            subnet = supernet.train().extract(arch)
            standalone = supernet.to_standalone(subnet)
            assert standalone.training
            assert torch.equal(standalone(x), subnet(x))

    def test_recalibrated_standalone_network_agrees_with_its_batch_statistics(
        self, supernet: Supernet, make_batches: MakeBatches
    ) -> None:
        """Recalibrated on one batch, eval mode computes what train mode computes on it."""
        (x, _), *_ = make_batches(1, batch_size=64)
        for arch in self.sample(supernet, 3):
            standalone = supernet.to_standalone(supernet.train().extract(arch))
            expected = standalone.train()(x)
            recalibrate_bn(standalone, [(x, x)], 1)
            torch.testing.assert_close(standalone(x), expected, rtol=1e-3, atol=1e-4)

    def test_standalone_network_is_the_subnet_or_shares_no_storage_with_it(
        self, supernet: Supernet
    ) -> None:
        subnet = supernet.extract(self.sample(supernet, 1)[0])
        owned = {tensor.untyped_storage().data_ptr() for tensor in subnet.state_dict().values()}
        standalone = supernet.to_standalone(subnet)
        if standalone is not subnet:
            assert owned.isdisjoint(
                tensor.untyped_storage().data_ptr() for tensor in standalone.state_dict().values()
            )

    def test_built_subnet_has_fresh_weights(self, supernet: Supernet) -> None:
        arch = self.sample(supernet, 1)[0]
        first, second = supernet.build_subnet(arch), supernet.build_subnet(arch)
        inherited = supernet.to_standalone(supernet.extract(arch)).state_dict()
        matrices = 0
        for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
            assert a.requires_grad
            if a.dim() > 1:  # BatchNorm starts alike everywhere
                matrices += 1
                assert not torch.equal(a, b), name
                assert not torch.equal(a, inherited[name]), name
        assert matrices > 0
