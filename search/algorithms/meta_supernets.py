"""What stands for a space where only a table is searched: it has the costs of the networks."""

from __future__ import annotations

from supernets.cost.analytic import Counting
from supernets.networks.nasbench201_counts import NASBench201Counts
from supernets.spaces.factory import TABLE_SPACES

#: Classes of the networks, as published.
NUM_CLASSES = {"nasbench201": 10, "mobilenetv3": 1000, "nasnet": 1000, "darts": 10}


def meta_supernet(space: str) -> Counting | None:
    """Builds what knows a space and the costs of its networks, without weights.

    Of NAS-Bench-201 that needs no PyTorch; of other spaces it is a supernet on the meta device.

    Returns:
        What counts, or None for a space that there are only tables of.

    Raises:
        ValueError: If the space is unknown.
    """
    if space in TABLE_SPACES:
        return None
    if space not in NUM_CLASSES:
        known = ", ".join((*NUM_CLASSES, *TABLE_SPACES))
        raise ValueError(f"Unknown space {space!r}; choose from {known}.")
    if space == "nasbench201":
        return NASBench201Counts(num_classes=NUM_CLASSES[space])
    import torch  # here, as it takes seconds to load

    from supernets.networks.factory import create_supernet

    with torch.device("meta"):
        return create_supernet(space, num_classes=NUM_CLASSES[space])
