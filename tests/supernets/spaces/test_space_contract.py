"""What every search space promises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from supernets.spaces import CellSpace, SearchSpace, ViTSpace
from supernets.spaces.factory import SPACES, create_space
from supernets.testing import SpaceContract
from supernets.testing.space_under_test import choices_of, samples

MOBILENETV3 = {"depth": ("2",), "kernel": ("3", "7"), "expand": ("6",)}  # 1024 architectures
RESNET50D = {  # 2560 architectures
    "stem.width": ("100",),
    "depth.1": ("0", "2"),
    "depth.2": ("1",),
    "depth.3": ("0",),
    "depth.4": ("0", "1"),
    "expand.1": ("20", "35"),
    **{f"expand.{stage}": ("25",) for stage in (2, 3, 4)},
    "width": ("65", "100"),
}
UNEVEN = {  # 320, of two depths per stage
    "depth.1": ("2", "4"),
    **{f"depth.{stage}": ("2", "3") for stage in (2, 3, 4, 5)},
    "kernel": ("7",),
    "expand.1": ("3", "4"),
    **{f"expand.{stage}": ("6",) for stage in (2, 3, 4, 5)},
}
KINDS: dict[str, Callable[[], SearchSpace]] = {
    "nasbench201": partial(create_space, "nasbench201"),
    "nasbench201-restricted": lambda: create_space("nasbench201").restrict(
        {"1<-0": ("skip_connect", "nor_conv_3x3"), "3<-2": ("avg_pool_3x3",)}
    ),
    "mobilenetv3": partial(create_space, "mobilenetv3"),
    "mobilenetv3-resolutions": partial(create_space, "mobilenetv3", resolutions=(192, 128, 160)),
    "mobilenetv3-restricted": lambda: create_space("mobilenetv3").restrict(MOBILENETV3),
    "mobilenetv3-uneven": lambda: create_space("mobilenetv3").restrict(UNEVEN),
    "mobilenetv3-one-resolution": lambda: create_space(
        "mobilenetv3", resolutions=(128, 160, 192)
    ).restrict({"resolution": ("160",), "kernel": ("3", "5")}),
    "nasnet": partial(create_space, "nasnet"),
    "nasnet-restricted": lambda: create_space("nasnet").restrict(
        {"op.normal": ("skip_connect", "sep_conv_5x5"), "op.reduce": ("max_pool_3x3",)}
    ),
    "nasbench101": partial(create_space, "nasbench101"),
    "nasbench101-one-op": lambda: create_space("nasbench101").restrict({"op": ("maxpool3x3",)}),
    "nasbench_macro": partial(create_space, "nasbench_macro"),
    "nasbench_macro-restricted": lambda: create_space("nasbench_macro").restrict(
        {"layer.0": ("identity",), "layer.3": ("identity", "mb_e6_k5")}
    ),
    "resnet50d": partial(create_space, "resnet50d"),
    "resnet50d-restricted": lambda: create_space("resnet50d").restrict(RESNET50D),
    "vit": partial(create_space, "vit"),
    "vit-digits": partial(ViTSpace, "digits"),
    "vit-restricted": lambda: create_space("vit").restrict(
        {"embed": ("192", "240"), "depth": ("12", "14"), "heads": ("3",), "mlp.13": ("4",)}
    ),
    "mnasnet": partial(create_space, "mnasnet"),
    "mnasnet-restricted": lambda: create_space("mnasnet").restrict(
        {"expand": ("1", "6"), "layers.6": ("2", "4"), "squeeze": ("n",)}
    ),
    "proxylessnas": partial(create_space, "proxylessnas"),
    "proxylessnas-restricted": lambda: create_space("proxylessnas").restrict(
        {
            "first": ("e1k3",),
            **{f"block.{stage}.1": ("e3k3", "e6k7") for stage in range(1, 7)},
            **{f"block.{stage}.{b}": ("skip",) for stage in range(1, 6) for b in (2, 3)},
            **{f"block.{stage}.4": ("e6k5", "skip") for stage in range(1, 6)},
        }
    ),
    "darts": partial(create_space, "darts"),
    "darts-one-op": lambda: create_space("darts").restrict({"op": ("skip_connect",)}),  # 6241
}


def test_every_space_is_under_contract() -> None:
    assert {make().name for make in KINDS.values()} == {*SPACES}


class TestSpaces(SpaceContract):
    """Every space, whole and restricted."""

    @pytest.fixture(params=KINDS)
    def search_space(self, request: pytest.FixtureRequest) -> SearchSpace:
        return KINDS[request.param]()

    def whole(self, space: SearchSpace) -> SearchSpace:
        if isinstance(space, ViTSpace):
            return ViTSpace(
                embed_dims=space.embed_dims,
                depths=space.depths,
                heads=space.heads,
                mlp_ratios=space.mlp_ratios,
            )
        return create_space(space.name, resolutions=getattr(space, "resolutions", ()))

    def merges_active_choices(self, space: SearchSpace) -> bool:
        return space.name in ("nasnet", "darts", "nasbench101")

    def refuses_choices(self, space: SearchSpace) -> bool:
        return space.name == "nasbench101"

    def restriction(self, space: SearchSpace, i: int) -> str | None:
        """Decisions that are merged are restricted in groups, and inputs not at all."""
        name = space.decisions[i].name
        if not self.merges_active_choices(space):
            return name
        group = "op" if space.name == "nasbench101" else name[: len("op.normal")]
        return group if name.startswith("op.") else None

    def test_cells_and_graphs_go_forward(self, search_space: SearchSpace) -> None:
        if not isinstance(search_space, CellSpace):
            pytest.skip("not of cells")
        archs = samples(search_space, 20)
        for arch in archs:
            for edges in search_space.cells(arch).values():
                targets = [edge.target for edge in edges]
                assert targets == sorted(targets)
                for op, source, target in edges:
                    assert 0 <= source < target
                    assert search_space.num_inputs <= target < search_space.num_states
                    assert any(op in decision.options for decision in search_space.decisions)

    def test_graphs_go_forward(self, search_space: SearchSpace) -> None:
        archs = samples(search_space, 20)
        adjacency, ids = search_space.to_graphs(choices_of(archs))
        assert adjacency.dtype == np.float32 and ids.dtype == np.int64
        assert len(ids) == 20 and adjacency.shape == (*ids.shape, ids.shape[1])
        assert set(np.unique(adjacency)) <= {0.0, 1.0}
        assert not np.tril(adjacency).any()  # hence no cycles
        for part, alone in zip(
            (adjacency, ids), search_space.to_graphs(choices_of(archs[3:5])), strict=True
        ):
            assert np.array_equal(part[3:5], alone)
        assert [len(part) for part in search_space.to_graphs(choices_of(archs)[:0])] == [0, 0]
