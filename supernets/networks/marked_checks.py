"""Whether a network with marks maps images to logits, whatever is chosen; it runs on no data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from supernets.networks.marked_decisions import marks_in
from supernets.networks.marks import Mark, choose
from supernets.networks.sliced_layers import Sliced
from supernets.runtime.own_code import told_error
from supernets.spaces.architecture import Architecture
from supernets.spaces.marked import MarkedSpace

_logger = logging.getLogger(__name__)

#: Operations that PyTorch calls random, and are so in training alone.
_RANDOM_IN_TRAINING = ("attention", "rrelu")
_ADVICE = (
    " What is added to an elastic width or multiplied with it has to have the same: mark it with "
    "the same decision. Parameters of modules that are no convolution, linear layer, norm or PReLU "
    "stay whole."
)


def check_network(
    name: str,
    network: nn.Module,
    space: MarkedSpace,
    marks: Mapping[int, Sequence[Mark]],
    input_size: tuple[int, int, int],
    num_classes: int,
) -> None:
    """Makes sure that a network maps images to logits with every option of every decision.

    As many paths run as the decision of the most options has, and one for each mark that is in none
    of them.

    Args:
        name: Name of the space, for messages.
        network: The network on the meta device, in eval mode.
        space: Its space.
        marks: Its marks by the index of their decision.
        input_size: Images as (channels, height, width).
        num_classes: Number of logits.

    Raises:
        ValueError: If a path fails or gives something else, a layer runs with two widths at once,
            or a mark runs in no path.
    """
    images = torch.zeros(2, *input_size, device="meta")
    what = f"The network of space {name!r}"
    most = max(len(decision.options) for decision in space.decisions)
    with _Watch(network) as watch:
        for option in range(most):
            choices = [min(option, len(each.options) - 1) for each in space.decisions]
            watch.run(what, space, marks, space.architecture(choices), images, num_classes)
        order = {decision.name: i for i, decision in enumerate(space.decisions)}
        for decision, mark, conditions in marks_in(network, "", []):
            needed = _choices_for(conditions, order)
            if mark not in watch.ran and needed is not None:
                arch = space.architecture(needed)
                watch.run(what, space, marks, arch, images, num_classes)
            if mark not in watch.ran:
                raise ValueError(
                    f"{what} never runs the {type(mark).__name__} of decision {decision!r}, which "
                    "would decide nothing; call it in forward, or leave the mark out."
                )

    if watch.drawn:
        _logger.warning(
            "%s draws random numbers in eval mode%s: scores of its subnets vary from call to call, "
            "and they cannot be exported. Let it draw where self.training is True alone.",
            what,
            watch.drawn.rstrip(),
        )


def _choices_for(
    conditions: Sequence[tuple[str, frozenset[int]]], order: Mapping[str, int]
) -> list[int] | None:
    """The choices with which what has these conditions exists; None if they contradict."""
    choices, allowed = [0] * len(order), dict[str, frozenset[int]]()
    for outer, options in conditions:
        allowed[outer] = allowed.get(outer, options) & options
        if not allowed[outer]:
            return None
        choices[order[outer]] = min(allowed[outer])
    return choices


class _Watch(TorchDispatchMode):
    """Runs paths of a network, and sees which modules run, with which sizes, and what is random."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._network = network
        #: The module in which a random number was drawn, for messages; empty if none was.
        self.drawn = ""
        #: The modules that ran in any path.
        self.ran: set[nn.Module] = set()
        self._entered: list[str] = []  # outer ones first; what failed is the last
        self._sizes: dict[str, set[frozenset[tuple[str, Any]]]] = {}  # of a path
        self._hooks: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and notes whether it is random."""
        is_random = torch.Tag.nondeterministic_seeded in func.tags
        if is_random and not any(each in func.name() for each in _RANDOM_IN_TRAINING):
            self.drawn = self.drawn or f"{self._entered[-1] if self._entered else ''} "
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> _Watch:
        super().__enter__()  # type: ignore[no-untyped-call]
        for name, module in self._network.named_modules():
            enters = partial(self._enter, name=name)
            self._hooks.append(module.register_forward_pre_hook(enters))
            leaves = module.register_forward_hook(lambda *_: self._leave())
            self._hooks.append(leaves)
            if isinstance(module, Sliced):
                vars(module)["run"] = partial(self._run_layer, module, module.run, name)
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()
        for module in self._network.modules():
            vars(module).pop("run", None)

    def _enter(self, module: nn.Module, _: Any, name: str) -> None:
        self.ran.add(module)
        self._entered.append(f" in {name} ({_kind(module)})" if name else "")

    def _leave(self) -> None:
        self._entered.pop()

    def _run_layer(
        self, layer: Sliced, run: Any, name: str, x: Tensor, num_outputs: int | None = None
    ) -> Tensor:
        found: Tensor = run(x, num_outputs)
        sizes = layer.cut_to(num_outputs).sizes
        self._sizes.setdefault(name, set()).add(frozenset(sizes.items()))
        return found

    def run(
        self,
        what: str,
        space: MarkedSpace,
        marks: Mapping[int, Sequence[Mark]],
        arch: Architecture,
        images: Tensor,
        num_classes: int,
    ) -> None:
        """Runs a path, and makes sure that it maps images to logits."""
        choose(marks, arch.choices)
        self._entered.clear()
        self._sizes.clear()
        with self._explained(
            what, f"images of {tuple(images.shape[1:])} with {space.format(arch)}"
        ):
            logits = self._network(images)
        if not isinstance(logits, Tensor) or logits.shape != (len(images), num_classes):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"{what} must map (N, C, H, W) to (N, {num_classes}) logits, got {shape} for "
                f"{len(images)} images with {space.format(arch)}."
            )
        for name, sizes in self._sizes.items():
            if len(sizes) > 1:
                same = frozenset.intersection(*sizes)
                told = " and with ".join(sorted(_told_sizes(each - same) for each in sizes))
                layer = self._network.get_submodule(name)
                raise ValueError(
                    f"{what} runs {name} ({_kind(layer)}) with {told} in one forward, with "
                    f"{space.format(arch)}; a layer of a subnet has one size: use a layer for each "
                    "place, or give both the same widths."
                )

    @contextmanager
    def _explained(self, what: str, given: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            where = self._entered[-1] if self._entered else ""
            is_elastic = any(isinstance(each, Sliced) for each in self._network.modules())
            advice = _ADVICE if is_elastic else ""
            raise ValueError(
                f"{what} fails{where} for {given}: {told_error(error)}.{advice}"
            ) from error


def _kind(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("Sliced")


def _told_sizes(sizes: frozenset[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sorted(sizes))
