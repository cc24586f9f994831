"""What a supernet promises of the subnets that are extracted from it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.networks.base import Supernet
from supernets.testing.supernet_under_test import (
    MakeBatches,
    SupernetUnderTest,
    assert_same_state,
    assert_same_weights,
    gradients,
    weights_of,
)


class SubnetsContract(SupernetUnderTest):
    """Tests of ``SupernetContract``, which see."""

    def test_extracted_subnet_computes_the_same_in_eval_mode(
        self, supernet: Supernet, images: Tensor
    ) -> None:
        supernet.eval()
        for arch in self.sample(supernet, 50):
            subnet = supernet.extract(arch)
            assert not subnet.training
            assert torch.equal(subnet(images), supernet(images, arch)), self.described(
                supernet, arch
            )

    def test_extracted_subnet_computes_the_same_in_train_mode(
        self, supernet: Supernet, images: Tensor
    ) -> None:
        supernet.train()
        for arch in self.sample(supernet, 50):
            subnet = supernet.extract(arch)
            assert subnet.training
            assert torch.equal(subnet(images), supernet(images, arch)), self.described(
                supernet, arch
            )
            assert_same_state(supernet.extract(arch), subnet)  # the running statistics moved alike

    def test_extraction_keeps_dtype_memory_format_and_frozen_parameters(
        self, supernet: Supernet, images: Tensor
    ) -> None:
        supernet = copy.deepcopy(supernet).double().to(memory_format=torch.channels_last)
        supernet.requires_grad_(False)
        arch = self.sample(supernet, 1)[0]
        subnet = supernet.extract(arch)
        for tensor in subnet.state_dict().values():
            assert tensor.dtype in (torch.float64, torch.int64)
            if tensor.dim() == 4:
                assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not any(parameter.requires_grad for parameter in subnet.parameters())
        images = images.double().to(memory_format=torch.channels_last)
        assert torch.equal(subnet(images), supernet(images, arch)), self.described(supernet, arch)

    def test_extracted_subnet_shares_no_storage(
        self,
        supernet: Supernet,
        images: Tensor,
    ) -> None:
        arch = self.sample(supernet, 1)[0]
        before, logits = weights_of(supernet), supernet.eval()(images, arch)
        subnet = supernet.extract(arch)
        owned = {tensor.untyped_storage().data_ptr() for tensor in supernet.state_dict().values()}
        for name, tensor in subnet.state_dict().items():
            assert tensor.untyped_storage().data_ptr() not in owned, f"{name} is the supernet's"
            with torch.no_grad():
                tensor.fill_(7)
        assert_same_weights(supernet, before)
        assert torch.equal(supernet(images, arch), logits)

    def test_extracted_subnets_do_not_share_storage_with_each_other(
        self, supernet: Supernet
    ) -> None:
        arch = self.sample(supernet, 1)[0]
        first, second = supernet.extract(arch), supernet.extract(arch)
        with torch.no_grad():
            for parameter in first.parameters():
                parameter.fill_(7)
        assert all(not (parameter == 7).all() for parameter in second.parameters())

    def test_extraction_leaves_gradients_and_training_mode_alone(
        self, supernet: Supernet, images: Tensor
    ) -> None:
        arch = self.sample(supernet, 1)[0]
        supernet.train()(images, arch).sum().backward()
        before = {name: gradient.clone() for name, gradient in gradients(supernet).items()}
        subnet = supernet.extract(arch)
        assert all(parameter.grad is None for parameter in subnet.parameters())
        subnet.eval()(images).sum().backward()
        assert supernet.training
        after = gradients(supernet)
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)

    def test_training_the_subnet_equals_training_its_path(
        self, supernet: Supernet, make_batches: MakeBatches
    ) -> None:
        recipe: dict[str, Any] = {
            "lr": 0.1,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 5e-2,
        }
        for arch in self.sample(supernet, 4):
            subnet = supernet.train().extract(arch)
            trained = self.trained_names(arch, subnet)
            before = weights_of(supernet)
            optimizers = [torch.optim.SGD(net.parameters(), **recipe) for net in (supernet, subnet)]
            for x, y in make_batches(3):
                both = supernet(x, arch), subnet(x)
                for optimizer, logits in zip(optimizers, both, strict=True):
                    optimizer.zero_grad()
                    F.cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
            assert_same_state(supernet.extract(arch), subnet)
            for name, tensor in supernet.state_dict().items():
                if trained is not None and name not in trained:
                    assert torch.equal(tensor, before[name]), name
