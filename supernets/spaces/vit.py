"""Elastic Vision Transformers: one embedding dimension and depth, heads and MLP ratio by layer.

Paper: AutoFormer: Searching Transformers for Visual Recognition, https://arxiv.org/abs/2107.00651
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.runtime.option_types import CELLS, CHANNELS, WIDTH
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace
from supernets.spaces.features import Structure

#: Decisions before those of the layers: the embedding dimension and the depth.
_EMBED, _DEPTH, _FIRST = 0, 1, 2


@dataclass(frozen=True)
class ViTPreset:
    """What a named space offers, and what all of its networks have.

    Args:
        embed_dims: Embedding dimensions.
        depths: Numbers of layers.
        heads: Heads of a layer.
        mlp_ratios: Widths of a layer's MLP, as multiples of the embedding dimension.
        head_dim: Width of a head.
        patch_size: Side of a patch in pixels.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    head_dim: int = 64
    patch_size: int = 16


#: The paper's three spaces for images of 224 pixels, and smaller ones for images of 32 and 8.
PRESETS = {
    "tiny": ViTPreset((192, 216, 240), (12, 13, 14), (3, 4), (3.5, 4.0)),
    "small": ViTPreset((320, 384, 448), (12, 13, 14), (5, 6, 7), (3.0, 3.5, 4.0)),
    "base": ViTPreset((528, 576, 624), (14, 15, 16), (8, 9, 10), (3.0, 3.5, 4.0)),
    "cifar": ViTPreset((128, 160, 192), (6, 7, 8), (4, 5, 6), (2.0, 3.0, 4.0), 32, 4),
    "digits": ViTPreset((32, 48, 64), (2, 3, 4), (2, 3, 4), (1.0, 2.0, 4.0), 16, 4),
}


class Layer(NamedTuple):
    """What one active layer chooses."""

    heads: int
    mlp_ratio: float


