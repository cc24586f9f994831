"""What the supernet of each space can be told, as options of the commands that build one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.networks.names import BN_MODES, IMAGENET_SIDE, STEMS, BNMode, Stem
from supernets.runtime.options import Options, option
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES
from supernets.spaces.vit import PRESETS


@dataclass(frozen=True)
class SupernetSettings(Options):
    """Base of the settings of all spaces, and the settings of a space that has none.

    Example:
        >>> SupernetSettings().arguments
        {}
    """

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of ``create_supernet``; those that are None are for it to decide."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class CellSettings(SupernetSettings):
    """Settings of spaces of cells.

    Args:
        channels: Width of the first cells.
    """

    channels: int = option(
        16, "nasbench201, nasnet, darts: width of the first cells", kinds.CHANNELS, metavar="C"
    )


@dataclass(frozen=True)
class NASBench201Settings(CellSettings):
    """Settings of ``NASBench201Supernet``.

    Args:
        channels: Width of the first stage.
        cells_per_stage: Cells per stage.
        bn_mode: BatchNorm policy.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> NASBench201Settings(channels=8).arguments
        {'channels': 8, 'cells_per_stage': 5, 'bn_mode': 'ref'}
    """

    cells_per_stage: int = option(5, "nasbench201", kinds.CELLS, metavar="N")
    bn_mode: BNMode = option("ref", "nasbench201: BatchNorm policy", choices=BN_MODES)


@dataclass(frozen=True)
class NASNetSettings(CellSettings):
    """Settings of ``NASNetSupernet``.

    Args:
        channels: Width of the first cells.
        layers: Number of cells.
        stem: One convolution, or three that divide the sides by 8; None is decided by the images.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> NASNetSettings(layers=14).arguments
        {'channels': 16, 'layers': 14}
    """

    layers: int = option(8, "nasnet, darts: number of cells", kinds.CELLS, metavar="N")
    stem: Stem | None = option(
        None,
        "nasnet, darts: one convolution, or three that divide the sides by 8",
        choices=STEMS,
        default_text=f"imagenet for images of {IMAGENET_SIDE} pixels and more, else cifar",
    )


@dataclass(frozen=True)
class BlockSettings(SupernetSettings):
    """Settings of spaces of inverted residuals in stages.

    Args:
        width: Multiplier on all widths; None for 1.0, or that of released weights.
        strides: Strides of the stem and the stages; None for those of ImageNet.
    """

    width: float | None = option(
        None,
        "width multiplier; of resnet50d a multiple of 0.125",
        kinds.WIDTH,
        metavar="M",
        default_text="1.0, or that of released weights",
    )
    strides: tuple[int, ...] | None = option(
        None,
        "of the stem and the stages; of resnet50d: of the stem and the pool",
        kinds.Whole(1, 2),
        nargs="+",
        metavar="S",
        default_text="2 2 2 2 1 2, or 2 2 2 2 1 2 1; for 32 pixels 2 1 2 2 1 1, or 2 1 2 2 1 1 1",
    )


@dataclass(frozen=True)
class MobileNetV3Settings(BlockSettings):
    """Settings of ``MobileNetV3Supernet``.

    Args:
        width: Multiplier on all widths; None for 1.0, or that of released weights.
        resolutions: Sides to search and train at; empty for that of the images only.
        strides: Strides of the stem and the five stages; None for those of ImageNet.
        kernel_transform: Whether smaller kernels are transformed centres of larger ones; None for
            yes, or as released weights have it.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> MobileNetV3Settings(width=1.2, resolutions=(160, 192)).arguments
        {'width': 1.2, 'resolutions': (160, 192)}
    """

    resolutions: tuple[int, ...] = option(
        (),
        "mobilenetv3: sides of the images to train and search",
        kinds.PIXELS,
        nargs="+",
        metavar="PX",
        default_text="the images'",
    )
    kernel_transform: bool | None = option(
        None,
        "mobilenetv3: smaller kernels are transformed centres of larger ones",
        is_switch=True,
        default_text="yes",
    )


@dataclass(frozen=True)
class ResNet50DSettings(SupernetSettings):
    """Settings of ``ResNet50DSupernet``.

    Args:
        width: Multiplier on all widths, a multiple of 0.125; None for 1.0, or that of released
            weights.
        strides: Strides of the stem and of the pool after it; None for those of ImageNet.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> ResNet50DSettings(width=0.5, strides=(1, 1)).arguments
        {'width': 0.5, 'strides': (1, 1)}
    """

    width: float | None = option(
        None,
        "width multiplier; of resnet50d a multiple of 0.125",
        kinds.WIDTH,
        metavar="M",
        default_text="1.0, or that of released weights",
    )
    strides: tuple[int, ...] | None = option(
        None,
        "of the stem and the stages; of resnet50d: of the stem and the pool",
        kinds.Whole(1, 2),
        nargs="+",
        metavar="S",
        default_text="2 2; for 32 pixels 1 1",
    )


@dataclass(frozen=True)
class NASBenchMacroSettings(SupernetSettings):
    """Settings of ``NASBenchMacroSupernet``.

    Args:
        stem_channels: Width of the stem, which each stage doubles.

    Raises:
        ValueError: If it is out of range.

    Example:
        >>> NASBenchMacroSettings(stem_channels=8).arguments
        {'stem_channels': 8}
    """

    stem_channels: int = option(
        32, "nasbench_macro: width of the stem, doubled by each stage", kinds.CHANNELS, metavar="C"
    )


@dataclass(frozen=True)
class ProxylessNASSettings(BlockSettings):
    """Settings of ``ProxylessNASSupernet``.

    Args:
        width: Multiplier on all widths; None for 1.0.
        strides: Strides of the stem and the six stages; None for those of ImageNet.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> ProxylessNASSettings(width=0.5).arguments
        {'width': 0.5}
    """


@dataclass(frozen=True)
class ViTSettings(SupernetSettings):
    """Settings of ``ViTSupernet``.

    Args:
        preset: What is not given otherwise: one of the paper's spaces, or a smaller one for images
            of 32 or 8 pixels.
        embed_dims: Embedding dimensions to choose from.
        depths: Numbers of layers.
        heads: Heads of a layer.
        mlp_ratios: Widths of a layer's MLP, as multiples of the embedding dimension.
        head_dim: Width of a head.
        patch_size: Side of a patch in pixels.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> ViTSettings(preset="cifar", depths=(4, 6)).arguments["depths"]
        (4, 6)
    """

    preset: str = option("tiny", "vit: what the options below leave open", choices=tuple(PRESETS))
    embed_dims: tuple[int, ...] = option(
        (),
        "vit: embedding dimensions",
        kinds.CHANNELS,
        nargs="+",
        metavar="C",
        default_text="the preset's",
    )
    depths: tuple[int, ...] = option(
        (), "vit: layers", kinds.CELLS, nargs="+", metavar="N", default_text="the preset's"
    )
    heads: tuple[int, ...] = option(
        (),
        "vit: heads of a layer",
        kinds.CELLS,
        nargs="+",
        metavar="N",
        default_text="the preset's",
    )
    mlp_ratios: tuple[float, ...] = option(
        (),
        "vit: MLP widths by the embedding dimension",
        kinds.WIDTH,
        nargs="+",
        metavar="R",
        default_text="the preset's",
    )
    head_dim: int | None = option(
        None, "vit: width of a head", kinds.CHANNELS, metavar="C", default_text="the preset's"
    )
    patch_size: int | None = option(
        None, "vit: side of a patch", kinds.PIXELS, metavar="PX", default_text="the preset's"
    )


def settings_class(space: str) -> type[SupernetSettings]:
    """Returns the class of the settings of a space's supernet.

    Raises:
        ValueError: If the space is unknown, or its settings are no ``SupernetSettings``.
    """
    return settings_of_space(SPACES.find(space))


def settings_of_space(definition: SpaceDefinition) -> type[SupernetSettings]:
    """Returns the class of the settings that a definition says.

    Raises:
        ValueError: If they are no ``SupernetSettings``.
    """
    if definition.settings is None:
        return SupernetSettings
    kind = definition.object_of("settings")
    if not (isinstance(kind, type) and issubclass(kind, SupernetSettings)):
        raise ValueError(
            f"The settings of space {definition.name!r} must be a subclass of SupernetSettings, "
            f"got {kind!r}."
        )
    return kind


def settings_classes(
    space: str | None = None, *, relaxed: bool = False
) -> dict[str, type[SupernetSettings]]:
    """Returns the classes of settings by the names of spaces, which commands make flags of.

    Args:
        space: A space beside those that are built in, whose flags come first; None for none.
        relaxed: Whether to leave out spaces without a network of all operations.
    """
    found = {name: SPACES.find(name) for name in dict.fromkeys([space, *SPACES.built_in]) if name}
    return {
        name: settings_class(name)
        for name, definition in found.items()
        if definition.has_networks and (definition.relaxed is not None or not relaxed)
    }
