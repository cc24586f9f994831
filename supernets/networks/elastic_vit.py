"""Elastic parts of a Vision Transformer: one set of weights for several widths and heads.

Paper: AutoFormer: Searching Transformers for Visual Recognition, https://arxiv.org/abs/2107.00651

A narrower layer uses the first rows and columns of the shared weights, and of queries, keys and
values those of the first heads. What is used is laid out as in a layer of its own, so that it
computes the same bits; that is a copy of weights and no computation with the rest.

Attributes are named as in timm's blocks, so that weights of both have the same names.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from timm.layers import drop_path as drop_images
from torch import Tensor, nn

from supernets.networks.sliced_layers import follow_inputs

#: Of timm's LayerNorm.
NORM_EPS = 1e-6


def first_entries(tensor: Tensor, *sizes: int) -> Tensor:
    """Returns the first entries of a tensor along each dimension, without gaps."""
    if tuple(tensor.shape) == sizes:
        return tensor
    return tensor[tuple(slice(size) for size in sizes)].contiguous()


def first_heads(tensor: Tensor, width: int, *sizes: int) -> Tensor:
    """Returns the queries, keys and values of the first heads.

    Args:
        tensor: Weight or bias of timm's ``qkv``: all queries, then all keys, then all values.
        width: Width of all heads that are taken.
        *sizes: Inputs to take; of a weight alone.

    Returns:
        (3 * width, inputs), or of a bias (3 * width,), without gaps.
    """
    if tuple(tensor.shape) == (3 * width, *sizes):
        return tensor
    part = tensor.reshape(3, -1, *tensor.shape[1:])[
        (slice(None), slice(width), *(slice(size) for size in sizes))
    ]
    return part.reshape(3 * width, *sizes)


class ElasticLinear(nn.Linear):
    """A linear layer of as many inputs as come, and as many outputs as are asked for."""

    def forward(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Maps (…, C) to (…, num_outputs); None is all."""
        outputs = num_outputs or self.out_features
        weight = first_entries(self.weight, outputs, x.shape[-1])
        return F.linear(x, weight, first_entries(self.bias, outputs))


class ElasticQKV(nn.Linear):
    """Queries, keys and values of the first heads, of as many inputs as come."""

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        """Maps (…, C) to (…, 3 * width), where ``width`` is that of the heads; None of all."""
        width = width or self.out_features // 3
        weight = first_heads(self.weight, width, x.shape[-1])
        return F.linear(x, weight, first_heads(self.bias, width))


class ElasticAttention(nn.Module):
    """Self-attention of the first heads.

    Args:
        dim: Largest embedding dimension.
        num_heads: Most heads.
        head_dim: Width of a head.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = ElasticQKV(dim, 3 * num_heads * head_dim)
        self.proj = ElasticLinear(num_heads * head_dim, dim)

    def forward(self, x: Tensor, heads: int) -> Tensor:
        """Maps (N, tokens, C) to the same shape, with C up to ``dim``."""
        num_images, num_tokens, dim = x.shape
        width = heads * self.head_dim
        qkv = self.qkv(x, width).reshape(num_images, num_tokens, 3, heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (N, heads, tokens, head_dim)
        mixed = F.scaled_dot_product_attention(q, k, v)
        mixed = mixed.transpose(1, 2).reshape(num_images, num_tokens, width)
        return cast(Tensor, self.proj(mixed, dim))


class ElasticMlp(nn.Module):
    """Two linear layers with GELU between them.

    Args:
        dim: Largest embedding dimension.
        width: Largest width between the layers.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.fc1 = ElasticLinear(dim, width)
        self.fc2 = ElasticLinear(width, dim)

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Maps (N, tokens, C) to the same shape, with C up to ``dim``."""
        return cast(Tensor, self.fc2(F.gelu(self.fc1(x, width)), x.shape[-1]))


class ElasticViTBlock(nn.Module):
    """Attention and MLP, each after LayerNorm and beside a shortcut.

    Args:
        dim: Largest embedding dimension.
        num_heads: Most heads.
        head_dim: Width of a head.
        mlp_width: Largest width of the MLP.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int, mlp_width: int) -> None:
        super().__init__()
        self.norm1 = follow_inputs(nn.LayerNorm(dim, eps=NORM_EPS))
        self.attn = ElasticAttention(dim, num_heads, head_dim)
        self.norm2 = follow_inputs(nn.LayerNorm(dim, eps=NORM_EPS))
        self.mlp = ElasticMlp(dim, mlp_width)

    def forward(self, x: Tensor, heads: int, mlp_width: int, drop_path: float = 0.0) -> Tensor:
        """Maps (N, tokens, C) to the same shape, with C up to ``dim``."""
        x = x + drop_images(self.attn(self.norm1(x), heads), drop_path, self.training)
        mixed = self.mlp(self.norm2(x), mlp_width)
        return cast(Tensor, x + drop_images(mixed, drop_path, self.training))