class ViTSpace(SearchSpace):
    """The space of AutoFormer's supernet-tiny: 1.06e9 architectures; or another of that kind.

    Decisions are named ``embed``, ``depth``, ``heads.<layer>`` and ``mlp.<layer>``, layers counted
    from 1. The heads and the ratio of a layer past the depth are inactive.

    Architectures are written as ``e=…;d=…;h=…;r=…``: the embedding dimension, the depth, and for
    each layer that there is its heads and its MLP ratio.

    Args:
        preset: Name of one of ``PRESETS``, which decides what is not given.
        embed_dims: Embedding dimensions to choose from.
        depths: Numbers of layers.
        heads: Heads of a layer.
        mlp_ratios: MLP ratios of a layer.

    Raises:
        ValueError: If there is no such preset, or a list has a number twice or out of range.

    Example:
        >>> space = ViTSpace("digits")
        >>> smallest, largest = space.extremes()
        >>> space.format(smallest)
        'e=32;d=2;h=2,2;r=1,1'
        >>> space.embed_dim(largest), space.layers(largest)[-1]
        (64, Layer(heads=4, mlp_ratio=4.0))
        >>> space.size == 3 * (9**2 + 9**3 + 9**4)
        True
    """

    name = "vit"
    is_ordered = True

    def __init__(
        self,
        preset: str = "tiny",
        *,
        embed_dims: Sequence[int] = (),
        depths: Sequence[int] = (),
        heads: Sequence[int] = (),
        mlp_ratios: Sequence[float] = (),
    ) -> None:
        known = preset_named(preset)
        self.embed_dims = _options("embed_dims", embed_dims or known.embed_dims, CHANNELS)
        self.depths = _options("depths", depths or known.depths, CELLS)
        self.heads = _options("heads", heads or known.heads, CELLS)
        ratios = _options("mlp_ratios", mlp_ratios or known.mlp_ratios, WIDTH)
        self.mlp_ratios = tuple(float(ratio) for ratio in ratios)
        self.max_depth: int = self.depths[-1]
        layers = range(1, self.max_depth + 1)
        self.decisions = (
            Decision("embed", _texts(self.embed_dims)),
            Decision("depth", _texts(self.depths)),
            *(Decision(f"heads.{layer}", _texts(self.heads)) for layer in layers),
            *(Decision(f"mlp.{layer}", _texts(self.mlp_ratios)) for layer in layers),
        )
        super().__init__()

    @property
    def size(self) -> int:
        """Number of architectures, each counted once however its inactive choices are written."""
        embeds, depths, *layers = self._allowed
        heads, ratios = layers[: self.max_depth], layers[self.max_depth :]
        options = [len(h) * len(r) for h, r in zip(heads, ratios, strict=True)]
        return len(embeds) * sum(math.prod(options[: self.depths[depth]]) for depth in depths)

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns all but the heads and ratios of layers past the depth."""
        depths = np.array(self.depths)[choices[:, _DEPTH]]  # (num_archs,)
        layers = np.arange(self.max_depth) < depths[:, None]  # (num_archs, max_depth)
        return np.concatenate([np.ones((len(choices), _FIRST), np.bool_), layers, layers], axis=1)

    def embed_dim(self, arch: Architecture) -> int:
        """Returns the embedding dimension, that of all layers."""
        dim: int = self.embed_dims[arch.choices[_EMBED]]
        return dim

    def layers(self, arch: Architecture) -> list[Layer]:
        """Returns the active layers."""
        heads = arch.choices[_FIRST : _FIRST + self.max_depth]
        ratios = arch.choices[_FIRST + self.max_depth :]
        return [
            Layer(self.heads[heads[i]], self.mlp_ratios[ratios[i]])
            for i in range(self.depths[arch.choices[_DEPTH]])
        ]

    def quantities(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Returns what many architectures are, as arrays.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            Embedding dimensions, (num_archs,), and of each layer, (num_archs, max_depth), its heads
            and the width of its MLP, which are 0 where a layer is inactive.
        """
        active = self.is_active(choices)[:, _FIRST : _FIRST + self.max_depth]
        heads = np.array(self.heads)[choices[:, _FIRST : _FIRST + self.max_depth]]
        widths = np.array(
            [[mlp_width(dim, ratio) for ratio in self.mlp_ratios] for dim in self.embed_dims]
        )
        embeds, ratios = choices[:, _EMBED], choices[:, _FIRST + self.max_depth :]
        mlps = widths[embeds[:, None], ratios]
        return (
            np.array(self.embed_dims)[embeds],
            np.where(active, heads, 0),
            np.where(active, mlps, 0),
        )

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """Describes networks by embedding dimension, depth, and heads and MLP widths by layer."""
        embeds, heads, mlps = self.quantities(choices)
        shares = mlps / embeds[:, None]  # the ratios
        numbers = [
            embeds[:, None],
            np.array(self.depths)[choices[:, _DEPTH], None],
            heads.sum(axis=1, keepdims=True),
            shares.sum(axis=1, keepdims=True),
            mlps.sum(axis=1, keepdims=True),
            heads,
            shares,
        ]
        labels = np.zeros((len(choices), 0), np.int64)
        return Structure(labels, np.concatenate(numbers, axis=1).astype(np.float64))

    def format(self, arch: Architecture) -> str:
        """Writes ``e=…;d=…;h=…;r=…``, of the active layers."""
        self.validate(arch)
        return self._written(arch.choices)

    def _written(self, choices: Sequence[int]) -> str:
        texts = [
            decision.options[choice]
            for decision, choice in zip(self.decisions, choices, strict=True)
        ]
        depth = self.depths[choices[_DEPTH]]
        heads = ",".join(texts[_FIRST : _FIRST + depth])
        ratios = ",".join(texts[_FIRST + self.max_depth :][:depth])
        return f"e={texts[_EMBED]};d={texts[_DEPTH]};h={heads};r={ratios}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes.

        Raises:
            ValueError: If ``text`` does not follow the notation.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        values: dict[str, list[str]] = {}
        for group in text.strip().split(";"):
            key, equals, items = group.partition("=")
            if not equals or key.strip() in values:
                raise self._error(text, f"{group!r} is not of the form 'key=value,…', once per key")
            values[key.strip()] = [item.strip() for item in items.split(",")]
        if set(values) != set("edhr"):
            raise self._error(text, f"it has {', '.join(values)}, expected e, d, h, r")
        for key in "ed":
            if len(values[key]) != 1:
                raise self._error(text, f"{key} has {len(values[key])} values, not 1")
        choices = [0] * len(self.decisions)
        choices[_EMBED] = self._read(text, _EMBED, values["e"][0])
        choices[_DEPTH] = self._read(text, _DEPTH, values["d"][0])
        depth = self.depths[choices[_DEPTH]]
        for key, start in (("h", _FIRST), ("r", _FIRST + self.max_depth)):
            if len(values[key]) != depth:
                raise self._error(
                    text, f"{key} has {len(values[key])} values for {depth} layers; give one each"
                )
            for i, value in enumerate(values[key]):
                choices[start + i] = self._read(text, start + i, value)
        return self.architecture(choices)

    def _read(self, text: str, position: int, value: str) -> int:
        decision = self.decisions[position]
        if value not in decision.options:
            offered = ", ".join(decision.options)
            raise self._error(text, f"{decision.name} takes {offered}, got {value!r}")
        return decision.options.index(value)

    def _error(self, text: str, why: str) -> ValueError:
        example = self._written([0] * len(self.decisions))
        return ValueError(
            f"{text!r} is not an architecture of space {self.name!r}: {why}. "
            f"Expected, for example, {example!r}."
        )


def preset_named(name: str) -> ViTPreset:
    """Returns a preset by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}; choose from {', '.join(PRESETS)}.")
    return PRESETS[name]


def mlp_width(embed_dim: int, mlp_ratio: float) -> int:
    """Returns the width of an MLP, rounded as timm and the authors do."""
    return int(embed_dim * mlp_ratio)


def _options(name: str, values: Sequence[Any], kind: Any) -> tuple[Any, ...]:
    """The options of a decision in ascending order."""
    for value in values:
        kind.check(name, value)
    if len(set(values)) < len(values):
        raise ValueError(f"{name} must be different numbers, got {list(values)}.")
    return tuple(sorted(values))


def _texts(values: Sequence[float]) -> tuple[str, ...]:
    texts = ((f"{value:g}", value) for value in values)
    return tuple(text if float(text) == value else repr(value) for text, value in texts)
