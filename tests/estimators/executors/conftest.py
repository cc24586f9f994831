"""Measurements for workers, and a Ray cluster of two nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from supernets.spaces import Architecture, NASBench201Space

HERE = Path(__file__).parent


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Builds ``measurements.Planned``, which the workers of a test can import."""
    monkeypatch.syspath_prepend(HERE)
    from measurements import Planned

    return lambda **accidents: Planned(tmp_path, **accidents)


@pytest.fixture
def make_candidates() -> Callable[[int], Sequence[tuple[int, Architecture]]]:
    """So many numbered cells of NAS-Bench-201."""
    space = NASBench201Space()
    return lambda num: list(enumerate(space.architectures(space.all_choices()[-num:])))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A cluster of two nodes with a core each, whose workers can import the measurements."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([before] if before else [])])
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster
    import ray

    ray.shutdown()
    cluster.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before
