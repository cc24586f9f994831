"""Differentiable searches: DARTS, DrNAS, GDAS, and their forms with TSE."""

from __future__ import annotations

from search.differentiable.loop import DifferentiableSearch, read_search_checkpoint
from search.differentiable.relaxation import (
    DirichletRelaxation,
    GumbelRelaxation,
    Relaxation,
    SoftmaxRelaxation,
)
from search.differentiable.search_config import SearchConfig, Stage

__all__ = [
    "DifferentiableSearch",
    "DirichletRelaxation",
    "GumbelRelaxation",
    "Relaxation",
    "SearchConfig",
    "SoftmaxRelaxation",
    "Stage",
    "read_search_checkpoint",
]
