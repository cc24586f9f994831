"""Subnets of the elastic Vision Transformer as timm's own ``VisionTransformer``.

Papers: An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929; AutoFormer,
https://arxiv.org/abs/2107.00651

The network is timm's class in every case, of timm's own blocks. Where all layers have the same
heads and MLP ratio, and the heads together are as wide as the embedding, arguments of timm's say
what it is. timm has one number of heads and one ratio for all layers, and takes their width from
the embedding; for other networks its ``block_fn`` is told which layer it builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timm.layers import Attention
from timm.models import VisionTransformer

from supernets.runtime.private_names import VisionTransformerBlock
from supernets.spaces import Architecture, ViTSpace
from supernets.spaces.vit import preset_named

#: Settings that decide the space.
SPACE_SETTINGS = ("preset", "embed_dims", "depths", "heads", "mlp_ratios")


def vit_settings(
    *,
    num_classes: int,
    preset: str = "tiny",
    embed_dims: Sequence[int] = (),
    depths: Sequence[int] = (),
    heads: Sequence[int] = (),
    mlp_ratios: Sequence[float] = (),
    head_dim: int | None = None,
    patch_size: int | None = None,
    input_size: tuple[int, int, int] = (3, 224, 224),
) -> dict[str, Any]:
    """Returns the settings of a network with all that its preset decides, and without the preset.

    The arguments are those of ``ViTSupernet``.

    Raises:
        ValueError: If a number is out of range, or images are not of whole patches.
    """
    known = preset_named(preset)
    space = ViTSpace(
        preset, embed_dims=embed_dims, depths=depths, heads=heads, mlp_ratios=mlp_ratios
    )
    patch = known.patch_size if patch_size is None else patch_size
    channels, height, width = input_size
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
    if channels < 1:
        raise ValueError(f"input_size must start with the channels, got {input_size}.")
    if patch < 1 or height % patch or width % patch or not height or not width:
        raise ValueError(
            f"Images of {height}x{width} pixels must be of whole patches of {patch} pixels a side; "
            "choose another --patch-size, --preset or --image-size."
        )
    return {
        "num_classes": num_classes,
        "embed_dims": space.embed_dims,
        "depths": space.depths,
        "heads": space.heads,
        "mlp_ratios": space.mlp_ratios,
        "head_dim": known.head_dim if head_dim is None else head_dim,
        "patch_size": patch,
        "input_size": (channels, height, width),
    }


def space_of(settings: Mapping[str, Any]) -> ViTSpace:
    """Returns the space that settings of a network decide."""
    return ViTSpace(**{name: settings[name] for name in SPACE_SETTINGS if name in settings})


def timm_definition(arch: Architecture, **settings: Any) -> dict[str, Any]:
    """Returns what ``timm_network`` builds the network of ``arch`` from, in plain types.

    Args:
        arch: The architecture.
        **settings: Arguments of ``ViTSupernet``.
    """
    whole = vit_settings(**settings)
    space = space_of(whole)
    space.validate(arch)
    layers = space.layers(arch)
    channels, *sides = whole["input_size"]
    return {
        "img_size": sides,
        "in_chans": channels,
        "num_classes": whole["num_classes"],
        "patch_size": whole["patch_size"],
        "embed_dim": space.embed_dim(arch),
        "depth": len(layers),
        "num_heads": [layer.heads for layer in layers],
        "head_dim": whole["head_dim"],
        "mlp_ratio": [layer.mlp_ratio for layer in layers],
    }


def timm_arguments(definition: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the arguments of timm's ``VisionTransformer`` that say what a network is.

    Args:
        definition: What ``timm_definition`` returned.

    Returns:
        The arguments; None if layers differ, or their heads are not as wide as the embedding.
    """
    heads, ratios = set(definition["num_heads"]), set(definition["mlp_ratio"])
    if len(heads) > 1 or len(ratios) > 1:
        return None
    (num_heads,), (mlp_ratio,) = heads, ratios
    if num_heads * definition["head_dim"] != definition["embed_dim"]:
        return None
    others = {name: value for name, value in definition.items() if name != "head_dim"}
    return {**others, "num_heads": num_heads, "mlp_ratio": mlp_ratio}


def timm_network(
    definition: Mapping[str, Any], *, drop_rate: float = 0.0, drop_path_rate: float = 0.0
) -> VisionTransformer:
    """Builds timm's ``VisionTransformer``; (N, C, H, W) images to (N, num_classes) logits."""
    layers = dict(definition)
    heads, ratios = layers.pop("num_heads"), layers.pop("mlp_ratio")
    head_dim = layers.pop("head_dim")

    def block(*, depth: int, dim: int, **arguments: Any) -> VisionTransformerBlock:
        # one head fits any width; the attention is then replaced
        sizes = {"num_heads": 1, "mlp_ratio": ratios[depth]}
        built = VisionTransformerBlock(dim=dim, depth=depth, **{**arguments, **sizes})
        built.attn = Attention(
            dim,
            num_heads=heads[depth],
            attn_head_dim=head_dim,
            qkv_bias=True,
            device=arguments.get("device"),
            dtype=arguments.get("dtype"),
        )
        return built

    return VisionTransformer(
        block_fn=block, drop_rate=drop_rate, drop_path_rate=drop_path_rate, **layers
    )


def vit_subnet(
    arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0, **settings: Any
) -> VisionTransformer:
    """Builds the stand-alone network of ``arch`` with fresh weights.

    Args:
        arch: The architecture.
        dropout: Rate before the classifier.
        drop_path: Rate of the last layer, from 0 of the first on.
        **settings: Arguments of ``ViTSupernet``.
    """
    definition = timm_definition(arch, **settings)
    return timm_network(definition, drop_rate=dropout, drop_path_rate=drop_path)
