"""Tiny networks, synthetic minibatches and toy spaces shared by the tests."""

from __future__ import annotations

import os

# Tiny networks gain nothing from threads, and on a busy machine threads wait for each other. It
# stands before libraries of linear algebra are loaded, which read it then; processes that the tests
# start inherit it, so that they compute the same.
os.environ["OMP_NUM_THREADS"] = "1"

import copy
import math
import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from estimators.executors import local_processes
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.spaces import SearchSpace
from tests.forked_program import ForkedProgram
from tests.toy_space import ToySpace

Batches = list[tuple[Tensor, Tensor]]


#: Marks a field that is taken away.
DELETED = object()
#: What fields of files are edited to.
EDITS: tuple[Any, ...] = (
    DELETED, None, "x", "", "1", -1, 0, 0.5, 1e12, 10**30, 10**400, math.nan, math.inf, -math.inf,
    1e308, True, [], {}, [None], {"x": None}, [["x"]],
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--first-parameters",
        action="store_true",
        help="Of each parametrised test, run the first set of parameters alone.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--first-parameters``, leaves out all but the first set of parameters of each test."""
    if not config.getoption("--first-parameters"):
        return
    seen: set[str] = set()
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        (left_out if test in seen else kept).append(item)
        seen.add(test)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """PyTorch computes in one thread, as libraries of linear algebra do; see above."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_interrupts() -> None:
    """A shell starts background jobs with SIGINT ignored, and Python then leaves it so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_of_workers() -> ForkServerContext:
    """Forks workers from a process that has loaded PyTorch once and computed nothing."""
    forkserver.set_forkserver_preload(["estimators.factory", "search.cli.search"])
    # Ctrl-C is not for workers, which inherit that it is blocked
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return multiprocessing.get_context("forkserver")


@pytest.fixture
def forked_workers(server_of_workers: ForkServerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts the workers of ``LocalProcesses`` at a hundredth of the cost.

    For tests of what workers do; some others start them as users do, for seconds each.
    """
    monkeypatch.setattr(local_processes, "CONTEXT", server_of_workers)


@pytest.fixture(scope="session")
def forked_program(server_of_workers: ForkServerContext) -> Callable[..., ForkedProgram]:
    """Starts a script as ``subprocess.Popen`` does, at a hundredth of the cost."""
    return partial(ForkedProgram, server_of_workers)


@pytest.fixture
def disk_of() -> Callable[[int], AbstractContextManager[None]]:
    """Within it, no file may become larger than so many bytes, as on a disk that is full.

    Python ignores the signal that comes with it.
    """

    @contextmanager
    def disk_of(num_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return disk_of


@pytest.fixture
def make_space() -> Callable[..., SearchSpace]:
    """Builds a space from the number of options of each decision."""
    return ToySpace


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """4 channels, 1 cell per stage, 8x8 images, 3 classes."""
    return {"num_classes": 3, "channels": 4, "cells_per_stage": 1, "input_size": (3, 8, 8)}


@pytest.fixture(scope="session")
def tiny_elastic_settings() -> dict[str, Any]:
    """A quarter of the width, 32x32 images, 3 classes."""
    return {
        "num_classes": 3,
        "width": 0.25,
        "input_size": (3, 32, 32),
        "strides": (2, 1, 2, 2, 1, 1),
    }


@pytest.fixture(scope="session")
def tiny_nasnet_settings() -> dict[str, Any]:
    """4 channels, 3 cells, 8x8 images, 3 classes."""
    return {"num_classes": 3, "channels": 4, "layers": 3, "input_size": (3, 8, 8)}


@pytest.fixture(scope="session")
def make_supernet(
    tiny_settings: dict[str, Any],
    tiny_elastic_settings: dict[str, Any],
    tiny_nasnet_settings: dict[str, Any],
) -> Callable[..., Supernet]:
    """Builds a tiny supernet whose BatchNorm and kernel transforms are far from how they start."""
    tiny = {
        "nasbench201": tiny_settings,
        "mobilenetv3": tiny_elastic_settings,
        "nasnet": tiny_nasnet_settings,
        "darts": tiny_nasnet_settings,
        "nasbench_macro": {"num_classes": 3, "stem_channels": 4, "input_size": (3, 8, 8)},
        "resnet50d": {
            "num_classes": 3,
            "width": 0.125,
            "input_size": (3, 16, 16),
            "strides": (2, 1),
        },
        "proxylessnas": {
            "num_classes": 3,
            "width": 0.1,
            "strides": (1, 1, 2, 2, 1, 1, 1),
            "input_size": (3, 8, 8),
        },
        "vit": {
            "num_classes": 3,
            "embed_dims": (16, 20, 24),
            "depths": (2, 3),
            "heads": (1, 2, 3),
            "mlp_ratios": (1.0, 2.0),
            "head_dim": 8,
            "patch_size": 2,
            "input_size": (3, 8, 8),
        },
    }

    def make(space: str = "nasbench201", *, seed: int = 0, **settings: Any) -> Supernet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            supernet = create_supernet(space, **{**tiny[space], **settings})
            with torch.no_grad():
                for name, parameter in supernet.named_parameters():
                    if "kernel_transforms" in name:
                        parameter.add_(torch.randn_like(parameter), alpha=0.1)
                for module in supernet.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        for scale in (module.weight, module.running_var):
                            if scale is not None:
                                scale.uniform_(0.5, 1.5)
                        for shift in (module.bias, module.running_mean):
                            if shift is not None:
                                shift.normal_(0.0, 0.5)
        return supernet

    return make


@pytest.fixture(scope="session")
def make_batches(tiny_settings: dict[str, Any]) -> Callable[..., Batches]:
    """Minibatches of images whose class is a fixed pattern under noise: easy to learn."""
    num_classes, image = tiny_settings["num_classes"], tiny_settings["input_size"]

    def make(num_batches: int = 3, batch_size: int = 12, *, seed: int = 0) -> Batches:
        patterns = torch.randn(num_classes, *image, generator=torch.Generator().manual_seed(99))
        generator = torch.Generator().manual_seed(seed)
        batches = []
        for _ in range(num_batches):
            y = torch.randint(num_classes, (batch_size,), generator=generator)
            noise = torch.randn(batch_size, *image, generator=generator)
            batches.append((patterns[y] + 0.5 * noise, y))
        return batches

    return make


@pytest.fixture
def images(make_batches: Callable[..., Batches]) -> Tensor:
    """One minibatch of images."""
    return make_batches(1)[0][0]


@pytest.fixture
def weights_of() -> Callable[[nn.Module], dict[str, Tensor]]:
    """Copies every parameter and buffer of a module."""

    def weights_of(module: nn.Module) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in module.state_dict().items()}

    return weights_of


@pytest.fixture
def assert_same_weights() -> Callable[[nn.Module, dict[str, Tensor]], None]:
    """Compares a module, bit by bit, with what ``weights_of`` copied."""

    def assert_same_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
        found = module.state_dict()
        assert found.keys() == weights.keys()
        changed = [name for name in weights if not torch.equal(found[name], weights[name])]
        assert not changed

    return assert_same_weights


@pytest.fixture(scope="session")
def edits() -> Callable[..., Iterator[tuple[tuple[Any, ...], Any]]]:
    """Edits plain values field by field, as someone may a file of them.

    Gives where something was edited and the edited copy: every field of every depth, taken away or
    made something else. Of long lists and of tables of tensors only the first two are gone into.
    """

    def places(holder: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        has_many = isinstance(holder, list) or any(isinstance(x, Tensor) for x in holder.values())
        for name in names[:2] if has_many and len(names) > 12 else names:
            yield (*at, name)
            if isinstance(holder[name], dict | list):
                yield from places(holder[name], (*at, name))

    def edited(holder: Any, at: tuple[Any, ...], value: Any) -> Any:
        changed, name = copy.copy(holder), at[0]
        if len(at) > 1:
            changed[name] = edited(holder[name], at[1:], value)
        elif value is DELETED:
            del changed[name]
        else:
            changed[name] = value
        return changed

    def edits(
        whole: dict[str, Any], *, every: int = 1, others: tuple[Any, ...] = ()
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        values = (*EDITS, *others)
        for i, at in enumerate(places(whole)):
            for value in values[i % every :: every]:
                yield at, edited(whole, at, value)

    return edits


@pytest.fixture(scope="session")
def is_refused() -> Callable[[Path, Callable[[], object]], bool]:
    """Whether a file is refused, which has to be in one line that names it."""

    def is_refused(path: Path, read: Callable[[], object]) -> bool:
        try:
            read()
        except ValueError as error:
            assert str(path) in str(error), error
            assert "\n" not in str(error) and len(str(error)) < 1000, error
            return True
        return False

    return is_refused
