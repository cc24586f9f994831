"""Loads the Vision Transformer of this folder with timm (1.0.26 or newer) and safetensors alone.

    import runpy
    load = runpy.run_path("FOLDER/load_with_timm.py")["load"]
    network = load()  # in eval mode, with its weights

It is run by its path, so that nothing else in the folder can be imported in place of other modules.
timm's own ``local-dir:`` reads this folder too: at once if ``config.json`` names a network of
timm's, and once this file has run if it names ``paceline_vit``, whose layers differ in heads or MLP
ratios, or have heads of another width together than the embedding. No entry of timm takes that.

    import timm
    network = timm.create_model("local-dir:FOLDER", pretrained=True)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.layers import Attention
from timm.models import build_model_with_cfg, register_model
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """Loads the network of ``folder`` with its weights, on the CPU and in eval mode.

    (N, C, H, W) images, normalised with the mean and std of its ``pretrained_cfg``, to
    (N, num_classes) logits.
    """
    network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    _check_finite(network)
    return network.eval()


def paceline_vit(
    pretrained: bool = False,
    *,
    num_heads: list[int],
    head_dim: int,
    mlp_ratio: list[float],
    **kwargs: Any,
) -> nn.Module:
    """Builds timm's ``VisionTransformer`` of layers that differ.

    Args:
        pretrained: Whether to load the weights that ``pretrained_cfg`` names.
        num_heads: Heads of each layer.
        head_dim: Width of a head.
        mlp_ratio: Width of each layer's MLP as a multiple of the embedding dimension.
        **kwargs: Further arguments of timm's ``VisionTransformer``.
    """

    def block(*, depth: int, dim: int, **arguments: Any) -> Block:
        # one head fits any width; the attention is then replaced
        sizes = {"num_heads": 1, "mlp_ratio": mlp_ratio[depth]}
        built = Block(dim=dim, depth=depth, **{**arguments, **sizes})
        built.attn = Attention(
            dim,
            num_heads=num_heads[depth],
            attn_head_dim=head_dim,
            qkv_bias=True,
            attn_drop=arguments.get("attn_drop", 0.0),
            proj_drop=arguments.get("proj_drop", 0.0),
            device=arguments.get("device"),
            dtype=arguments.get("dtype"),
        )
        return built

    network: nn.Module = build_model_with_cfg(
        VisionTransformer, "paceline_vit", pretrained, block_fn=block, **kwargs
    )
    return network


def _check_finite(network: Any) -> None:
    """Refuses weights that are NaN or infinite.

    Raises:
        ValueError: If there are any; the message names the file and the tensor.
    """
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            folder = network.pretrained_cfg.get("file") or "."
            raise ValueError(
                f"{Path(folder) / 'weights.safetensors'}: {name} has values that are NaN "
                "or infinite; the file is damaged or its training has diverged, use another."
            )


if not timm.is_model("paceline_vit"):  # the files of all folders register the same
    register_model(paceline_vit)
