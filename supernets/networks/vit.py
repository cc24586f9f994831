"""An elastic Vision Transformer as a supernet: embedding, depth, and heads and MLP of each layer.

Paper: AutoFormer: Searching Transformers for Visual Recognition, https://arxiv.org/abs/2107.00651

All architectures of a layer share one set of weights, of which each takes the first entries (the
paper's weight entanglement). Queries, keys and values are as wide as a layer's heads, 64 channels a
head, whatever the embedding dimension is. Subnets are timm's own ``VisionTransformer``. There is no
BatchNorm, so that nothing is recalibrated before a subnet is used.

Differs from the authors' code:

1. There is no relative position embedding in the attention, which timm's networks do not have;
   positions are those that are added to the tokens.
2. The classifier reads the class token, as in the paper's figure; their training commands have it
   read the mean of all other tokens.
3. A subnet's heads are the first of the queries, the first of the keys and the first of the values,
   as timm orders them; theirs interleaves the three channel by channel.
4. The rate of drop path grows from 0 to the last layer of the path, as in timm; theirs to the last
   layer of the deepest path.
5. A step trains the largest, the smallest and random paths (the sandwich rule of BigNAS) where
   nothing else is asked for; ``--paths uniform`` is their one random path.
6. Weights start as timm's do: the class token near zero, theirs as the other weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.elastic_vit import (
    NORM_EPS,
    ElasticLinear,
    ElasticViTBlock,
    first_entries,
    first_heads,
)
from supernets.networks.sliced_layers import follow_inputs
from supernets.networks.vit_subnet import (
    space_of,
    timm_definition,
    timm_network,
    vit_settings,
    vit_subnet,
)
from supernets.spaces import Architecture, ViTSpace
from supernets.spaces.vit import mlp_width


class ViTSupernet(Supernet):
    """All architectures of an elastic Vision Transformer in one network.

    Args:
        num_classes: Number of logits. At least 2.
        preset: Name of one of ``supernets.spaces.vit.PRESETS``, which decides what is not given.
        embed_dims: Embedding dimensions to choose from.
        depths: Numbers of layers.
        heads: Heads of a layer.
        mlp_ratios: Widths of a layer's MLP, as multiples of the embedding dimension.
        head_dim: Width of a head.
        patch_size: Side of a patch in pixels.
        input_size: Images as (channels, height, width), of whole patches.

    Raises:
        ValueError: If a number is out of range, or images are not of whole patches.

    Example:
        >>> supernet = ViTSupernet(num_classes=10, preset="digits", input_size=(1, 8, 8)).eval()
        >>> arch = supernet.space.parse("e=48;d=2;h=3,2;r=4,1")
        >>> images = torch.rand(2, 1, 8, 8)
        >>> subnet = supernet.extract(arch)
        >>> type(subnet).__name__, torch.equal(supernet(images, arch), subnet(images))
        ('VisionTransformer', True)
    """

    has_drop_path = True
    space: ViTSpace

    def __init__(
        self,
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
    ) -> None:
        super().__init__()
        self.settings = vit_settings(
            num_classes=num_classes,
            preset=preset,
            embed_dims=embed_dims,
            depths=depths,
            heads=heads,
            mlp_ratios=mlp_ratios,
            head_dim=head_dim,
            patch_size=patch_size,
            input_size=input_size,
        )
        self.space = space_of(self.settings)
        self.num_classes = num_classes
        self.input_size = self.settings["input_size"]
        dim, patch = self.space.embed_dims[-1], self.settings["patch_size"]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(self.input_size[0], dim, patch, patch)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_tokens, dim))
        self.blocks = nn.ModuleList(
            ElasticViTBlock(
                dim,
                self.space.heads[-1],
                self.settings["head_dim"],
                mlp_width(dim, self.space.mlp_ratios[-1]),
            )
            for _ in range(self.space.max_depth)
        )
        self.norm = follow_inputs(nn.LayerNorm(dim, eps=NORM_EPS))
        self.head = ElasticLinear(dim, num_classes)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def num_tokens(self) -> int:
        """Patches of an image, and the class token."""
        _, height, width = self.input_size
        patch: int = self.settings["patch_size"]
        return 1 + (height // patch) * (width // patch)

    def no_weight_decay(self) -> set[str]:
        """Returns what timm's optimizers leave without weight decay, as they do in subnets."""
        return {"pos_embed", "cls_token"}

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``."""
        self.space.validate(arch)
        dim, layers = self.space.embed_dim(arch), self.space.layers(arch)
        proj = cast(nn.Conv2d, self.patch_embed["proj"])
        assert proj.bias is not None
        x = F.conv2d(x, proj.weight[:dim], proj.bias[:dim], proj.stride)  # (N, dim, rows, columns)
        x = x.flatten(2).transpose(1, 2)  # (N, patches, dim)
        tokens = first_entries(self.cls_token, 1, 1, dim).expand(len(x), -1, -1)
        x = torch.cat([tokens, x], dim=1) + first_entries(self.pos_embed, 1, self.num_tokens, dim)
        for i, (block, (heads, ratio)) in enumerate(zip(self.blocks, layers, strict=False)):
            x = block(x, heads, mlp_width(dim, ratio), drop_path * i / max(1, len(layers) - 1))
        x = self.norm(x)[:, 0]
        if dropout > 0:
            x = F.dropout(x, dropout, self.training)
        return cast(Tensor, self.head(x))

    def build_subnet(self, arch: Architecture) -> nn.Module:
        """Builds timm's ``VisionTransformer`` for ``arch`` with fresh weights: ``vit_subnet``."""
        subnet: nn.Module = vit_subnet(arch, **self.settings)
        return subnet

    def extract(self, arch: Architecture) -> nn.Module:
        """Extracts timm's ``VisionTransformer`` for ``arch`` with inherited weights."""
        definition = timm_definition(arch, **self.settings)
        with torch.device("meta"):  # no weights are drawn only to be overwritten
            subnet: nn.Module = timm_network({**definition, "weight_init": "skip"})
        own = self.state_dict(keep_vars=True)
        inherited: dict[str, Tensor] = {}
        for name, like in subnet.state_dict().items():
            weight = own[name].detach()
            if ".qkv." in name:
                part = first_heads(weight, len(like) // 3, *like.shape[1:])
            else:
                part = weight[tuple(slice(size) for size in like.shape)]
            is_channels_last = (
                weight.dim() == 4
                and weight.is_contiguous(memory_format=torch.channels_last)
                and not weight.is_contiguous()
            )
            inherited[name] = part.clone(
                memory_format=torch.channels_last if is_channels_last else torch.contiguous_format
            )
        subnet.load_state_dict(inherited, assign=True)
        for name, parameter in subnet.named_parameters():
            parameter.requires_grad_(own[name].requires_grad)
        subnet.train(self.training)
        return subnet

    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """Copies an extracted ``subnet``, which stands alone already."""
        return copy.deepcopy(subnet)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact params and macs of architectures' subnets.

        ``macs`` are the multiply-accumulates of the patches' projection, of all linear layers, and
        of attention's two products (queries with keys, weights with values: tokens squared times
        the heads' width, each), without biases; LayerNorm, softmax, GELU and sums are free.
        """
        dims, heads, mlps = self.space.quantities(choices)
        active = heads > 0
        dim, width = dims[:, None], heads * self.settings["head_dim"]  # (num_archs, 1), …, layers
        weights = np.where(active, dim * (4 * width + 2 * mlps), 0)  # of linear layers
        others = np.where(active, 3 * width + mlps + 6 * dim, 0)  # biases and LayerNorm
        channels, tokens = self.input_size[0], self.num_tokens
        patch = channels * self.settings["patch_size"] ** 2
        params = (
            (weights + others).sum(axis=1)
            + dims * (patch + 1 + 1 + tokens + 2)  # projection, class token, positions, last norm
            + (dims + 1) * self.num_classes
        )
        macs = (
            (tokens * weights + 2 * tokens**2 * width).sum(axis=1)
            + (tokens - 1) * patch * dims
            + dims * self.num_classes
        )
        return params, macs
